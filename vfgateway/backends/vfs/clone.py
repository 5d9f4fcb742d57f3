"""Copying a whole vfolder inside one file system, in plain blocking calls.

Links are copied as links, names that share a file share the copy, what is neither file, directory nor link is left out. Staged
uploads are not copied. The copy is made aside and appears under its name when it is whole.
"""

from __future__ import annotations

import os
import stat
from typing import Final

import attrs

from vfgateway.backends.vfs.copy import copy_content
from vfgateway.backends.vfs.facts import name_of, names_in
from vfgateway.backends.vfs.faults import not_permitted
from vfgateway.backends.vfs.resolve import Resolver
from vfgateway.backends.vfs.tree import CAREFUL, STAGING
from vfgateway.model import NameRules
from vfgateway.paths import ROOT, FolderPath

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@attrs.define
class Cloner:
    """One copy under way.

    :ivar source: descriptor of the original's root
    :ivar target: descriptor of the copy's root, empty
    :ivar names: of the volume, some of which are left out
    :ivar skipped: paths of sockets, devices and FIFOs that were left out
    """

    resolver: Resolver
    source: int
    target: int
    names: NameRules = NameRules()  # noqa: RUF009
    skipped: list[FolderPath] = attrs.Factory(list)
    _seen: dict[tuple[int, int], FolderPath] = attrs.Factory(dict)

    def run(self) -> None:
        """Copy everything; directories get their times last, when nothing is put into them any more."""
        visited = [ROOT]
        waiting = [ROOT]
        while waiting:
            below = self._copy_dir(waiting.pop())
            visited.extend(below)
            waiting.extend(below)
        for path in reversed(visited):
            self._finish_dir(path)

    def _copy_dir(self, path: FolderPath) -> list[FolderPath]:
        """Copy the entries of one directory; the directories among them, made but still empty."""
        below = []
        here = self.resolver.open(self.source, path, _DIRECTORY, links=False)
        try:
            there = self.resolver.open(self.target, path, _DIRECTORY, links=False)
            try:
                for raw in names_in(here):
                    child = FolderPath((*path.parts, name_of(raw)))
                    if (path.is_root and child.name == STAGING) or self.names.hides(child.name):
                        continue
                    if self._copy_entry(here, there, raw, child):
                        below.append(child)
            finally:
                os.close(there)
        finally:
            os.close(here)
        return below

    def _copy_entry(self, here: int, there: int, name: bytes, path: FolderPath) -> bool:
        """Copy one entry; whether it is a directory."""
        try:
            found = os.stat(name, dir_fd=here, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                os.mkdir(name, 0o700, dir_fd=there)
                return True
            if stat.S_ISLNK(found.st_mode):
                os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
                _own(there, name, found)
                os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=there, follow_symlinks=False)
            elif stat.S_ISREG(found.st_mode):
                self._copy_file(here, there, name, path)
            else:
                self.skipped.append(path)
        except FileNotFoundError:
            pass  # removed while we copied
        return False

    def _copy_file(self, here: int, there: int, name: bytes, path: FolderPath) -> None:
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | CAREFUL, dir_fd=here)
        try:
            found = os.fstat(source)
            if not stat.S_ISREG(found.st_mode):
                self.skipped.append(path)
                return
            if found.st_nlink > 1 and self._link_to_first(found, there, name, path):
                return
            copy = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | CAREFUL, 0o600, dir_fd=there)
            try:
                copy_content(source, copy)
                _own(there, name, found)
                os.fchmod(copy, stat.S_IMODE(found.st_mode) & ~(stat.S_ISUID | stat.S_ISGID))
                os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
            finally:
                os.close(copy)
        finally:
            os.close(source)

    def _link_to_first(self, found: os.stat_result, there: int, name: bytes, path: FolderPath) -> bool:
        """Give the copy of a file that was met before a second name."""
        first = self._seen.setdefault((found.st_dev, found.st_ino), path)
        if first == path:
            return False
        parent = self.resolver.open(self.target, first.parent, _DIRECTORY, links=False)
        try:
            os.link(bytes(FolderPath((first.name,))), name, src_dir_fd=parent, dst_dir_fd=there, follow_symlinks=False)
        finally:
            os.close(parent)
        return True

    def _finish_dir(self, path: FolderPath) -> None:
        found = self._stat_source(path)
        if found is None:
            return
        there = self.resolver.open(self.target, path, _DIRECTORY, links=False)
        try:
            _own_open(there, found)
            os.fchmod(there, stat.S_IMODE(found.st_mode) & ~stat.S_ISUID)
            os.utime(there, ns=(found.st_atime_ns, found.st_mtime_ns))
        finally:
            os.close(there)

    def _stat_source(self, path: FolderPath) -> os.stat_result | None:
        try:
            here = self.resolver.open(self.source, path, os.O_PATH | os.O_DIRECTORY, links=False)
        except FileNotFoundError:
            return None
        try:
            return os.fstat(here)
        finally:
            os.close(here)


def _own(directory: int, name: bytes, found: os.stat_result) -> None:
    try:
        os.chown(name, found.st_uid, found.st_gid, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if not not_permitted(error):
            raise


def _own_open(descriptor: int, found: os.stat_result) -> None:
    try:
        os.fchown(descriptor, found.st_uid, found.st_gid)
    except OSError as error:
        if not not_permitted(error):
            raise

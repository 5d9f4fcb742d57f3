"""The tree of one vfolder on disk, in plain blocking calls; ``folder`` makes them from the pool."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final

import attrs

from vfgateway.backends.vfs.adoption import Adoption
from vfgateway.backends.vfs.attributes import change_attrs, times_of
from vfgateway.backends.vfs.facts import facts_at, facts_of
from vfgateway.backends.vfs.faults import faults, is_link, translate
from vfgateway.backends.vfs.joblinks import JobPlaces
from vfgateway.backends.vfs.ownership import Ownership, strip_set_id
from vfgateway.backends.vfs.publish import Gate, Place, check_lost, rename
from vfgateway.backends.vfs.resolve import DIRECTORY, PATH_ONLY, Resolver
from vfgateway.errors import (
    AlreadyExists,
    InvalidPath,
    IsADirectory,
    NotADirectory,
    NotFound,
    PathError,
    PreconditionFailed,
    UnsupportedFileType,
    VFolderNotFound,
)
from vfgateway.model import Actor, Attrs, Expect, FileStat, NameRules, OpenMode, Published, VFolderId
from vfgateway.paths import FolderPath

#: The directory at the top of a vfolder that holds its stages.
STAGING: Final = ".upload"
#: Never wait for the other end of a FIFO, never become a terminal's session leader, never pass a link at the end.
CAREFUL: Final = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: How often to begin again when others create and remove the same name meanwhile.
MOST_RACES: Final = 64


@lru_cache(1024)
def _gate_beside(root: Path) -> Gate:
    return Gate(root.parent)


@attrs.frozen
class Tree:
    """One vfolder for one actor. Holds no descriptors: each call opens the root again.

    :ivar path: absolute path of the vfolder's root
    :ivar names: of the volume
    :ivar durable: whether changes of names are synced before they are acknowledged
    :ivar adoption: for roots that lead elsewhere
    :ivar jobs: where jobs see it
    """

    vfid: VFolderId
    path: Path
    names: NameRules
    resolver: Resolver
    ownership: Ownership
    actor: Actor
    durable: bool
    adoption: Adoption = attrs.Factory(Adoption)
    jobs: JobPlaces = attrs.Factory(JobPlaces)

    @property
    def gate(self) -> Gate:
        """What publishers of this vfolder pass; its file lies outside the vfolder, where no job can hold it."""
        return _gate_beside(self.path)

    @contextmanager
    def root(self) -> Iterator[int]:
        """A descriptor of the vfolder's root."""
        descriptor = self._enter()
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _enter(self) -> int:
        """As :meth:`root`, to be closed by the caller; for those ways on which a block of its own would cost more than the calls in it."""
        try:
            try:
                return os.open(self.path, DIRECTORY | os.O_NOFOLLOW)
            except NotADirectoryError:
                return self.adoption.open(self.path)
        except (FileNotFoundError, NotADirectoryError):
            raise VFolderNotFound(self.vfid) from None

    def check(self) -> None:
        """``VFolderNotFound`` unless the vfolder is there."""
        with faults(self.vfid), self.root():
            return

    @contextmanager
    def found(self, path: FolderPath) -> Iterator[int]:
        """A descriptor of the entry at ``path``, be it a link; through a file or a link there is nothing to be found."""
        with faults(path, NotFound), self.root() as root:
            if self.hidden(path):
                raise NotFound(path)
            descriptor = self.resolver.open(root, path, PATH_ONLY | os.O_NOFOLLOW, links=False)
            try:
                yield descriptor
            finally:
                os.close(descriptor)

    @contextmanager
    def place(self, path: FolderPath, through: type[PathError] = NotADirectory) -> Iterator[Place]:
        """The directory in which ``path`` is to be changed; no link is traversed to it."""
        with faults(path, through), self.root() as root:
            if self.hidden(path):
                raise NotFound(path) if through is NotFound else InvalidPath(path, f"a reserved name: {path}")
            parent = self.resolver.open(root, path.parent, DIRECTORY, links=False)
            try:
                yield Place(root, parent, bytes(FolderPath(path.parts[-1:])))
            finally:
                os.close(parent)

    def sync_names(self, directory: int, sync: bool = True) -> None:
        """Make changes of names in a directory durable, if the volume is to."""
        if self.durable and sync:
            descriptor = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    # --- reading

    def stat(self, path: FolderPath, follow: bool) -> FileStat:
        try:
            root = self._enter()
            try:
                if self.hidden(path):
                    raise NotFound(path)
                descriptor = self._open(root, path, PATH_ONLY | (0 if follow else os.O_NOFOLLOW), True)
                try:
                    found = facts_of(descriptor)
                    return found if found.target is None else self.shown(found, root, real_path(descriptor).parent)
                finally:
                    os.close(descriptor)
            finally:
                os.close(root)
        except OSError as error:
            raise translate(error, path, NotFound) from error

    def open_dir(self, path: FolderPath) -> tuple[int, bool]:
        """A descriptor that can be listed, and whether it is the root's, by whatever way it was reached."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        with faults(path), self.root() as root:
            if self.hidden(path):
                raise NotFound(path)
            try:
                descriptor = self._open(root, path, flags, True)
            except NotADirectoryError:
                self.stat(path, follow=True)  # a path through a file names nothing
                raise
            return descriptor, os.path.samestat(os.fstat(root), os.fstat(descriptor))

    def shown(self, link: FileStat, root: int, parent: Path) -> FileStat:
        """Facts of a link as clients are to see them. The directories are where the kernel has them."""
        return self.jobs.shown(link, parent, real_path(root)) if self.jobs else link

    def shown_in(self, directory: int, link: FileStat) -> FileStat:
        """As :meth:`shown`, of an entry of an open directory."""
        if not self.jobs:
            return link
        with self.root() as root:
            return self.shown(link, root, real_path(directory))

    def open_to_read(self, path: FolderPath) -> int:
        try:
            root = self._enter()
            try:
                if self.hidden(path):
                    raise NotFound(path)
                return regular(self._open(root, path, os.O_RDONLY | CAREFUL, True), path)
            finally:
                os.close(root)
        except OSError as error:
            raise translate(error, path, NotFound) from error

    def _open(self, root: int, path: FolderPath, flags: int, links: bool) -> int:
        """Open what is there. Nearly every path has no link in it; one that has must not lead to the staging area."""
        try:
            return self.resolver.open(root, path, flags, links=False)
        except OSError as error:
            if not links or not is_link(error):
                raise
        descriptor = self.resolver.open(root, path, flags, links=True, jobs=self.jobs)
        if self._is_hidden(real_path(descriptor).relative_to(real_path(root)).parts):
            os.close(descriptor)
            raise NotFound(path)
        return descriptor

    def open_to_write(self, path: FolderPath, mode: OpenMode) -> int:
        """A descriptor for reading and writing; new files get their owner and mode before anyone can use them."""
        if path.is_root:
            raise IsADirectory(path)
        create = OpenMode.CREATE in mode
        if self.hidden(path):
            raise InvalidPath(path, f"a reserved name: {path}") if create else NotFound(path)
        try:
            root = self._enter()
            try:
                return self._open_to_write(root, path, mode, create)
            finally:
                os.close(root)
        except OSError as error:
            raise translate(error, path, NotADirectory if create else NotFound) from error

    def _open_to_write(self, root: int, path: FolderPath, mode: OpenMode, create: bool) -> int:
        for _ in range(MOST_RACES):
            descriptor = self._create(root, path, mode) if create else None
            if descriptor is not None:
                return descriptor
            try:
                descriptor = self.resolver.open(root, path, os.O_RDWR | os.O_NOFOLLOW | CAREFUL, links=False)
            except FileNotFoundError:
                if create:
                    continue
                raise
            return self._ready(regular(descriptor, path), mode)
        raise NotFound(path)

    def _create(self, root: int, path: FolderPath, mode: OpenMode) -> int | None:
        """Create the file; ``None`` if there is one already."""
        try:
            descriptor = self.resolver.create(root, path, os.O_RDWR | CAREFUL, 0o600)
        except FileExistsError:
            if OpenMode.EXCLUSIVE in mode:
                raise AlreadyExists(path) from None
            return None
        return self._settled(descriptor, root, path)

    def create_at_once(self, root: bytes, path: FolderPath) -> int | None:
        """A descriptor of a new file at ``path``, with as few calls as may be; ``None`` if it has to be made another way. ``AlreadyExists``."""
        try:
            descriptor = self.resolver.create_at_once(root, path, os.O_RDWR | CAREFUL, 0o600)
        except FileExistsError:
            raise AlreadyExists(path) from None
        except OSError:
            return None
        return self._settled(descriptor, root, path)

    def _settled(self, descriptor: int, root: int | bytes, path: FolderPath) -> int:
        """The new file with its owner and mode; without them it is not left there."""
        try:
            self.ownership.settle_file(descriptor, root, self.actor)
        except BaseException:
            os.close(descriptor)
            with self.place(path) as place:
                os.unlink(place.name, dir_fd=place.parent)
            raise
        return descriptor

    def _ready(self, descriptor: int, mode: OpenMode) -> int:
        try:
            if OpenMode.WRITE in mode:
                strip_set_id(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    # --- names

    def make_dir(self, path: FolderPath) -> None:
        if path.is_root:
            raise AlreadyExists(path)
        with self.place(path) as place:
            os.mkdir(place.name, 0o700, dir_fd=place.parent)
            try:
                self._settle_dir(place)
            except BaseException:
                os.rmdir(place.name, dir_fd=place.parent)
                raise
            self.sync_names(place.parent)

    def _settle_dir(self, place: Place) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(place.name, flags, dir_fd=place.parent)
        try:
            self.ownership.settle_dir(descriptor, place.root, self.actor)
            if self.durable:  # without a journal the sync of the directory above leaves out what the name is of
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def make_link(self, path: FolderPath, target: str) -> None:
        if path.is_root:
            raise AlreadyExists(path)
        if not target or "\0" in target:
            raise InvalidPath(path, f"not a usable target of a link: {path}")
        with self.place(path) as place:
            os.symlink(target.encode("utf-8", "surrogateescape"), place.name, dir_fd=place.parent)
            self.sync_names(place.parent)

    def hard_link(self, source: FolderPath, target: FolderPath) -> None:
        if source.is_root:
            raise IsADirectory(source)
        if target.is_root:
            raise AlreadyExists(target)
        with self.place(source, NotFound) as old:
            if facts_at(old.parent, old.name).is_dir:
                raise IsADirectory(source)
            with self.place(target) as new:
                os.link(old.name, new.name, src_dir_fd=old.parent, dst_dir_fd=new.parent, follow_symlinks=False)
                self.sync_names(new.parent)

    def remove(self, wait: bool, path: FolderPath, expect: Expect) -> Published:
        if path.is_root:
            raise IsADirectory(path)
        with self.place(path, NotFound) as place, self.gate.passed(expect, wait):
            before = facts_at(place.parent, place.name)
            if before.is_dir:
                raise IsADirectory(path)
            if expect.absent or expect.identity not in (None, before.identity):
                raise PreconditionFailed(path)
            check_lost(before, wait)
            os.unlink(place.name, dir_fd=place.parent)
        return Published(None, before)

    def remove_dir(self, path: FolderPath) -> None:
        if path.is_root:
            raise InvalidPath(path, "the top of a folder cannot be removed")
        with self.place(path, NotFound) as place:
            if not facts_at(place.parent, place.name).is_dir:
                raise NotADirectory(path)
            os.rmdir(place.name, dir_fd=place.parent)

    def rename(self, wait: bool, source: FolderPath, target: FolderPath, expect: Expect) -> Published:
        if source.is_root or target.is_root:
            raise InvalidPath(source, "the top of a folder cannot be renamed")
        with self.place(source, NotFound) as old:
            facts_at(old.parent, old.name)
            with self.place(target) as new:
                with self.gate.passed(expect, wait):
                    replaced = rename(old, source, new, target, expect, self.names, wait)
                after = facts_at(new.parent, new.name)
                if after.target is not None:
                    after = self.shown(after, new.root, real_path(new.parent))
                self.sync_names(new.parent)
                if source.parent != target.parent:
                    self.sync_names(old.parent)
        return Published(after, replaced)

    def hidden(self, path: FolderPath) -> bool:
        """Whether ``path`` lies in the staging area, or where the storage keeps something for itself."""
        parts, names = path.parts, self.names
        if names.hidden or names.case_folding:
            return self._is_hidden(parts)
        return bool(parts) and parts[0] == STAGING

    def _is_hidden(self, parts: Sequence[str]) -> bool:
        names = self.names
        return bool(parts) and (
            names.fold(parts[0]) == STAGING or (names.hidden != "" and any(map(names.hides, parts)))
        )

    def set_attrs(self, path: FolderPath, attrs: Attrs) -> FileStat:
        with self.found(path) as descriptor:
            now = os.fstat(descriptor)
            if not stat.S_ISLNK(now.st_mode):
                # An O_PATH descriptor cannot be changed itself; its entry in /proc leads to exactly this inode.
                return change_attrs(descriptor, attrs, f"/proc/self/fd/{descriptor}")
            if (times := times_of(now, attrs)) is not None:
                self._set_link_times(path, times)
            with self.root() as root:
                return self.shown(facts_of(descriptor), root, real_path(descriptor).parent)

    def _set_link_times(self, path: FolderPath, times: tuple[int, int]) -> None:
        with self.place(path, NotFound) as place:
            os.utime(place.name, ns=times, dir_fd=place.parent, follow_symlinks=False)


def real_path(descriptor: int) -> Path:
    """Where the kernel has what a descriptor refers to."""
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def regular(descriptor: int, path: FolderPath) -> int:
    """``descriptor`` itself if it is a regular file's; closes it otherwise."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectory(path)
    raise UnsupportedFileType(path)

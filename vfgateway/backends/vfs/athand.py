"""What can be told of a vfolder in the reactor's own thread: a few system calls on a path without links. See ``IAtHand``."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Final

from vfgateway.backends.vfs.facts import facts
from vfgateway.backends.vfs.near import Near
from vfgateway.backends.vfs.resolve import DIRECTORY, PATH_ONLY
from vfgateway.backends.vfs.tree import CAREFUL, Tree
from vfgateway.interfaces import type_chunk
from vfgateway.model import FileStat
from vfgateway.paths import FolderPath

_ITSELF: Final = PATH_ONLY | os.O_NOFOLLOW
_READING: Final = os.O_RDONLY | CAREFUL
_ONE_READING: Final = _READING | os.O_NOFOLLOW

type_reread = Callable[[], type_chunk | None]


class AtHand:
    """See the module.

    :param in_memory: whether the storage is memory, which does not know the flag that forbids to wait, nor needs it
    :param near: what is open of the volume for who asks again, if anything may be
    """

    def __init__(self, tree: Tree, in_memory: bool, near: Near | None) -> None:
        self._near = near
        self._tree = tree
        self._hidden, self._open_at_once = tree.hidden, tree.resolver.open_at_once
        self._opener = tree.resolver.opener
        self._root = os.fsencode(tree.path)
        self._in_memory = in_memory

    def _open(self, path: FolderPath, flags: int) -> int | None:
        """Open what is at ``path``, by a way without links."""
        if self._hidden(path):
            return None
        try:
            return self._open_at_once(self._root, path, flags)
        except OSError:
            return None

    def open(self, path: FolderPath) -> int | None:
        """A descriptor of a regular file, to be read; ``None`` if it is none, or has to be found another way."""
        descriptor = self._open(path, _READING)
        if descriptor is not None and not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        return descriptor

    def create(self, path: FolderPath) -> int | None:
        """A descriptor of a new file; ``None`` if it has to be made another way. ``AlreadyExists``."""
        tree = self._tree
        return None if path.is_root or tree.hidden(path) else tree.create_at_once(self._root, path)

    def stat(self, path: FolderPath) -> FileStat | None:
        """See ``IAtHand``."""
        descriptor = self._open(path, _ITSELF)
        if descriptor is None:
            return None
        try:
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        return None if stat.S_ISLNK(found.st_mode) else facts(found)

    def read(
        self, path: FolderPath, choose: Callable[[FileStat], tuple[int, int] | None]
    ) -> tuple[FileStat, type_chunk] | None:
        """See ``IAtHand``."""
        descriptor = self._open(path, _READING)
        if descriptor is None:
            return None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return None
            known = facts(found)
            part = choose(known)
            if part is None:
                return known, b""
            content = self._content(descriptor, part)
            return None if content is None else (known, content)
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def again(self, path: FolderPath, stat: FileStat, part: tuple[int, int] | None) -> type_reread | None:
        """See ``IAtHand.reread_now``."""
        if self._hidden(path) or not stat.is_file:
            return None
        reach = self._opener(self._root, path, _ITSELF if part is None else _READING)
        inode, changed, size = int(stat.identity.partition("-")[0], 16), stat.ctime_ns, stat.size
        content = self._content

        def differs(found: os.stat_result) -> bool:
            return found.st_ctime_ns != changed or found.st_ino != inode or found.st_size != size

        def reread() -> type_chunk | None:
            try:
                descriptor = reach()
                if descriptor < 0:
                    return None
                try:
                    if differs(os.fstat(descriptor)):
                        return None
                    return b"" if part is None else content(descriptor, part)
                finally:
                    os.close(descriptor)
            except OSError:
                return None

        return reread if self._near is None else self._from_near(self._near, path, part, differs, reread)

    def _from_near(
        self,
        near: Near,
        path: FolderPath,
        part: tuple[int, int] | None,
        differs: Callable[[os.stat_result], bool],
        reread: type_reread,
    ) -> type_reread:
        """What does as ``reread``, by fewer steps where others ask, too."""
        whole, name = b"%b/%b" % (self._root, bytes(path)), bytes(FolderPath(path.parts[-1:]))
        above = whole[: -len(name) - 1]
        reach, content = self._opener(self._root, path.parent, DIRECTORY), self._content

        def reread_near() -> type_chunk | None:
            try:
                directory = near.directory(above, reach)
                if directory < 0:
                    return reread()
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if differs(found):
                    return None
                if part is None:
                    return b""
                descriptor = near.file(whole, (found.st_dev, found.st_ino))
                if descriptor < 0:
                    descriptor = os.open(name, _ONE_READING, dir_fd=directory)
                    found = os.fstat(descriptor)
                    near.keep(whole, (found.st_dev, found.st_ino), descriptor)
                    if differs(found):
                        return None
                return content(descriptor, part)
            except OSError:
                return None

        return reread_near

    def _content(self, descriptor: int, part: tuple[int, int]) -> type_chunk | None:
        """A part of an open file, by offset and length; ``None`` unless all of it is there, in memory."""
        offset, length = part
        if self._in_memory:
            content: type_chunk = os.pread(descriptor, length, offset)
            return content if len(content) == length else None
        content = bytearray(length)
        return content if os.preadv(descriptor, [content], offset, os.RWF_NOWAIT) == length else None

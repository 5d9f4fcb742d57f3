"""Small files that are asked for again and again, reached by fewer steps than by their whole paths.

Of those who ask in one turn of the reactor many want files of one directory: it is found once for all of them, and given up with the turn. And a file that was
read stays open for a second: while its name leads to it, it is not opened anew. So what is told is always what the path leads to in this turn, and what the file
has in this moment.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

from vfgateway.eventloop import at_end

#: Seconds for which a file stays open. For so long its storage cannot be unmounted, and what was removed keeps its room.
KEPT: Final = 1.0
#: Files that are open at once, at most, and what share of all that the process may open.
MOST_FILES: Final = 1024
SHARE: Final = 8
#: Directories that are open in one turn, at most.
MOST_DIRECTORIES: Final = 64

#: Device and number of a file: another file system may be mounted over the one whose file is open, even a copy of it.
type_inode = tuple[int, int]

_NOTHING: Final = -1, (-1, -1)


class Near:
    """What one volume has open of this kind. For the reactor's thread."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._most_files = min(MOST_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // SHARE)
        self._directories: dict[bytes, int] = {}
        self._files: dict[bytes, tuple[int, type_inode]] = {}
        self._closing: IDelayedCall | None = None

    def directory(self, path: bytes, reach: Callable[[], int]) -> int:
        """A descriptor of the directory, until this turn ends; ``reach`` opens it. Negative where it cannot be opened, or where that would be in vain, since nobody
        else has anything to say in this turn."""
        descriptor = self._directories.get(path)
        if descriptor is None:
            if len(self._directories) >= MOST_DIRECTORIES:
                return -1
            if not self._directories and not at_end(self._reactor, self._leave):
                return -1
            descriptor = reach()
            if descriptor >= 0:
                self._directories[path] = descriptor
        return descriptor

    def file(self, path: bytes, inode: type_inode) -> int:
        """A descriptor of the file that was open at ``path``, if that is it; else a negative number."""
        descriptor, of = self._files.get(path, _NOTHING)
        return descriptor if of == inode else -1

    def keep(self, path: bytes, inode: type_inode, descriptor: int) -> None:
        """Take over the descriptor of a file, to be found by :meth:`file`. It is closed soon."""
        if len(self._files) >= self._most_files:
            self.close()
        before = self._files.pop(path, None)
        if before is not None:
            os.close(before[0])
        self._files[path] = descriptor, inode
        if self._closing is None:
            self._closing = self._reactor.callLater(KEPT, self.close)

    def close(self) -> None:
        """Let go of all files. Idempotent."""
        closing, self._closing = self._closing, None
        if closing is not None and closing.active():
            closing.cancel()
        files, self._files = self._files, {}
        for descriptor, _ in files.values():
            os.close(descriptor)

    def _leave(self) -> None:
        directories, self._directories = self._directories, {}
        for descriptor in directories.values():
            os.close(descriptor)

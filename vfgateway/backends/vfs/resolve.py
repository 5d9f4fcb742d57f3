"""From a path to a descriptor without ever leaving the vfolder, whatever is swapped in meanwhile.

Two ways with the same promises: the kernel's ``openat2``, and a walk of one component at a time for kernels and
sandboxes without it. Neither trusts anything that it looked at a moment before.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Final, Protocol

from vfgateway.backends.vfs import syscalls
from vfgateway.backends.vfs.faults import is_link, leads_out, left_folder, met_link, not_a_directory, would_block
from vfgateway.backends.vfs.joblinks import JobPlaces
from vfgateway.paths import FolderPath

#: Links followed before resolution gives up, as in the kernel.
MOST_LINKS: Final = 40
#: How often ``openat2`` is asked again when renames race with it.
MOST_RACES: Final = 64
PATH_ONLY: Final = os.O_PATH | os.O_CLOEXEC
DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

_BENEATH: Final = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_MAGICLINKS
_NO_LINKS: Final = _BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_NO_LINKS_ANYWHERE: Final = syscalls.RESOLVE_NO_MAGICLINKS | syscalls.RESOLVE_NO_SYMLINKS
_ANYWHERE: Final = -100  # AT_FDCWD: paths are absolute


class Resolver(Protocol):
    """Opens paths below a directory."""

    def open(self, root: int, path: FolderPath, flags: int, *, links: bool, jobs: JobPlaces | None = None) -> int:
        """Open ``path`` below the directory ``root`` with ``flags`` of ``open(2)``; it must exist.

        With ``links``, symbolic links are followed as long as they stay below ``root`` (the last one not with ``O_NOFOLLOW``); without, any link but a
        last one that is opened itself (``O_PATH | O_NOFOLLOW``) is an error. Absolute ones lead out, but for those into ``jobs``, which
        begin at ``root``. Raises ``OSError``: ``EXDEV`` for a way out, ``ELOOP`` for a link that may not be there, otherwise as ``open(2)``.
        """

    def open_at_once(self, root: bytes, path: FolderPath, flags: int) -> int:
        """As :meth:`open` without links, below the directory whose path is ``root``, which must not be one either: with as few calls as
        may be."""

    def opener(self, root: bytes, path: FolderPath, flags: int) -> Callable[[], int]:
        """What opens as :meth:`open_at_once`, as often as it is called. Where that raises it may return a negative number."""

    def create(self, root: int, path: FolderPath, flags: int, mode: int) -> int:
        """Make a file at ``path``, which must not exist: ``EEXIST``. No link is followed. Otherwise as :meth:`open`."""

    def create_at_once(self, root: bytes, path: FolderPath, flags: int, mode: int) -> int:
        """As :meth:`create`, below the directory whose path is ``root``, as in :meth:`open_at_once`."""


def _open_in_two(resolver: Resolver, root: bytes, path: FolderPath, flags: int) -> int:
    directory = os.open(root, DIRECTORY | os.O_NOFOLLOW)
    try:
        return resolver.open(directory, path, flags, links=False)
    finally:
        os.close(directory)


def _create_in_two(resolver: Resolver, root: bytes, path: FolderPath, flags: int, mode: int) -> int:
    directory = os.open(root, DIRECTORY | os.O_NOFOLLOW)
    try:
        return resolver.create(directory, path, flags, mode)
    finally:
        os.close(directory)


@lru_cache(maxsize=2048)
def _whole(root: bytes, parts: tuple[str, ...]) -> bytes:
    """From the root of the machine. By the names: a path computes its hash in Python."""
    return b"%b/%b" % (root, bytes(FolderPath(parts)))


class KernelResolver:
    """``openat2(2)`` with ``RESOLVE_BENEATH``."""

    def open(self, root: int, path: FolderPath, flags: int, *, links: bool, jobs: JobPlaces | None = None) -> int:
        try:
            return self._open(root, bytes(path) or b".", flags, _BENEATH if links else _NO_LINKS, 0)
        except OSError as error:
            if not (links and jobs and leads_out(error)):
                raise
        # The kernel can only be told to refuse absolute links.
        return _WALK.open(root, path, flags, links=True, jobs=jobs)

    def create(self, root: int, path: FolderPath, flags: int, mode: int) -> int:
        return self._open(root, bytes(path), flags | os.O_CREAT | os.O_EXCL, _NO_LINKS, mode)

    def open_at_once(self, root: bytes, path: FolderPath, flags: int) -> int:
        try:
            # Where no link is followed, and no name is "..", nothing leads out.
            return syscalls.openat2(_ANYWHERE, _whole(root, path.parts), flags, _NO_LINKS_ANYWHERE)
        except OSError as error:
            if not is_link(error):
                raise
        return _open_in_two(self, root, path, flags)  # the link may lead to the volume

    def opener(self, root: bytes, path: FolderPath, flags: int) -> Callable[[], int]:
        return syscalls.opener(_ANYWHERE, _whole(root, path.parts), flags, _NO_LINKS_ANYWHERE)

    def create_at_once(self, root: bytes, path: FolderPath, flags: int, mode: int) -> int:
        try:
            return self._open(
                _ANYWHERE, _whole(root, path.parts), flags | os.O_CREAT | os.O_EXCL, _NO_LINKS_ANYWHERE, mode
            )
        except OSError as error:
            if not is_link(error):
                raise
        return _create_in_two(self, root, path, flags, mode)

    def _open(self, root: int, path: bytes, flags: int, resolve: int, mode: int) -> int:
        for _ in range(MOST_RACES):
            try:
                return syscalls.openat2(root, path, flags, resolve, mode)
            except OSError as error:
                if not would_block(error):
                    raise
        raise left_folder()


class WalkResolver:
    """One component at a time with ``O_NOFOLLOW``; links are read and walked here, ``..`` goes back along the descriptors."""

    def open(self, root: int, path: FolderPath, flags: int, *, links: bool, jobs: JobPlaces | None = None) -> int:
        stack = [os.open(b".", DIRECTORY, dir_fd=root)]
        try:
            last = self._walk(stack, path, flags, links, jobs)
            if flags & os.O_PATH:
                return self._bare(stack, flags)
            if last is None:
                return os.open(b".", flags | os.O_CLOEXEC, dir_fd=stack[-1])
            return os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stack[-2])
        finally:
            for descriptor in stack:
                os.close(descriptor)

    def open_at_once(self, root: bytes, path: FolderPath, flags: int) -> int:
        return _open_in_two(self, root, path, flags)

    def opener(self, root: bytes, path: FolderPath, flags: int) -> Callable[[], int]:
        return partial(self.open_at_once, root, path, flags)

    def create_at_once(self, root: bytes, path: FolderPath, flags: int, mode: int) -> int:
        return _create_in_two(self, root, path, flags, mode)

    def create(self, root: int, path: FolderPath, flags: int, mode: int) -> int:
        parent = self.open(root, path.parent, DIRECTORY, links=False)
        try:
            name = bytes(FolderPath(path.parts[-1:]))
            return os.open(name, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=parent)
        finally:
            os.close(parent)

    def _walk(
        self, stack: list[int], path: FolderPath, flags: int, links: bool, jobs: JobPlaces | None
    ) -> bytes | None:
        """Leave on ``stack`` descriptors from the root to ``path``; the last name, ``None`` if a directory was reached."""
        left = deque(bytes(path).split(b"/"))
        followed = 0
        last: bytes | None = None
        while left:
            name = left.popleft()
            if name in (b"", b"."):
                continue
            last = None
            if name == b"..":
                if len(stack) == 1:
                    raise left_folder()
                os.close(stack.pop())
                continue
            stack.append(os.open(name, PATH_ONLY | os.O_NOFOLLOW, dir_fd=stack[-1]))
            mode = os.fstat(stack[-1]).st_mode
            if stat.S_ISLNK(mode):
                if not left and flags & os.O_NOFOLLOW:
                    if not flags & os.O_PATH:
                        raise met_link()
                    return name
                followed += 1
                if not links or followed > MOST_LINKS:
                    raise met_link()
                left.extendleft(reversed(self._follow(stack, jobs)))
            elif not stat.S_ISDIR(mode):
                if left:
                    raise not_a_directory()
                last = name
        return last

    def _follow(self, stack: list[int], jobs: JobPlaces | None) -> Sequence[bytes]:
        """Take the link at the end of ``stack`` away, and more where it begins elsewhere; the names to go on with."""
        target = os.readlink(b"", dir_fd=stack[-1])
        os.close(stack.pop())
        if not target.startswith(b"/"):
            return target.split(b"/")
        way = None if jobs is None else jobs.way_inside(target)
        if way is None:
            raise left_folder()
        while len(stack) > 1:
            os.close(stack.pop())
        return way

    def _bare(self, stack: list[int], flags: int) -> int:
        if flags & os.O_DIRECTORY and not stat.S_ISDIR(os.fstat(stack[-1]).st_mode):
            raise not_a_directory()
        return stack.pop()


_WALK: Final = WalkResolver()


def best_resolver() -> Resolver:
    """The kernel's way where there is one."""
    return KernelResolver() if syscalls.has_openat2() else WalkResolver()

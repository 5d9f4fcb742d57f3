"""Removing whole trees: renamed aside first, so that the name is free at once and a crash leaves something to go on with.

Links are removed, never followed. However deep a tree is, few descriptors are open at once: below a certain depth a
directory is moved up to the trash and removed from there.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import Final
from uuid import uuid4

import attrs

from vfgateway.backends.vfs.facts import names_in
from vfgateway.backends.vfs.faults import would_block
from vfgateway.backends.vfs.layout import make_plain_dir
from vfgateway.backends.vfs.ownership import PRIVATE
from vfgateway.backends.vfs.resolve import DIRECTORY

#: Depth from which directories are moved up.
DEEPEST: Final = 64
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def set_aside(root: Path, trash: Path, label: str) -> Path | None:
    """Rename a tree into ``trash`` under a name that begins with ``label``; ``None`` if it is not there."""
    ensure_trash(trash)
    aside = trash / f"{label}-{uuid4().hex}"
    try:
        root.rename(aside)
    except FileNotFoundError:
        return None
    return aside


def ensure_trash(trash: Path) -> None:
    """Make the place for what is being removed or made."""
    try:
        make_plain_dir(trash)
        trash.chmod(PRIVATE)
    except FileExistsError:
        return


def empty_trash(trash: Path, label: str = "") -> OSError | None:
    """Remove what lies in ``trash`` under names that begin with ``label``, unless somebody holds it; the first error met."""
    try:
        place = os.open(trash, _DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        remover = _Remover(place)
        for name in names_in(place):
            if name.startswith(label.encode()):
                remover.remove_top(name)
        while remover.moved_up:
            remover.remove_top(remover.moved_up.pop())
        return remover.first_error
    finally:
        os.close(place)


def hold(directory: int) -> None:
    """Keep :func:`empty_trash` of all processes away from what is being made there; ends with the descriptor."""
    fcntl.flock(directory, fcntl.LOCK_EX)


@attrs.define
class _Remover:
    """One sweep through a trash directory."""

    trash: int
    moved_up: list[bytes] = attrs.Factory(list)
    first_error: OSError | None = None

    def remove_top(self, name: bytes) -> None:
        """Remove one entry of the trash."""
        self._remove(self.trash, name, 0)

    def _remove(self, parent: int, name: bytes, depth: int) -> None:
        """Remove an entry with all below it; errors are noted, and what can be removed is."""
        try:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=parent)
            elif depth >= DEEPEST:
                higher = uuid4().hex.encode()
                os.rename(name, higher, src_dir_fd=parent, dst_dir_fd=self.trash)
                self.moved_up.append(higher)
            elif self._empty(parent, name, depth):
                os.rmdir(name, dir_fd=parent)
        except FileNotFoundError:
            return  # another process removes the same tree
        except OSError as error:
            self.first_error = self.first_error or error

    def _empty(self, parent: int, name: bytes, depth: int) -> bool:
        """Remove the content of a directory; whether it was ours to remove."""
        directory = self._open(parent, name)
        try:
            if depth == 0 and not _free(directory):
                return False
            for below in names_in(directory):
                self._remove(directory, below, depth + 1)
        finally:
            os.close(directory)
        return True

    def _open(self, parent: int, name: bytes) -> int:
        try:
            return os.open(name, _DIRECTORY, dir_fd=parent)
        except PermissionError:
            # The owner took his own rights away; the gateway may be the owner and can have them back.
            itself = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            try:
                Path(f"/proc/self/fd/{itself}").chmod(PRIVATE)
            finally:
                os.close(itself)
            return os.open(name, _DIRECTORY, dir_fd=parent)


def _free(directory: int) -> bool:
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return not would_block(error)
    return True

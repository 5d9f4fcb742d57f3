"""What can be told of a vfolder in the reactor's own thread: a few system calls on a path without links. See ``IAtHand``."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from vfgateway.backends.vfs.facts import facts
from vfgateway.backends.vfs.resolve import DIRECTORY, PATH_ONLY
from vfgateway.backends.vfs.tree import CAREFUL, Tree
from vfgateway.interfaces import type_chunk
from vfgateway.model import FileStat
from vfgateway.paths import FolderPath


def _open(tree: Tree, path: FolderPath, flags: int) -> int | None:
    """Open what is at ``path``, by a way without links."""
    if tree.hidden(path):
        return None
    try:
        root = os.open(tree.path, DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return tree.resolver.open(root, path, flags, links=False)
    except OSError:
        return None
    finally:
        os.close(root)


def stat_now(tree: Tree, path: FolderPath) -> FileStat | None:
    """See ``IAtHand``."""
    descriptor = _open(tree, path, PATH_ONLY | os.O_NOFOLLOW)
    if descriptor is None:
        return None
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return None if stat.S_ISLNK(found.st_mode) else facts(found)


def read_now(
    tree: Tree, path: FolderPath, choose: Callable[[FileStat], tuple[int, int] | None], in_memory: bool
) -> tuple[FileStat, type_chunk] | None:
    """See ``IAtHand``.

    :param in_memory: whether the storage is memory, which does not know the flag that forbids to wait, nor needs it
    """
    descriptor = _open(tree, path, os.O_RDONLY | CAREFUL)
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
        offset, length = part
        if in_memory:
            content: type_chunk = os.pread(descriptor, length, offset)
        else:
            content = bytearray(length)
            if os.preadv(descriptor, [content], offset, os.RWF_NOWAIT) != length:
                return None
        return (known, content) if len(content) == length else None
    except OSError:
        return None
    finally:
        os.close(descriptor)

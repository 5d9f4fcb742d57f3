"""Mode and times of what is there, as a client sets them."""

from __future__ import annotations

import os
import stat

from vfgateway.backends.vfs.facts import facts_of
from vfgateway.backends.vfs.ownership import PERMISSIONS
from vfgateway.model import Attrs, FileStat


def change_attrs(descriptor: int, attrs: Attrs, itself: int | str | None = None) -> FileStat:
    """Change mode and times of a file or directory; the new facts.

    :param itself: what to name it by, if not by the descriptor
    """
    now = os.fstat(descriptor)
    named = descriptor if itself is None else itself
    if attrs.mode is not None:
        os.chmod(named, changed_mode(now.st_mode, attrs.mode))  # noqa: PTH101
    if (times := times_of(now, attrs)) is not None:
        os.utime(named, ns=times)
    return facts_of(descriptor)


def times_of(now: os.stat_result, attrs: Attrs) -> tuple[int, int] | None:
    """Those of access and change, where one of them shall become another."""
    if attrs.atime_ns is None and attrs.mtime_ns is None:
        return None
    return (
        now.st_atime_ns if attrs.atime_ns is None else attrs.atime_ns,
        now.st_mtime_ns if attrs.mtime_ns is None else attrs.mtime_ns,
    )


def changed_mode(now: int, wanted: int) -> int:
    """The mode after a client asked for ``wanted``: permission bits alone, but a directory keeps its set-group bit."""
    kept = stat.S_IMODE(now) & (stat.S_ISGID | stat.S_ISVTX) if stat.S_ISDIR(now) else 0
    return (wanted & PERMISSIONS) | kept

"""What CephFS tells and is told of a directory by extended attributes (docs.ceph.com, "CephFS Quotas", "Extended attributes"). Blocking calls.

A directory counts itself among the entries below it, and among those that its limit allows.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from vfgateway.backends.vfs.faults import has_no_attribute
from vfgateway.model import Limits, Usage

MAX_BYTES: Final = "ceph.quota.max_bytes"
MAX_FILES: Final = "ceph.quota.max_files"
#: The directory itself, and the one in it where stages are kept.
OWN_ENTRIES: Final = 2


def limits(directory: Path) -> Limits:
    """The limits of a directory."""
    entries = _number(directory, MAX_FILES)
    return Limits(_number(directory, MAX_BYTES), None if entries is None else max(0, entries - OWN_ENTRIES))


def set_limits(directory: Path, wanted: Limits) -> None:
    """Set or lift them. 0 stands for none: so no bytes at all are one byte here."""
    _set(directory, MAX_BYTES, None if wanted.bytes is None else max(1, wanted.bytes))
    _set(directory, MAX_FILES, None if wanted.files is None else wanted.files + OWN_ENTRIES)


def usage(directory: Path, stages: Path) -> Usage:
    """What lies below it, as far as the metadata servers have passed it upwards: some seconds late.

    :param stages: a directory in it that is no entry of its own
    """
    entries = (_number(directory, "ceph.dir.rentries") or 0) - 1 - stages.is_dir()
    return Usage(_number(directory, "ceph.dir.rbytes") or 0, max(0, entries))


def is_ceph(directory: Path) -> bool:
    """Whether it is a directory of a CephFS."""
    return _value(directory, "ceph.dir.rentries") is not None


def taken(snapshot: Path) -> float:
    """When a snapshot was taken, in epoch seconds."""
    value = _value(snapshot, "ceph.snap.btime")
    return snapshot.stat().st_ctime if value is None else float(value)


def _set(directory: Path, name: str, value: int | None) -> None:
    os.setxattr(directory, name, b"%d" % (value or 0))


def _number(directory: Path, name: str) -> int | None:
    """``None`` for 0, too."""
    return int(_value(directory, name) or 0) or None


def _value(directory: Path, name: str) -> bytes | None:
    try:
        return os.getxattr(directory, name)
    except OSError as error:
        if has_no_attribute(error):
            return None
        raise

"""What the disk says about an entry, as :class:`vfgateway.model.FileStat`."""

from __future__ import annotations

import os
import stat
from typing import Final

from vfgateway.backends.vfs.ownership import PERMISSIONS
from vfgateway.model import FileStat, FileType
from vfgateway.posix import IDENTITY

# One look-up each, since facts are made by the ten thousand.
_FILE, _DIRECTORY, _OTHER = FileType.FILE, FileType.DIRECTORY, FileType.OTHER
_TYPES: Final = {stat.S_IFREG: _FILE, stat.S_IFDIR: _DIRECTORY, stat.S_IFLNK: FileType.SYMLINK}
_TYPE_BITS: Final = 0o170000


def name_of(raw: bytes) -> str:
    """A name as the gateway writes it."""
    return raw.decode("utf-8", "surrogateescape")


def names_in(directory: int) -> list[bytes]:
    """All names of a directory, as bytes whatever the locale is."""
    with os.scandir(directory) as entries:
        return [os.fsencode(entry.name) for entry in entries]


def facts(found: os.stat_result, target: str | None = None) -> FileStat:
    """``found`` in our words; ``target`` is where a link points."""
    mode, size, changed = found.st_mode, found.st_size, found.st_ctime_ns
    kind = _TYPES.get(mode & _TYPE_BITS, _OTHER)
    values = (
        kind,
        size if kind is _FILE else 0,
        mode & PERMISSIONS,
        found.st_uid,
        found.st_gid,
        found.st_mtime_ns,
        changed,
        IDENTITY % (found.st_ino, changed, size),
        found.st_atime_ns,
        1 if kind is _DIRECTORY else found.st_nlink,
        target,
    )
    return tuple.__new__(FileStat, values)  # as FileStat itself does, without a call in between


def facts_of(descriptor: int) -> FileStat:
    """Facts about what a descriptor refers to, be it a link opened with ``O_PATH``."""
    found = os.fstat(descriptor)
    target = name_of(os.readlink(b"", dir_fd=descriptor)) if stat.S_ISLNK(found.st_mode) else None
    return facts(found, target)


def facts_at(directory: int, name: bytes) -> FileStat:
    """Facts about an entry of a directory, links not followed."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    target = name_of(os.readlink(name, dir_fd=directory)) if stat.S_ISLNK(found.st_mode) else None
    return facts(found, target)


def entry_facts(directory: int, name: bytes) -> FileStat | None:
    """As :func:`facts_at`; ``None`` if there is no such entry."""
    try:
        return facts_at(directory, name)
    except FileNotFoundError:
        return None

"""What the disk says about an entry, as :class:`vfgateway.model.FileStat`."""

from __future__ import annotations

import os
import stat

from vfgateway.backends.vfs.ownership import PERMISSIONS
from vfgateway.model import FileStat, FileType

_TYPES = {stat.S_IFREG: FileType.FILE, stat.S_IFDIR: FileType.DIRECTORY, stat.S_IFLNK: FileType.SYMLINK}


def name_of(raw: bytes) -> str:
    """A name as the gateway writes it."""
    return raw.decode("utf-8", "surrogateescape")


def names_in(directory: int) -> list[bytes]:
    """All names of a directory, as bytes whatever the locale is."""
    with os.scandir(directory) as entries:
        return [os.fsencode(entry.name) for entry in entries]


def facts(found: os.stat_result, target: str | None = None) -> FileStat:
    """``found`` in our words; ``target`` is where a link points."""
    kind = _TYPES.get(stat.S_IFMT(found.st_mode), FileType.OTHER)
    return FileStat(
        type=kind,
        size=found.st_size if kind is FileType.FILE else 0,
        mode=found.st_mode & PERMISSIONS,
        uid=found.st_uid,
        gid=found.st_gid,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
        identity=f"{found.st_ino:x}-{found.st_ctime_ns:x}-{found.st_size:x}",
        atime_ns=found.st_atime_ns,
        nlink=1 if kind is FileType.DIRECTORY else found.st_nlink,
        target=target,
    )


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

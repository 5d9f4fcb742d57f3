"""Project identifiers of directories, and the quota of projects, through the kernel's own calls (ioctl_xfs_fsgetxattr(2), quotactl(2)). They are the
same for XFS and ext4. Blocking; all raise ``OSError``.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from typing import Final

_GET_ATTRIBUTES: Final = 0x801C581F
_SET_ATTRIBUTES: Final = 0x401C5820
#: ``struct fsxattr``: flags, extent size, extents, project, copy-on-write extent size, padding.
_ATTRIBUTES: Final = struct.Struct("=IIIII8s")
#: What is made in a directory gets its project.
_INHERIT: Final = 0x200

_SYS_QUOTACTL_FD: Final = 443  # the same on every architecture; Linux 5.14
_PROJECT_QUOTA: Final = 2
_SET_QUOTA: Final = 0x800008
_GET_QUOTA: Final = 0x800007
_GET_STATE: Final = 0x5805
_LIMITS: Final = 1 | 4
_ENFORCED: Final = 1 << 5
#: Bytes in which limits are told to the kernel.
BLOCK: Final = 1024

_libc = ctypes.CDLL(None, use_errno=True)


class _Quota(ctypes.Structure):
    """``struct if_dqblk``; limits in blocks of 1024 bytes, use in bytes."""

    _fields_ = (
        ("most_blocks", ctypes.c_uint64),
        ("soft_blocks", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("most_files", ctypes.c_uint64),
        ("soft_files", ctypes.c_uint64),
        ("files", ctypes.c_uint64),
        ("block_grace", ctypes.c_uint64),
        ("file_grace", ctypes.c_uint64),
        ("valid", ctypes.c_uint32),
    )


def _call(descriptor: int, command: int, project: int, argument: object) -> None:
    done = _libc.syscall(
        ctypes.c_long(_SYS_QUOTACTL_FD),
        ctypes.c_uint(descriptor),
        ctypes.c_uint(command << 8 | _PROJECT_QUOTA),
        ctypes.c_uint(project),
        argument,
    )
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def is_enforced(descriptor: int) -> bool:
    """Whether the file system of ``descriptor`` was mounted with project quota, and the kernel (Linux 5.14) can be told of it. Needs no privilege."""
    state = ctypes.create_string_buffer(b"\x01", 256)  # the version of the structure
    try:
        _call(descriptor, _GET_STATE, 0, state)
    except OSError:
        return False
    (flags,) = struct.unpack_from("=H", state.raw, 2)
    return bool(flags & _ENFORCED)


def set_limits(descriptor: int, project: int, size: int, files: int) -> None:
    """Set the most that a project may have on the file system of ``descriptor``, in bytes (rounded up) and inodes; 0 is no limit. Needs
    ``CAP_SYS_ADMIN``."""
    quota = _Quota(most_blocks=-(-size // BLOCK), most_files=files, valid=_LIMITS)
    _call(descriptor, _SET_QUOTA, project, ctypes.byref(quota))


def usage(descriptor: int, project: int) -> tuple[int, int, int, int]:
    """Bytes and inodes that a project has, and the most that it may have (0: no limit). ``ESRCH`` without quota. Needs
    ``CAP_SYS_ADMIN``."""
    quota = _Quota()
    try:
        _call(descriptor, _GET_QUOTA, project, ctypes.byref(quota))
    except FileNotFoundError:  # nobody has used it yet
        return 0, 0, 0, 0
    return quota.bytes, quota.files, quota.most_blocks * BLOCK, quota.most_files


def project_of(descriptor: int) -> int:
    """The project of what ``descriptor`` refers to; 0 is none."""
    return int(_ATTRIBUTES.unpack(_attributes(descriptor))[3])


def inherits(descriptor: int) -> bool:
    """Whether what is made in a directory gets its project."""
    return bool(_ATTRIBUTES.unpack(_attributes(descriptor))[0] & _INHERIT)


def _attributes(descriptor: int) -> bytearray:
    found = bytearray(_ATTRIBUTES.size)
    fcntl.ioctl(descriptor, _GET_ATTRIBUTES, found)
    return found


def set_project(descriptor: int, project: int) -> None:
    """Put a file or a directory into a project; what is made in the directory from now on belongs to it, too. Only its owner may, and who
    has ``CAP_FOWNER``."""
    values = list(_ATTRIBUTES.unpack(_attributes(descriptor)))
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        values[0] |= _INHERIT
    values[3] = project
    fcntl.ioctl(descriptor, _SET_ATTRIBUTES, _ATTRIBUTES.pack(*values))


def set_project_below(top: int, project: int) -> int:
    """Put all that lies below a directory into a project, and then itself, so that one who was interrupted is seen not to be; how many. Links and
    devices keep theirs: the kernel does not let them change. What vanishes meanwhile is passed over."""
    count = 0
    for descriptor in _below(top):
        try:
            set_project(descriptor, project)
            count += 1
        finally:
            os.close(descriptor)
    set_project(top, project)
    return count + 1


def _below(top: int) -> Iterator[int]:
    """Descriptors of the files and directories below ``top``; the caller closes them. Directories come before what is in them, so that what is
    made there meanwhile inherits."""
    device = os.fstat(top).st_dev
    waiting = [os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=top)]
    try:
        while waiting:
            here = waiting.pop()
            try:
                with os.scandir(here) as entries:
                    names = [entry.name for entry in entries]
                for name in names:
                    found = _opened(here, name, device)
                    if found is None:
                        continue
                    if stat.S_ISDIR(os.fstat(found).st_mode):
                        waiting.append(os.dup(found))
                    yield found
            finally:
                os.close(here)
    finally:
        for each in waiting:
            os.close(each)


def _opened(directory: int, name: str, device: int) -> int | None:
    """A descriptor of a regular file or a directory; never opens what could do something for being opened."""
    try:
        itself = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(itself)
        if found.st_dev != device or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            return None
        return os.open(f"/proc/self/fd/{itself}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(itself)

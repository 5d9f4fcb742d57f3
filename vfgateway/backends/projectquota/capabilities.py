"""ext4 spares processes that have ``CAP_SYS_RESOURCE`` every limit (``ignore_hardlimit`` in fs/quota/dquot.c), and root has it: so it is given up."""

from __future__ import annotations

import ctypes
import os
from typing import Final

_SYS_RESOURCE: Final = 24
#: Two sets of 32 bits each (capset(2)).
_VERSION_3: Final = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def obey_limits() -> None:
    """Give up the capability, for the calling thread and all that it starts from now on."""
    header, sets = _Header(_VERSION_3, 0), (_Set * 2)()
    _check(_libc.capget(ctypes.byref(header), sets))
    bit = 1 << _SYS_RESOURCE
    if not sets[0].effective & bit:
        return
    sets[0].effective &= ~bit
    sets[0].permitted &= ~bit
    sets[0].inheritable &= ~bit
    _check(_libc.capset(ctypes.byref(header), sets))


def _check(answer: int) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

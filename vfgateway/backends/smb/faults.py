"""What an SMB server answers ([MS-ERREF] section 2.3), in the family's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from vfgateway.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    GatewayError,
    InvalidPath,
    IsADirectory,
    LeavesFolder,
    Locked,
    NameTooLong,
    NoSpace,
    NotADirectory,
    NotFound,
    PathError,
    PermissionDenied,
    StorageFailure,
    VolumeUnavailable,
)

SUCCESS: Final = 0
BUFFER_OVERFLOW: Final = 0x80000005
NO_MORE_FILES: Final = 0x80000006
STOPPED_ON_SYMLINK: Final = 0x8000002D
NOT_IMPLEMENTED: Final = 0xC0000002
INVALID_PARAMETER: Final = 0xC000000D
NO_SUCH_FILE: Final = 0xC000000F
INVALID_DEVICE_REQUEST: Final = 0xC0000010
END_OF_FILE: Final = 0xC0000011
ACCESS_DENIED: Final = 0xC0000022
NAME_INVALID: Final = 0xC0000033
NAME_NOT_FOUND: Final = 0xC0000034
NAME_COLLISION: Final = 0xC0000035
PATH_INVALID: Final = 0xC0000039
PATH_NOT_FOUND: Final = 0xC000003A
PATH_SYNTAX_BAD: Final = 0xC000003B
SHARING_VIOLATION: Final = 0xC0000043
QUOTA_EXCEEDED: Final = 0xC0000044
FILE_LOCK_CONFLICT: Final = 0xC0000054
DELETE_PENDING: Final = 0xC0000056
LOGON_FAILURE: Final = 0xC000006D
DISK_FULL: Final = 0xC000007F
INSUFFICIENT_RESOURCES: Final = 0xC000009A
MEDIA_WRITE_PROTECTED: Final = 0xC00000A2
FILE_IS_A_DIRECTORY: Final = 0xC00000BA
NOT_SUPPORTED: Final = 0xC00000BB
NOT_SAME_DEVICE: Final = 0xC00000D4
NETWORK_NAME_DELETED: Final = 0xC00000C9
BAD_NETWORK_NAME: Final = 0xC00000CC
DIRECTORY_NOT_EMPTY: Final = 0xC0000101
NOT_A_DIRECTORY: Final = 0xC0000103
NAME_TOO_LONG: Final = 0xC0000106
TOO_MANY_OPENED_FILES: Final = 0xC000011F
CANNOT_DELETE: Final = 0xC0000121
USER_SESSION_DELETED: Final = 0xC0000203
INSUFF_SERVER_RESOURCES: Final = 0xC0000205
SESSION_EXPIRED: Final = 0xC000035C

#: Nothing is there, or is there any more.
MISSING: Final = frozenset({NAME_NOT_FOUND, PATH_NOT_FOUND, NO_SUCH_FILE, DELETE_PENDING})
#: Somebody has it open and shares it with nobody.
IN_USE: Final = frozenset({SHARING_VIOLATION, FILE_LOCK_CONFLICT})
#: The server can do without this.
LACKING: Final = frozenset({NOT_IMPLEMENTED, NOT_SUPPORTED, INVALID_DEVICE_REQUEST})
#: The session is over, though the connection may stand.
ENDED: Final = frozenset({NETWORK_NAME_DELETED, USER_SESSION_DELETED, SESSION_EXPIRED})

_PATH_ERRORS: Final[dict[int, type[PathError]]] = {
    **dict.fromkeys(MISSING, NotFound),
    NAME_COLLISION: AlreadyExists,
    **dict.fromkeys((NAME_INVALID, PATH_INVALID, PATH_SYNTAX_BAD), InvalidPath),
    NAME_TOO_LONG: NameTooLong,
    FILE_IS_A_DIRECTORY: IsADirectory,
    NOT_A_DIRECTORY: NotADirectory,
    DIRECTORY_NOT_EMPTY: DirectoryNotEmpty,
    STOPPED_ON_SYMLINK: LeavesFolder,
}
_WORDS: Final = {
    ACCESS_DENIED: "the storage refuses access to the account of the gateway",
    CANNOT_DELETE: "the storage has it marked as read-only",
    MEDIA_WRITE_PROTECTED: "the storage is read-only",
    END_OF_FILE: "the file became shorter while it was read",
}
_BUSY: Final = frozenset({INSUFFICIENT_RESOURCES, INSUFF_SERVER_RESOURCES, TOO_MANY_OPENED_FILES})


class Refused(Exception):
    """The server said no to a command; nothing of it was done.

    :ivar status: the NT status
    """

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"NT status {status:#010x}")

    @property
    def missing(self) -> bool:
        return self.status in MISSING


class Lost(Exception):
    """The connection ended before the answer came: what was asked for may have been done, or not. Says why, without secrets."""


class LoginRefused(Lost):
    """The server does not let this account in, as it is."""


class RefusedByStorage(PermissionDenied):
    """What the gateway would permit the storage does not."""

    refuser = "backend"


def translate(error: Refused, path: object = "") -> GatewayError:
    """The family's word for ``error``, met while working on ``path``."""
    status = error.status
    if status in _PATH_ERRORS:
        return _PATH_ERRORS[status](path)
    if status == DISK_FULL:
        return NoSpace()
    if status == QUOTA_EXCEEDED:
        return NoSpace("the storage's own quota is used up")
    if status in IN_USE:
        return Locked(path, "another user of the share")
    if status in _BUSY:
        return VolumeUnavailable("smb", "the server has too much to do")
    return StorageFailure(_WORDS.get(status, f"the storage answered with NT status {status:#010x}"))


@contextmanager
def faults(volume: str, path: object = "") -> Iterator[None]:
    """Translate what comes out of the block."""
    try:
        yield
    except Refused as error:
        raise translate(error, path) from error
    except Lost as error:
        raise VolumeUnavailable(volume, str(error)) from None

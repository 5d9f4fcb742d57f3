"""``OSError`` into the family, once. The only module of this backend that interprets ``errno``."""

from __future__ import annotations

import errno
import os
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
    NameTooLong,
    NoSpace,
    NotADirectory,
    NotFound,
    PathError,
    StorageFailure,
    Unsupported,
    UnsupportedFileType,
)

_PATH_ERRORS: Final[dict[int, type[PathError]]] = {
    errno.ENOENT: NotFound,
    errno.EEXIST: AlreadyExists,
    errno.ENOTDIR: NotADirectory,
    errno.EISDIR: IsADirectory,
    errno.ENOTEMPTY: DirectoryNotEmpty,
    errno.ELOOP: LeavesFolder,
    errno.ENAMETOOLONG: NameTooLong,
    errno.ENXIO: UnsupportedFileType,
    errno.ENODEV: UnsupportedFileType,
    errno.EILSEQ: InvalidPath,
    errno.EINVAL: InvalidPath,
}
_FULL: Final = {
    errno.ENOSPC: "no space left on the storage",
    errno.EDQUOT: "a quota of the storage itself is used up",
    errno.EFBIG: "the storage cannot hold a file that large",
}
_WORDS: Final = {
    errno.EACCES: "the storage does not give the gateway access",
    errno.EPERM: "the storage does not permit this to the gateway",
    errno.EROFS: "the storage is read-only",
    errno.EIO: "the storage reports an input or output error",
    errno.ESTALE: "the storage has lost the file (stale handle)",
    errno.EMFILE: "the gateway has too many open files",
    errno.ENFILE: "the machine has too many open files",
    errno.EMLINK: "the file has too many names",
    errno.EBUSY: "the storage says that it is in use",
    errno.ETXTBSY: "the file is being executed",
    errno.EWOULDBLOCK: "the file is held by another program",
}
#: What calls answer where the kernel or the file system lacks an operation.
MISSING: Final = frozenset(
    {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EPERM, errno.EBADF, errno.ETXTBSY}
)


def is_missing(error: OSError) -> bool:
    """Whether the error says that an operation is not to be had here, so that the next best should be tried."""
    return error.errno in MISSING


def would_block(error: OSError) -> bool:
    """Whether the error says that the answer is not at hand."""
    return error.errno in (errno.EAGAIN, errno.EWOULDBLOCK)


def not_permitted(error: OSError) -> bool:
    """Whether the error says that only a more privileged process may do this."""
    return error.errno in (errno.EPERM, errno.EACCES, errno.EINVAL)


def is_read_only(error: OSError) -> bool:
    """Whether what was to be changed is kept from all changes."""
    return error.errno == errno.EROFS


def is_link(error: OSError) -> bool:
    """Whether a link stands where none may be followed."""
    return error.errno == errno.ELOOP


def leads_out(error: OSError) -> bool:
    """Whether ``openat2`` says that a link points outside."""
    return error.errno == errno.EXDEV


def has_no_attribute(error: OSError) -> bool:
    """Whether an extended attribute is not there, or of no kind that is known here."""
    return error.errno in (errno.ENODATA, errno.EOPNOTSUPP)


def is_stale(error: OSError) -> bool:
    """Whether the server does not know any more what was opened."""
    return error.errno == errno.ESTALE


def is_in_use(error: OSError) -> bool:
    """Whether something cannot be removed since somebody still has a file of it open."""
    return error.errno in (errno.EBUSY, errno.ENOTEMPTY)


def too_many(error: OSError) -> bool:
    """Whether a directory can have no more of something."""
    return error.errno == errno.EMLINK


def is_full(error: OSError) -> bool:
    """Whether there was no room for what was to be stored: the storage is full, or a limit of its own is reached."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_limit(error: OSError) -> bool:
    """Whether a limit of the storage's own is reached, for sure."""
    return error.errno == errno.EDQUOT


def at_hole(error: OSError) -> bool:
    """Whether ``SEEK_DATA`` says that only a hole is left."""
    return error.errno == errno.ENXIO


def left_folder() -> OSError:
    """What ``openat2`` raises for a link that points outside."""
    return OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def met_link() -> OSError:
    """What ``openat2`` raises for a link where none may be, or too many of them."""
    return OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def not_a_directory() -> OSError:
    """What ``openat2`` raises for a path through a file."""
    return OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def translate(error: OSError, path: object = "", through: type[PathError] = NotADirectory) -> GatewayError:
    """The family's word for ``error``, met while working on ``path``.

    :param through: what a path through something that is not a directory means to this operation
    """
    number = error.errno or 0
    if number in _FULL:
        return NoSpace(_FULL[number])
    if number == errno.ENOTDIR:
        return through(path)
    if number == errno.EXDEV:
        return LeavesFolder(path)
    if number in _PATH_ERRORS:
        return _PATH_ERRORS[number](path)
    if number in (errno.EOPNOTSUPP, errno.ENOSYS):
        return Unsupported("this operation on this storage")
    return StorageFailure(_WORDS.get(number, f"the storage answered: {os.strerror(number)}"))


@contextmanager
def faults(path: object = "", through: type[PathError] = NotADirectory) -> Iterator[None]:
    """Translate what comes out of the block; see :func:`translate`."""
    try:
        yield
    except OSError as error:
        raise translate(error, path, through) from error


def translate_rename(error: OSError, target: object) -> GatewayError:
    """As :func:`translate`, for a rename: here ``EXDEV`` has its plain meaning."""
    if error.errno == errno.EXDEV:
        return Unsupported("moving between two file systems of one folder")
    if error.errno == errno.EINVAL:
        return InvalidPath(target, f"lies inside of what is moved: {target}")
    if error.errno == errno.EEXIST:
        return DirectoryNotEmpty(target)
    return translate(error, target)

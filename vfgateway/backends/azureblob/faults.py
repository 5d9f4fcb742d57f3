"""What the storage refuses, in the words of the gateway's family of errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vfgateway.errors import (
    InvalidPath,
    NoSpace,
    NotFound,
    PreconditionFailed,
    StorageFailure,
    VFolderNotFound,
    VolumeUnavailable,
)
from vfgateway.model import VFolderId
from vfgateway.paths import ROOT, FolderPath

#: Codes that say that a write met another one: what it expected is not so (any more).
_CONFLICTS = frozenset(
    {
        "BlobAlreadyExists",
        "ConditionNotMet",
        "TargetConditionNotMet",
        "InvalidBlockList",
        "InvalidBlobOrBlock",
        "LeaseIdMissing",
        "LeaseIdMismatchWithBlobOperation",
        "LeaseAlreadyPresent",
        "LeaseLost",
        "PendingCopyOperation",
    }
)
#: Codes that say that the container is not there.
_NO_CONTAINER = frozenset({"ContainerNotFound", "ContainerBeingDeleted"})
#: Codes that say that the name cannot be one.
_BAD_NAME = frozenset({"InvalidUri", "InvalidResourceName", "OutOfRangeInput"})
#: Codes that say that the account is full, or has come to a limit.
_FULL = frozenset({"AccountCapacityExceeded", "InsufficientStorage", "BlockCountExceedsLimit"})


class Refused(Exception):
    """The storage answered, and said no. Caught where the answer means something, translated by :func:`faults` elsewhere.

    :ivar status: of HTTP
    :ivar code: Azure's word, ``x-ms-error-code``; empty if there was none
    :ivar repeated: an earlier attempt at the same may have had its effect
    """

    def __init__(self, status: int, code: str, repeated: bool = False) -> None:
        self.status = status
        self.code = code
        self.repeated = repeated
        super().__init__(f"{status} {code}")

    @property
    def conflict(self) -> bool:
        """Whether another writer was there before."""
        return self.code in _CONFLICTS or self.status == 412

    @property
    def missing(self) -> bool:
        """Whether the blob is not there (the container is)."""
        return self.status == 404 and self.code not in _NO_CONTAINER

    @property
    def missing_container(self) -> bool:
        """Whether the container is not there."""
        return self.code in _NO_CONTAINER

    @property
    def login(self) -> bool:
        """Whether it is about our credentials."""
        return self.status in (401, 403)


@contextmanager
def faults(volume: str, vfid: VFolderId, path: FolderPath = ROOT) -> Iterator[None]:
    """Translate what the storage refuses about ``path`` and nobody knew better about."""
    try:
        yield
    except Refused as refused:
        raise translated(refused, volume, vfid, path) from None


def translated(refused: Refused, volume: str, vfid: VFolderId, path: FolderPath) -> Exception:
    """The error of the family for ``refused``."""
    if refused.missing_container:
        return VFolderNotFound(vfid)
    if refused.missing:
        return NotFound(path)
    if refused.conflict:
        return PreconditionFailed(path)
    if refused.login:
        return VolumeUnavailable(volume, f"the storage account refuses our credentials ({refused.code})")
    if refused.code in _BAD_NAME:
        return InvalidPath(path)
    if refused.status == 507 or refused.code in _FULL:
        return NoSpace()
    return StorageFailure(f"the storage answered {refused.status} {refused.code}".rstrip())

"""The one family of errors that volumes, services and front ends exchange.

An error carries facts (which path, which limit, what was wanted), never a status code: each protocol
translates the family once, in its own ``faults.py``. Whatever is raised outside this family is a bug.
"""

from __future__ import annotations

import math
from typing import ClassVar
from uuid import UUID

from vfgateway.plaintext import shown


class GatewayError(Exception):
    """The root of the family.

    ``str(error)`` is one plain sentence that may be shown to the person who asked; it never holds a secret
    or a path of the host.

    :cvar refuser: who says no: ``grant``, ``limit``, ``lock``, ``backend``, ``login`` or ``path``; empty for what is no refusal, but the plain
        state of things. Refusals are recorded
    :ivar decision: the identifier under which the refusal was recorded (``vfgateway explain ID``), if it was
    :ivar vfolder_key: the number of the vfolder that it is about, where that is known
    """

    refuser: ClassVar[str] = ""
    decision: str | None = None
    vfolder_key: int | None = None

    @property
    def sentence_with_decision(self) -> str:
        """``str(error)``, and the identifier behind it."""
        return f"{self} [{self.decision}]" if self.decision else str(self)


# --- names and files -------------------------------------------------------------------------------


class PathError(GatewayError):
    """An error about one path inside a vfolder (``path`` is relative to the vfolder's root)."""

    sentence = "cannot use {path}"

    def __init__(self, path: object = "", message: str | None = None) -> None:
        self.path = str(path)
        path_shown = shown(self.path)
        super().__init__(message or self.sentence.format(path=path_shown or "the top of the folder"))


class InvalidPath(PathError):
    """The text can never name a file here: ``..``, NUL, an absolute path, an encoded slash, a reserved name."""

    sentence = "not a usable path: {path}"


class NameTooLong(InvalidPath):
    """A name over 255 bytes (or the volume's own limit), or a path over 4096."""

    sentence = "name too long: {path}"


class NotFound(PathError):
    """Nothing there, or nothing that this principal may know of."""

    sentence = "no such file or directory: {path}"


class AlreadyExists(PathError):
    """Something is there and must not be replaced."""

    sentence = "already exists: {path}"


class NotADirectory(PathError):
    """A directory was needed; something else is there."""

    sentence = "not a directory: {path}"


class IsADirectory(PathError):
    """A file was needed; a directory is there."""

    sentence = "is a directory: {path}"


class DirectoryNotEmpty(PathError):
    """A directory can be removed or replaced only when empty."""

    sentence = "directory not empty: {path}"


class LeavesFolder(InvalidPath):
    """Resolution met a link that points out of the vfolder, or a link where none may be traversed."""

    refuser = "path"

    sentence = "leads out of the folder: {path}"


class UnsupportedFileType(PathError):
    """Neither a regular file nor a directory: FIFO, socket, device."""

    sentence = "not a regular file: {path}"


class PreconditionFailed(PathError):
    """The file is not in the state that the caller expected (``Expect``, ``If-Match``)."""

    sentence = "changed in the meantime: {path}"


class Locked(PathError):
    """Somebody holds a lock. ``owner`` is a name fit to show, ``until`` epoch seconds (``None``: unlimited)."""

    refuser = "lock"

    def __init__(self, path: object, owner: str = "", until: float | None = None) -> None:
        self.owner = owner
        self.until = until
        super().__init__(path, f"locked by {owner or 'another client'}: {path}")


class LockLost(PathError):
    """The lock under which a writer began was broken or expired before it could publish (fencing)."""

    refuser = "lock"

    sentence = "the lock was lost before the change was published: {path}"


# --- rights ----------------------------------------------------------------------------------------


class PermissionDenied(PathError):
    """The principal may see the thing but not do this. ``action``, ``needed`` and ``had`` are words for the user."""

    refuser = "grant"

    def __init__(self, path: object = "", action: str = "do this", needed: str = "", had: str = "") -> None:
        self.action = action
        self.needed = needed
        self.had = had
        hint = f" (needs {needed})" if needed else ""
        super().__init__(
            path, f"not permitted to {action}{hint}: {path}" if str(path) else f"not permitted to {action}{hint}"
        )


class ReadOnlyPath(PermissionDenied):
    """What is shown there can be read, but never changed by anybody: a snapshot."""

    refuser = ""

    def __init__(self, path: object = "") -> None:
        super().__init__(path, "change a snapshot")


class AuthenticationFailed(GatewayError):
    """Wrong name or wrong credential; which of the two is never told."""

    refuser = "login"

    def __init__(self, message: str = "login failed") -> None:
        super().__init__(message)


class LoginRequired(AuthenticationFailed):
    """Nobody has tried to log in: the first request of many clients, to learn how."""

    refuser = ""

    def __init__(self) -> None:
        super().__init__("login required")


class NotMine(AuthenticationFailed):
    """What was shown means nothing to this authenticator: another one may know better."""


class SecondFactorRequired(AuthenticationFailed):
    """The password is right, and is not enough."""

    def __init__(self) -> None:
        super().__init__("this account has a second factor: use an app password, or a client that asks for the code")


class TooManyAttempts(AuthenticationFailed):
    """There were too many wrong logins under this name or from this address; what was shown has not been looked at.

    :ivar wait: seconds after which the next one is judged
    """

    def __init__(self, wait: float) -> None:
        self.wait = max(1, math.ceil(wait))
        super().__init__(f"too many wrong logins: try again in {self.wait} seconds")


class IdentityRefused(AuthenticationFailed):
    """Somebody has proved to be known elsewhere, but cannot have an account here; the sentence says why."""


class AccountWithdrawn(AuthenticationFailed):
    """The account came from outside, and is not vouched for there any more. ``user_id`` is whose."""

    def __init__(self, user_id: UUID) -> None:
        self.user_id = user_id
        super().__init__()


class AuthenticatorUnavailable(GatewayError):
    """Whoever would have to be asked about this login does not answer; trying later may help.

    :ivar authenticator: its name in the configuration
    :ivar reason: what is wrong, for the log and the administrator; not told to whoever tries to log in
    """

    refuser = "login"

    def __init__(self, authenticator: str, reason: str = "") -> None:
        self.authenticator = authenticator
        self.reason = reason
        super().__init__(f"logins by {authenticator} cannot be judged now; try again later")


class InvalidToken(AuthenticationFailed):
    """A token that cannot be decoded, is forged, revoked, or is for another operation."""


class InvalidClaims(InvalidToken):
    """A token that we signed, but that is not one for this: another operation, or a claim that cannot be used."""


class TokenExpired(InvalidToken):
    """A token whose time has passed."""


# --- limits ----------------------------------------------------------------------------------------


class QuotaExceeded(GatewayError):
    """A configured limit forbids it.

    :ivar subject: what carries the limit, in words (``vfolder data``, ``user alice``)
    :ivar resource: ``bytes`` or ``files``
    :ivar limit: the limit
    :ivar used: used and reserved together
    :ivar wanted: how much more was asked for
    """

    refuser = "limit"

    def __init__(self, subject: str, resource: str, limit: int, used: int, wanted: int) -> None:
        self.subject = subject
        self.resource = resource
        self.limit = limit
        self.used = used
        self.wanted = wanted
        super().__init__(f"quota of {subject} exceeded: {used} of {limit} {resource} used, {wanted} more wanted")


class NoSpace(GatewayError):
    """The storage itself is full (``ENOSPC``, or ``EDQUOT`` of a limit that is not ours)."""

    refuser = "backend"

    def __init__(self, message: str = "no space left on the storage") -> None:
        super().__init__(message)


class TooLarge(GatewayError):
    """More bytes than were declared or than are allowed: ``limit`` and ``wanted`` in bytes."""

    refuser = "limit"

    def __init__(self, limit: int, wanted: int) -> None:
        self.limit = limit
        self.wanted = wanted
        super().__init__(f"too large: at most {limit} bytes, got {wanted}")


# --- uploads ---------------------------------------------------------------------------------------


class UploadNotFound(GatewayError):
    """No such upload: never begun, expired, cancelled, or published long ago."""

    def __init__(self, upload_id: str) -> None:
        self.upload_id = upload_id
        super().__init__(f"no such upload: {upload_id}")


class UploadBusy(GatewayError):
    """Another request is writing to this upload and did not let go in time; try again."""

    def __init__(self, upload_id: str) -> None:
        self.upload_id = upload_id
        super().__init__(f"another request is writing to upload {upload_id}")


class UploadLost(GatewayError):
    """This request's hold on the upload was handed to a newer one; what it wrote before counts."""

    def __init__(self, upload_id: str) -> None:
        self.upload_id = upload_id
        super().__init__(f"upload {upload_id} was taken over by a newer request")


class OffsetMismatch(GatewayError):
    """The client wants to write at another offset than the upload has reached."""

    def __init__(self, expected: int, got: int) -> None:
        self.expected = expected
        self.got = got
        super().__init__(f"expected offset {expected}, got {got}")


class ChecksumMismatch(GatewayError):
    """The bytes do not have the digest that the client declared."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        super().__init__(f"the {algorithm} checksum does not match")


class IncompleteBody(GatewayError):
    """The client's body ended before its declared length (bytes)."""

    def __init__(self, expected: int | None, received: int) -> None:
        self.expected = expected
        self.received = received
        super().__init__(f"the body ended after {received} bytes" + (f" of {expected}" if expected is not None else ""))


# --- vfolders, scopes, volumes, tasks -------------------------------------------------------------------


class VFolderNotFound(NotFound):
    """No such vfolder, or none that this principal may know of."""

    refuser = "grant"

    sentence = "no such vfolder: {path}"


class VFolderExists(AlreadyExists):
    """A vfolder with this identifier or this name is already there."""

    sentence = "vfolder already exists: {path}"


class QuotaScopeNotFound(GatewayError):
    """No such quota scope on this volume."""

    def __init__(self, scope: object) -> None:
        super().__init__(f"no such quota scope: {scope}")


class QuotaScopeExists(GatewayError):
    """The quota scope is already there."""

    def __init__(self, scope: object) -> None:
        super().__init__(f"quota scope already exists: {scope}")


class UnknownVolume(GatewayError):
    """No volume of this name is configured."""

    def __init__(self, name: str) -> None:
        self.volume = name
        super().__init__(f"no such volume: {name}")


class VolumeUnavailable(GatewayError):
    """The storage does not answer, or has not started yet; trying later may help."""

    refuser = "backend"

    def __init__(self, name: str, reason: str = "") -> None:
        self.volume = name
        self.reason = reason
        super().__init__(f"volume {name} is not available" + (f": {reason}" if reason else ""))


class VFolderMoved(VolumeUnavailable):
    """The vfolder has gone to other storage since this was begun there. Nothing has happened; whoever begins again finds it."""

    def __init__(self, volume: str) -> None:
        super().__init__(volume, "the vfolder has just been moved to other storage; try again")


class DatabaseUnavailable(GatewayError):
    """The gateway's own database does not answer in time, or takes no changes; trying later may help."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason  # for the log; not told to whoever asked
        super().__init__("the gateway's database is not available; try again later")


class StorageFailure(GatewayError):
    """The storage answered with an error that has no better word here (``EIO``, a vendor's fault)."""

    refuser = "backend"


class Unsupported(GatewayError):
    """The storage or the gateway lacks this ability."""

    def __init__(self, operation: str) -> None:
        self.operation = operation
        super().__init__(f"not supported here: {operation}")


class TaskNotFound(GatewayError):
    """No such background task."""

    def __init__(self, task_id: object) -> None:
        super().__init__(f"no such task: {task_id}")


class UnknownAccount(GatewayError):
    """No such user, group, key or grant: ``kind`` and ``name`` say which."""

    def __init__(self, kind: str, name: object) -> None:
        self.kind = kind
        self.name = str(name)
        super().__init__(f"no such {kind}: {name}")


class AccountExists(GatewayError):
    """A user, group or key of that name is already there."""

    def __init__(self, kind: str, name: object) -> None:
        self.kind = kind
        self.name = str(name)
        super().__init__(f"{kind} already exists: {name}")


class InvalidArgument(GatewayError):
    """A parameter that no retry can make right: ``field`` names it."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(f"{field}: {message}")


class Conflict(GatewayError):
    """The thing is in a state that does not allow it now (a vfolder being deleted, say)."""


class ConfigurationError(GatewayError):
    """The configuration cannot be used: ``key`` is the dotted key, ``str()`` says what was meant.

    :ivar place: ``FILE:LINE`` where it is written, as far as that is known; told first
    """

    def __init__(self, key: str, message: str, place: str = "") -> None:
        self.key = key
        self.message = message
        self.place = place
        super().__init__(": ".join(part for part in (place, key, message) if part))

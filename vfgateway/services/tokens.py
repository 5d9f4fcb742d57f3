"""The bearer tokens of the client front end: JSON web tokens with the claims of the reference (its section 1.2).

A token permits one operation in one vfolder until it expires; nothing about it is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import attrs
import jwt
from jwt.types import Options
from twisted.internet.interfaces import IReactorTime

from vfgateway.errors import InvalidArgument, InvalidClaims, InvalidToken, TokenExpired
from vfgateway.model import VFolderId
from vfgateway.principals import Principal, PrincipalKind, TokenScope

#: Longest file name of an archive, in characters.
LONGEST_FILENAME = 255

_OPTIONS: Options = {
    "require": ["exp"],
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
_SESSION = re.compile(r"[0-9a-f]{32}")
_NOT_IN_FILENAME = re.compile(r"[\x00-\x1f\x7f/\\]")


@attrs.frozen
class TokenClaims:
    """What every token says; ``expires`` in epoch seconds."""

    operation: ClassVar[str]

    volume: str
    vfid: VFolderId
    expires: int

    @property
    def principal(self) -> Principal:
        """Who comes with this token."""
        scope = TokenScope(self.operation, self.volume, self.vfid)
        return Principal(PrincipalKind.TOKEN, f"{self.operation} token", token=scope)


@attrs.frozen
class DownloadClaims(TokenClaims):
    """One file, or a directory as an archive. ``relpath`` is as the orchestrator gave it: parse it before use."""

    operation = "download"

    relpath: str


@attrs.frozen
class UploadClaims(TokenClaims):
    """One upload of ``size`` bytes to ``relpath``, kept under ``session`` (32 hexadecimal digits)."""

    operation = "upload"

    relpath: str
    size: int
    session: str


@attrs.frozen
class ArchiveClaims(TokenClaims):
    """Files and directories as one archive, called ``filename`` if that is given."""

    operation = "archive"

    files: tuple[str, ...]
    filename: str | None


T = TypeVar("T")


class Tokens:
    """Mints and verifies.

    :param secrets: the first signs; all are believed, so that one can be rotated out
    :param clock: tells the time in epoch seconds
    :param lifetime: seconds for which a token is good
    """

    def __init__(self, secrets: Sequence[bytes], clock: IReactorTime, lifetime: float) -> None:
        if not secrets or not all(secrets):
            raise ValueError("at least one secret, none of them empty")
        self._secrets = tuple(secrets)
        self._clock = clock
        self._lifetime = lifetime

    # --- minting ---

    def mint_download(self, volume: str, vfid: VFolderId, relpath: str) -> str:
        """A token to read ``relpath``."""
        return self._mint({"op": "download", "volume": volume, "vfid": str(vfid), "relpath": relpath})

    def mint_upload(self, volume: str, vfid: VFolderId, relpath: str, size: int, session: str) -> str:
        """A token to send ``size`` bytes for ``relpath`` to the upload ``session``."""
        claims = {"op": "upload", "volume": volume, "vfid": str(vfid), "relpath": relpath}
        return self._mint({**claims, "size": size, "session": session})

    def mint_archive(self, volume: str, vfid: VFolderId, files: Sequence[str], filename: str | None = None) -> str:
        """A token to read ``files`` as one archive. Raises :class:`InvalidArgument` for no files or an unusable ``filename``."""
        if not files:
            raise InvalidArgument("files", "expected at least one path")
        if reason := _bad_filename(filename):
            raise InvalidArgument("filename", reason)
        claims = {"operation": "download", "volume": volume, "virtual_folder_id": str(vfid)}
        return self._mint({**claims, "files": list(files), "filename": filename})

    def _mint(self, claims: dict[str, Any]) -> str:
        claims["exp"] = int(self._clock.seconds() + self._lifetime)
        return jwt.encode(claims, self._secrets[0], algorithm="HS256")

    # --- verifying ---

    def verify_download(self, token: str) -> DownloadClaims:
        """The claims of a download token. Raises ``TokenExpired``, ``InvalidClaims`` or ``InvalidToken`` with the reason."""
        claims = self._verify(token)
        claims.expect("op", "download")
        claims.optional("archive", bool)
        if claims.optional("unmanaged_path", str) is not None:
            # It would name a place on the host, outside any vfolder.
            raise InvalidClaims("unmanaged_path is not served here")
        return DownloadClaims(
            claims.text("volume"), claims.vfid("vfid"), claims.number("exp"), claims.text("relpath", empty=True)
        )

    def verify_upload(self, token: str) -> UploadClaims:
        """The claims of an upload token. Raises as :meth:`verify_download`."""
        claims = self._verify(token)
        claims.expect("op", "upload")
        session = claims.text("session")
        if not _SESSION.fullmatch(session):
            raise InvalidClaims("session must be 32 hexadecimal digits")
        return UploadClaims(
            claims.text("volume"),
            claims.vfid("vfid"),
            claims.number("exp"),
            claims.text("relpath", empty=True),
            claims.number("size"),
            session,
        )

    def verify_archive(self, token: str) -> ArchiveClaims:
        """The claims of an archive token. Raises as :meth:`verify_download`."""
        claims = self._verify(token)
        claims.expect("operation", "download")
        filename = claims.optional("filename", str)
        if reason := _bad_filename(filename):
            raise InvalidClaims(f"filename: {reason}")
        return ArchiveClaims(
            claims.text("volume"),
            claims.vfid("virtual_folder_id"),
            claims.number("exp"),
            claims.texts("files"),
            filename,
        )

    def _verify(self, token: str) -> _Claims:
        """Check signature and expiry; the payload is then ours, or the orchestrator's that shares the secret."""
        reason = ""
        for secret in self._secrets:
            try:
                claims = _Claims(_decode(token, secret))
                break
            except (jwt.PyJWTError, UnicodeError, RecursionError) as error:
                reason = str(error) if isinstance(error, jwt.PyJWTError) else "not a token"
        else:
            raise InvalidToken(reason)
        if self._clock.seconds() >= claims.number("exp"):
            raise TokenExpired("Signature has expired")
        return claims


def _decode(token: str, secret: bytes) -> dict[str, Any]:
    """The payload, its signature verified. Times are ours to check, against our own clock."""
    payload: dict[str, Any] = jwt.decode(token, secret, algorithms=["HS256"], options=_OPTIONS)
    return payload


class _Claims:
    """Reads the payload of a verified token, type by type."""

    def __init__(self, payload: dict[str, Any]) -> None:
        self._payload = payload

    def expect(self, name: str, value: str) -> None:
        """The operation must be the one that is asked for."""
        if self._payload.get(name) != value:
            raise InvalidClaims(f"{name} must be {value!r}")

    def text(self, name: str, empty: bool = False) -> str:
        value = self._payload.get(name)
        if not isinstance(value, str) or not (value or empty):
            raise InvalidClaims(f"{name} must be a text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._payload.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise InvalidClaims(f"{name} must be a list of at least one text")
        return tuple(value)

    def number(self, name: str) -> int:
        value = self._payload.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise InvalidClaims(f"{name} must be an integer, not negative")
        return value

    def optional(self, name: str, kind: type[T]) -> T | None:
        value = self._payload.get(name)
        if value is not None and not isinstance(value, kind):
            raise InvalidClaims(f"{name} must be a {kind.__name__}")
        return value

    def vfid(self, name: str) -> VFolderId:
        try:
            return VFolderId.parse(self.text(name))
        except InvalidArgument:
            raise InvalidClaims(f"{name} must be <scope>/<uuid>") from None


def _bad_filename(filename: str | None) -> str | None:
    """Why an archive cannot be called so, or ``None``."""
    if filename is None:
        return None
    if not filename.strip() or filename in (".", ".."):
        return "must be a name"
    if len(filename) > LONGEST_FILENAME:
        return f"longer than {LONGEST_FILENAME} characters"
    if _NOT_IN_FILENAME.search(filename):
        return "must not hold control characters, '/' or a backslash"
    return None

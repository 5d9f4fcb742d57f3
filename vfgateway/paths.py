"""Paths inside a vfolder: the one place where text or bytes from a client become names.

A :class:`FolderPath` is a tuple of names below a vfolder's root; the root is the empty tuple. Names are bytes on
disk and ``str`` with surrogate escapes (PEP 383) inside the gateway, so that any name a job on the cluster wrote can
be read back. A parsed path never holds ``.``, ``..``, an empty name, NUL or a slash within a name.
"""

from __future__ import annotations

import base64
import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

import attrs

from vfgateway.errors import InvalidPath, NameTooLong

#: Longest name in bytes (``NAME_MAX`` of every file system we serve).
LONGEST_NAME = 255
#: Longest path in bytes, separators included (``PATH_MAX``).
LONGEST_PATH = 4096
#: Where deleted files of a vfolder lie.
TRASH_NAME = ".trash"
#: Where the snapshots of a vfolder are shown.
SNAPSHOTS_NAME = ".snapshots"
#: Names at the top of a vfolder that belong to the gateway: staged uploads, their view for people, snapshots, deleted files.
RESERVED_NAMES = frozenset({".upload", ".uploads", SNAPSHOTS_NAME, TRASH_NAME})
_NAME = f"(?!\\.{{1,2}}(?:/|$))[!-$&-.0-~]{{1,{LONGEST_NAME}}}"
#: Names that mean the same in a URL as in text: ASCII without blanks and escapes.
_PLAIN = re.compile(f"{_NAME}(?:/{_NAME})*")
_LABEL = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@attrs.frozen(order=True)
class FolderPath:
    """A path below a vfolder's root, already checked. Make one with the ``parse_*`` functions or :meth:`child`."""

    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join(self.parts)

    def __bytes__(self) -> bytes:
        """The path as the disk has it."""
        return str(self).encode("utf-8", "surrogateescape")

    @property
    def is_root(self) -> bool:
        return not self.parts

    @property
    def name(self) -> str:
        """The last name; ``""`` for the root."""
        return self.parts[-1] if self.parts else ""

    @property
    def parent(self) -> FolderPath:
        """The containing directory; the root is its own parent."""
        return FolderPath(self.parts[:-1])

    @property
    def reserved(self) -> bool:
        """Whether the path lies in a part of the vfolder that belongs to the gateway."""
        return bool(self.parts) and self.parts[0] in RESERVED_NAMES

    def child(self, name: str) -> FolderPath:
        """The path of an entry called ``name``. Raises :class:`InvalidPath` for a name that cannot be one."""
        path = FolderPath((*self.parts, checked_name(name)))
        if len(bytes(path)) > LONGEST_PATH:
            raise NameTooLong(path)
        return path

    def join(self, other: FolderPath) -> FolderPath:
        """``other`` taken from here."""
        path = FolderPath(self.parts + other.parts)
        if len(bytes(path)) > LONGEST_PATH:
            raise NameTooLong(path)
        return path

    def within(self, other: FolderPath) -> bool:
        """Whether this is ``other`` or lies below it."""
        return self.parts[: len(other.parts)] == other.parts

    def relative_to(self, other: FolderPath) -> FolderPath:
        """The rest of the path below ``other``; ``ValueError`` if it does not lie there."""
        if not self.within(other):
            raise ValueError(f"{self} does not lie below {other}")
        return FolderPath(self.parts[len(other.parts) :])


ROOT = FolderPath()


def checked_name(name: str) -> str:
    """``name`` itself if it can be one entry of a directory. Raises :class:`InvalidPath` or :class:`NameTooLong`."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InvalidPath(name.replace("\0", "\\0"))
    try:
        raw = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidPath(ascii(name)) from None
    if len(raw) > LONGEST_NAME:
        raise NameTooLong(name)
    return name


def checked_label(label: str) -> str:
    """``label`` itself if a snapshot can be called so, on every storage and in every client: up to 100 letters, digits, ``.``, ``_`` and ``-``,
    the first a letter or a digit. Raises :class:`InvalidPath`."""
    if not _LABEL.fullmatch(label):
        raise InvalidPath(
            label, "a snapshot is called by up to 100 letters, digits, '.', '_' and '-', a letter or digit first"
        )
    return label


def _parse_plain(text: str) -> FolderPath | None:
    """The path where every name is one as it stands, as nearly all are; ``None`` where one has to look."""
    return FolderPath(tuple(text.split("/"))) if len(text) <= LONGEST_PATH and _PLAIN.fullmatch(text) else None


def parse_text(text: str) -> FolderPath:
    """A relative path from JSON, a token or a command line.

    Empty names and ``.`` are dropped (``./a//b/`` is ``a/b``); ``""`` and ``.`` are the root. Raises :class:`InvalidPath` for an
    absolute path, ``..`` or NUL, :class:`NameTooLong` for names over 255 bytes.
    """
    plain = _parse_plain(text)
    if plain is not None:
        return plain
    if text.startswith("/"):
        raise InvalidPath(text, f"must be relative: {text}")
    parts = tuple(checked_name(part) for part in text.split("/") if part not in ("", "."))
    path = FolderPath(parts)
    if len(bytes(path)) > LONGEST_PATH:
        raise NameTooLong(path)
    return path


def parse_bytes(raw: bytes) -> FolderPath:
    """A path from a protocol that carries bytes and counts from its own root (SFTP): leading slashes are dropped."""
    return parse_text(raw.lstrip(b"/").decode("utf-8", "surrogateescape"))


def parse_url(raw: bytes) -> FolderPath:
    """The path part of a URL, still percent-encoded (RFC 3986 section 3.3), leading slashes dropped.

    Each segment is decoded by itself, so ``%2F`` never becomes a separator: it is refused, like ``%2e%2e`` and ``%00``.
    """
    raw = raw.lstrip(b"/")
    if raw.isascii():
        plain = _parse_plain(raw.decode("ascii"))
        if plain is not None:
            return plain
    parts = [unquote_to_bytes(part).decode("utf-8", "surrogateescape") for part in raw.split(b"/")]
    for part in parts:
        if "/" in part:
            raise InvalidPath(part)
    return parse_text("/".join(parts))


def url_of(path: FolderPath) -> str:
    """``path`` percent-encoded for a URL, without a leading slash; any byte survives the trip."""
    return quote_from_bytes(bytes(path), safe="/~!$&'()*+,;=:@")


def json_name(name: str) -> dict[str, str]:
    """A name for JSON: ``{"name": …}``, and ``name_b64`` beside it when its bytes are not UTF-8.

    Undecodable bytes are shown percent-escaped; ``name_b64`` holds the exact bytes in Base64.
    """
    raw = name.encode("utf-8", "surrogateescape")
    try:
        return {"name": raw.decode("utf-8")}
    except UnicodeDecodeError:
        shown = "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in name)
        return {"name": shown, "name_b64": base64.b64encode(raw).decode("ascii")}

"""Names of files as names of blobs, and vfolders as names of containers.

Ordinary names are the same on both sides, so that other tools for Azure see what people see. What Azure cannot keep (bytes that are not
UTF-8, control characters, backslashes, which it takes for slashes, dots at the end, which it cuts off, and the characters that XML
cannot carry) is moved byte by byte into the private characters U+F001 to U+F0FF, as CIFS clients do with what Windows forbids.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import UUID

from vfgateway.errors import InvalidPath, NameTooLong
from vfgateway.paths import LONGEST_NAME, FolderPath

#: Where stages and what is known of moves under way lie; hidden.
STAGING = ".upload"
#: Characters of the longest name of a blob.
LONGEST_BLOB_NAME = 1024
_BASE = 0xF000
_PRIVATE = re.compile("[\uf001-\uf0ff]+")
_UNUSABLE = re.compile("[\x00-\x1f\x7f-\x9f\\\\\udc80-\udcff\uf001-\uf0ff\ufffe\uffff]|\\.$")
_DIGITS = re.compile("[0-9a-f]{32}")
#: "Naming and Referencing Containers, Blobs, and Metadata" of the service's reference; two of Azure's own begin with a dollar sign.
_CONTAINER = re.compile(r"(?=.{3,63}\Z)(?:[a-z0-9](?:-?[a-z0-9])*|\$root|\$web)")


def _escape(found: re.Match[str]) -> str:
    return "".join(chr(_BASE + byte) for byte in found[0].encode("utf-8", "surrogateescape"))


def _unescape(found: re.Match[str]) -> str:
    return bytes(ord(each) - _BASE for each in found[0]).decode("utf-8", "surrogateescape")


def blob_name(path: FolderPath) -> str:
    """The blob that keeps ``path``; ``""`` for the root. ``NameTooLong``, ``InvalidPath``."""
    name = "/".join(_UNUSABLE.sub(_escape, part) for part in path.parts)
    if len(name) > LONGEST_BLOB_NAME:
        raise NameTooLong(path)
    return name


def check_names(path: FolderPath) -> None:
    """Refuse what is kept for ourselves, and names that no volume takes."""
    if hidden(path):
        raise InvalidPath(path, f"a reserved name: {path}")
    if any(len(part.encode("utf-8", "surrogateescape")) > LONGEST_NAME for part in path.parts):
        raise NameTooLong(path)


def file_name(stored: str) -> str | None:
    """The name behind one segment of a blob's name; ``None`` for one that nobody could ask for again."""
    name = _PRIVATE.sub(_unescape, stored)
    if not name or name in (".", "..") or "/" in name or _UNUSABLE.sub(_escape, name) != stored:
        return None
    return name


def hidden(path: FolderPath) -> bool:
    """Whether ``path`` lies where stages are kept."""
    return bool(path.parts) and path.parts[0] == STAGING


def stage_name(token: str) -> str:
    """The blob of a stage."""
    return f"{STAGING}/{token}"


def is_token(text: str) -> bool:
    """Whether ``text`` can be the name of a stage."""
    return _DIGITS.fullmatch(text) is not None


def container_name(prefix: str, folder: UUID) -> str:
    """The container of a vfolder."""
    return f"{prefix}{folder.hex}"


def foreign_container(prefix: str, allowed: Sequence[str], place: str) -> str:
    """The container at ``place``, if that may be adopted: none of ours. ``InvalidPath``."""
    if not _CONTAINER.fullmatch(place):
        raise InvalidPath(place, f"must be the name of a container: {place!r}")
    if place.startswith(prefix):
        raise InvalidPath(place, f"is called like one of the gateway's own containers: {place}")
    if not any(place.startswith(each[:-1]) if each.endswith("*") else place == each for each in allowed):
        raise InvalidPath(place, f"is none of those that `adoptable` names: {place}")
    return place


def folder_of(prefix: str, container: str) -> UUID | None:
    """The vfolder of a container, if it is one of ours."""
    digits = container.removeprefix(prefix)
    if not container.startswith(prefix) or not is_token(digits):
        return None
    return UUID(digits)

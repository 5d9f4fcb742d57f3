# mypy: disallow-untyped-calls=False
"""The header fields of tus 1.0: read strictly, written as clients expect them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from urllib.parse import unquote, urlsplit

from vfgateway.errors import InvalidArgument
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.services.checksums import ALGORITHMS, Checksum

VERSION = "1.0.0"
#: The media type of bytes for an upload.
CHUNK_TYPE = "application/offset+octet-stream"
#: Digits of the largest number that is read.
LONGEST_NUMBER = 18
#: Bytes of a raw digest, by algorithm.
DIGEST_SIZES = {"sha1": 20, "sha256": 32, "sha512": 64, "md5": 16, "crc32": 4}


def field(request: StreamingRequest, name: str) -> str | None:
    """A header as text; ``None`` if it is missing."""
    value = request.getHeader(name.encode("ascii"))
    return None if value is None else value.decode("latin-1").strip()


def number(request: StreamingRequest, name: str, required: bool = False) -> int | None:
    """A whole number that is not negative. ``InvalidArgument`` for anything else, and for a missing one that is required."""
    text = field(request, name)
    if text is None:
        if required:
            raise InvalidArgument(name, "is required")
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER):
        raise InvalidArgument(name, f"expected a number that is not negative, got {text[:40]!r}")
    return int(text)


def required_number(request: StreamingRequest, name: str) -> int:
    """As :func:`number`, for one that has to be there."""
    value = number(request, name, required=True)
    assert value is not None
    return value


def media_type(request: StreamingRequest) -> str:
    """``Content-Type`` without parameters, in lower case; ``""`` if it is missing."""
    return (field(request, "Content-Type") or "").partition(";")[0].strip().lower()


def method(request: StreamingRequest) -> str:
    """The request's method, or the one that a client behind a narrow proxy means (``X-HTTP-Method-Override``)."""
    written = request.method.decode("ascii", "replace")
    override = field(request, "X-HTTP-Method-Override")
    return override.upper() if override and written == "POST" else written


def metadata(text: str | None) -> dict[str, str]:
    """``Upload-Metadata``: comma-separated pairs of a key and a Base64 value, which may be missing. Bytes that are not UTF-8 survive as
    surrogate escapes. ``InvalidArgument``."""
    found: dict[str, str] = {}
    for pair in (text or "").split(","):
        key, _, value = pair.strip().partition(" ")
        if not key and not value:
            continue
        if not key or not key.isascii() or key in found:
            raise InvalidArgument("Upload-Metadata", "expected pairs of a unique key and a Base64 value")
        try:
            raw = base64.b64decode(value.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidArgument("Upload-Metadata", f"the value of {key!r} is not Base64") from None
        found[key] = raw.decode("utf-8", "surrogateescape")
    return found


def checksum(text: str | None) -> Checksum | None:
    """``Upload-Checksum``: an algorithm and the Base64 digest of this request's body. ``InvalidArgument``."""
    if text is None:
        return None
    algorithm, _, encoded = text.partition(" ")
    algorithm = algorithm.strip().lower()
    if algorithm not in ALGORITHMS:
        raise InvalidArgument("Upload-Checksum", f"expected one of {', '.join(ALGORITHMS)}, got {algorithm[:40]!r}")
    try:
        expected = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        expected = b""
    if len(expected) != DIGEST_SIZES[algorithm]:
        raise InvalidArgument("Upload-Checksum", f"not a Base64 {algorithm} digest")
    return Checksum(algorithm, expected)


def parts_of(concat: str) -> Sequence[str]:
    """The uploads that ``final;URL URL…`` names, by the last segment of each URL."""
    return [unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2] for url in concat.partition(";")[2].split()]


def http_date(seconds: float) -> str:
    """``Upload-Expires``."""
    return formatdate(seconds, usegmt=True)


def set_fields(request: StreamingRequest, values: Mapping[str, object]) -> None:
    """Set headers of the answer, but for those without a value."""
    for name, value in values.items():
        if value is not None:
            request.setHeader(name.encode("ascii"), str(value).encode("latin-1", "replace"))

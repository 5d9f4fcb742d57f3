"""Digests of whole files: those that come with a PUT are checked, and one is told to whoever asks (RFC 9530, and the older ``Digest``,
``Content-MD5`` and ``OC-Checksum``)."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from typing import Final

from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.webdav.exchange import Exchange
from vfgateway.protocols.webdav.faults import Refused, answer_empty
from vfgateway.services.checksums import Checksum
from vfgateway.services.reading import Download

#: By the names of HTTP: those of ``hashlib``, and the bytes of a digest. Others are left alone, as clients send several kinds.
_KINDS: Final = {"sha-512": ("sha512", 64), "sha-256": ("sha256", 32), "sha": ("sha1", 20), "md5": ("md5", 16)}
#: By the names of ownCloud.
_OC_KINDS: Final = {"sha256": ("sha256", 32), "sha1": ("sha1", 20), "md5": ("md5", 16)}
_MEMBER: Final = re.compile(r"\s*([A-Za-z0-9-]+)\s*=\s*:?([A-Za-z0-9+/=]*):?\s*(?:;[^,]*)?")
_WANTED: Final = re.compile(r"\s*([A-Za-z0-9-]+)\s*(?:;\s*q\s*=\s*([0-9.]+)|=\s*([0-9]+))?\s*")
#: Bytes read at once.
CHUNK: Final = 1 << 20


def sent_with(request: StreamingRequest) -> list[Checksum]:
    """What the client says that its body hashes to. Raises :class:`Refused` for a digest that cannot be one."""
    found = [*_of_http(request), *_of_owncloud(request)]
    md5 = _text(request, b"content-md5")
    if md5:
        found.append(_checksum("md5", 16, _decoded(md5), "Content-MD5"))
    return found


def _of_http(request: StreamingRequest) -> Iterator[Checksum]:
    for field in (b"repr-digest", b"content-digest", b"digest"):
        for member in _text(request, field).split(","):
            match = _MEMBER.fullmatch(member)
            if match is not None and match[1].lower() in _KINDS:
                name, size = _KINDS[match[1].lower()]
                yield _checksum(name, size, _decoded(match[2]), field.decode())


def _of_owncloud(request: StreamingRequest) -> Iterator[Checksum]:
    """``SHA1:`` and hexadecimal digits, several separated by spaces."""
    for part in _text(request, b"oc-checksum").split():
        kind, _, digits = part.partition(":")
        if kind.lower() in _OC_KINDS:
            name, size = _OC_KINDS[kind.lower()]
            try:
                yield _checksum(name, size, binascii.unhexlify(digits), "OC-Checksum")
            except (binascii.Error, ValueError):
                raise Refused(400, f"OC-Checksum: not a {kind} digest") from None


def _checksum(name: str, size: int, digest: bytes, field: str) -> Checksum:
    if len(digest) != size:
        raise Refused(400, f"{field}: not a {name} digest")
    return Checksum(name, digest)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _text(request: StreamingRequest, name: bytes) -> str:
    return b",".join(request.requestHeaders.getRawHeaders(name) or ()).decode("latin-1").strip()


async def tell(request: StreamingRequest, download: Download) -> None:
    """Add ``Repr-Digest`` or ``Digest`` of the whole file where the client wants it (RFC 9530 section 4, RFC 3230). The file is read for
    it, so nobody gets it unasked."""
    newer, older = _wanted(_text(request, b"want-repr-digest")), _wanted(_text(request, b"want-digest"))
    kind = newer or older
    if kind is None:
        return
    encoded = base64.b64encode(await _computed(download, _KINDS[kind][0]))
    if newer:
        request.setHeader(b"repr-digest", b"%s=:%s:" % (kind.encode("ascii"), encoded))
    else:
        request.setHeader(b"digest", b"%s=%s" % (kind.upper().encode("ascii"), encoded))


async def _computed(download: Download, name: str) -> bytes:
    computed = hashlib.new(name, usedforsecurity=False)
    offset = 0
    while data := await download.file.read(offset, CHUNK):
        computed.update(data)
        offset += len(data)
    return computed.digest()


async def answer_recalculate(exchange: Exchange) -> None:
    """``PATCH`` with ``X-Recalculate-Hash``, as Nextcloud has it: what is stored hashes to what? rclone asks after each upload."""
    request = exchange.request
    kind = _text(request, b"x-recalculate-hash").lower()
    if kind not in _OC_KINDS:
        raise Refused(400, f"X-Recalculate-Hash must be one of {', '.join(_OC_KINDS)}")
    folder = await exchange.folder()
    download = await folder.download(exchange.place.path)
    try:
        digest = await _computed(download, _OC_KINDS[kind][0])
    finally:
        await download.close()
    request.setHeader(b"oc-checksum", f"{kind.upper()}:{digest.hex()}".encode("ascii"))
    answer_empty(request, 204)


def _wanted(text: str) -> str | None:
    """The kind that the client likes best, of those that are known; ``None`` if there is none."""
    liked: list[tuple[float, str]] = []
    for member in text.split(","):
        match = _WANTED.fullmatch(member)
        if match is not None and match[1].lower() in _KINDS:
            liked.append((_weight(match[2] or match[3] or "1"), match[1].lower()))
    best = max(liked, default=(0.0, ""), key=lambda pair: pair[0])
    return best[1] if best[0] > 0 else None


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0

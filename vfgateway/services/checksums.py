"""Checksums that clients send along with their bytes, computed while these pass."""

from __future__ import annotations

import hashlib
import hmac
import zlib
from collections.abc import Iterable
from typing import Any, Final

import attrs

from vfgateway.errors import ChecksumMismatch
from vfgateway.interfaces import type_chunk

#: What is understood, by the names that tus clients use.
ALGORITHMS: Final = ("sha1", "sha256", "sha512", "md5", "crc32")


class _Crc32:
    """CRC-32 with the face of ``hashlib``; its digest is four bytes, the most significant first."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, chunk: type_chunk) -> None:
        self._value = zlib.crc32(chunk, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


@attrs.define(eq=False)
class Checksum:
    """A digest that bytes are expected to have.

    :ivar algorithm: one of :data:`ALGORITHMS`
    :ivar expected: the raw digest
    """

    algorithm: str
    expected: bytes
    _hash: Any = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        known = self.algorithm == "crc32"
        self._hash = _Crc32() if known else hashlib.new(self.algorithm, usedforsecurity=False)

    def update(self, chunks: Iterable[type_chunk]) -> None:
        """Take in what passes."""
        for chunk in chunks:
            self._hash.update(chunk)

    def verify(self) -> None:
        """Raise ``ChecksumMismatch`` unless the bytes were the expected ones."""
        if not hmac.compare_digest(self._hash.digest(), self.expected):
            raise ChecksumMismatch(self.algorithm)

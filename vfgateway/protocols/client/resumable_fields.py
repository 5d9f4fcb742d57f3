"""The header fields of the IETF's resumable uploads (draft-ietf-httpbis-resumable-upload), which changed from draft to draft.

====================  ========  =====================================================================================
interop version       drafts    what is its own
====================  ========  =====================================================================================
3                     01        ``Upload-Incomplete`` (iOS 17, macOS 14)
4                     02        ``Upload-Complete`` in its place
5                     03        (tus-js-client's ``ietf-draft-03``)
6                     04, 05    ``application/partial-upload`` required to append, ``Upload-Limit`` with ``expires``
7                     06 to 08  ``max-age`` in place of ``expires``; ``Upload-Complete`` required to append
8                     09 to 12  limits always told
none                  final     as the newest, but without the interim answer, which needs a version that both name
====================  ========  =====================================================================================
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

import attrs

from vfgateway.errors import InvalidArgument
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.tus_fields import DIGEST_SIZES, LONGEST_NUMBER, field, media_type
from vfgateway.services.checksums import Checksum

NEWEST: Final = 8
OLDEST: Final = 3
PARTIAL_UPLOAD: Final = "application/partial-upload"

_DIGESTS = {"sha-256": "sha256", "sha-512": "sha512"}
_DIGEST = re.compile(r"\s*([a-z0-9*_.-]+)=:([A-Za-z0-9+/=]*):\s*(?:;[^,]*)?")


@attrs.frozen
class Dialect:
    """How this client speaks.

    :ivar version: the interop version; :data:`NEWEST` if it names none or an unknown one
    :ivar named: whether it named a version that we know, and so can be sent interim answers
    """

    version: int
    named: bool

    @classmethod
    def of(cls, request: StreamingRequest) -> Dialect:
        """The dialect of a request's fields."""
        text = field(request, "Upload-Draft-Interop-Version") or ""
        known = text.isascii() and text.isdigit() and len(text) < 3 and OLDEST <= int(text) <= NEWEST
        if not known and field(request, "Upload-Incomplete") is not None:
            return cls(OLDEST, False)
        return cls(int(text) if known else NEWEST, known)

    def completes(self, request: StreamingRequest) -> bool | None:
        """Whether the body is the last of the upload; ``None`` if the client does not say (other values are to be ignored)."""
        if self.version == OLDEST:
            return {"?1": False, "?0": True}.get(field(request, "Upload-Incomplete") or "")
        return {"?1": True, "?0": False}.get(field(request, "Upload-Complete") or "")

    def completeness(self, complete: bool) -> dict[str, object]:
        """The field that tells whether an upload is complete."""
        if self.version == OLDEST:
            return {"Upload-Incomplete": "?0" if complete else "?1"}
        return {"Upload-Complete": "?1" if complete else "?0"}

    def limits(self, max_size: int, seconds_left: float | None) -> dict[str, object]:
        """``Upload-Limit``; ``seconds_left`` is the upload's remaining life, if it is one."""
        if self.version < 6:
            return {}
        age = "expires" if self.version == 6 else "max-age"
        left = f", {age}={max(0, int(seconds_left))}" if seconds_left is not None else ""
        return {"Upload-Limit": f"max-size={max_size}{left}"}

    @property
    def needs_media_type(self) -> bool:
        """Whether bytes to append must be labelled as such."""
        return self.version >= 6

    @property
    def needs_completeness(self) -> bool:
        """Whether every append must say if it is the last."""
        return self.version >= 7


def speaks_draft(request: StreamingRequest, method: str) -> bool:
    """Whether a request is of this protocol, and not of tus. ``HEAD`` and ``DELETE`` of the final one carry no sign at all."""
    if field(request, "Tus-Resumable") is not None:
        return False
    signs = ("Upload-Draft-Interop-Version", "Upload-Complete", "Upload-Incomplete")
    if any(field(request, name) is not None for name in signs):
        return True
    return method in ("HEAD", "DELETE") or media_type(request) == PARTIAL_UPLOAD


def integer(request: StreamingRequest, name: str) -> int | None:
    """A structured integer that is not negative; other values are to be ignored (section 4 of the draft)."""
    text = field(request, name) or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None


def content_digest(request: StreamingRequest) -> Checksum | None:
    """``Content-Digest`` (RFC 9530) by an algorithm that we know. ``InvalidArgument`` for a digest that cannot be one."""
    for name, encoded in _DIGEST.findall(field(request, "Content-Digest") or ""):
        algorithm = _DIGESTS.get(name)
        if algorithm is not None:
            try:
                expected = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                expected = b""
            if len(expected) != DIGEST_SIZES[algorithm]:
                raise InvalidArgument("Content-Digest", f"not a {name} digest")
            return Checksum(algorithm, expected)
    return None

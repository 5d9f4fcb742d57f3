"""Answers about several resources at once (RFC 4918 section 13)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vfgateway.errors import GatewayError
from vfgateway.protocols.web.faults import enter_refusal
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.webdav.faults import PROLOGUE, Fault, answer_xml, condition_of, fault_of, status_line
from vfgateway.protocols.webdav.places import Place

OPENING: Final = PROLOGUE + b'<D:multistatus xmlns:D="DAV:">\n'
CLOSING: Final = b"</D:multistatus>\n"


type_failure = tuple[Place, GatewayError]


def answer_failures(request: StreamingRequest, failures: Iterable[type_failure]) -> None:
    """Tell which members could not be dealt with; all others were, or depend on them."""
    parts = [PROLOGUE, b'<D:multistatus xmlns:D="DAV:" xmlns:s="http://sabredav.org/ns">\n']
    for place, error in failures:
        enter_refusal(request, error)
        fault = fault_of(error) or Fault(500)
        parts.append(
            b"<D:response><D:href>%s</D:href><D:status>%s</D:status><D:error>%s</D:error></D:response>\n"
            % (place.href(False), status_line(fault.status), condition_of(error, fault, place.name))
        )
    parts.append(CLOSING)
    answer_xml(request, 207, b"".join(parts))

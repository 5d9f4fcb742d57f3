"""Answers about several resources at once (RFC 4918 section 13)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vfgateway.errors import PathError
from vfgateway.paths import FolderPath, parse_text
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.webdav.faults import PROLOGUE, Fault, answer_xml, condition_of, fault_of, status_line
from vfgateway.protocols.webdav.places import href_of

OPENING: Final = PROLOGUE + b'<D:multistatus xmlns:D="DAV:">\n'
CLOSING: Final = b"</D:multistatus>\n"


def answer_failures(request: StreamingRequest, vfolder: str, failures: Iterable[PathError]) -> None:
    """Tell which members could not be dealt with; all others were, or depend on them."""
    parts = [PROLOGUE, b'<D:multistatus xmlns:D="DAV:" xmlns:s="http://sabredav.org/ns">\n']
    for error in failures:
        fault = fault_of(error) or Fault(500)
        place = FolderPath((vfolder, *parse_text(error.path).parts))
        parts.append(
            b"<D:response><D:href>%s</D:href><D:status>%s</D:status><D:error>%s</D:error></D:response>\n"
            % (href_of(place, False), status_line(fault.status), condition_of(error, fault, vfolder))
        )
    parts.append(CLOSING)
    answer_xml(request, 207, b"".join(parts))

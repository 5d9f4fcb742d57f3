"""Puts a reply onto a request."""

# mypy: disallow-untyped-calls=False

from __future__ import annotations

import json

from pydantic import BaseModel

from vfgateway.protocols.web.faults import RETRY_AFTER
from vfgateway.protocols.web.fields import Answer, Problem
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.routing import Reply

#: Methods that are counted by name; a client could invent any number of others.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def method_label(method: bytes) -> str:
    """A request's method for the metrics."""
    word = method.decode("ascii", "replace")
    return word if word in _METHODS else "other"


def write(request: StreamingRequest, reply: Reply) -> bytes:
    """Set status and headers; the body is for the caller to send."""
    request.setResponseCode(reply.status)
    for name, value in reply.headers.items():
        request.setHeader(name, value)
    if reply.status == 503:
        request.setHeader("retry-after", str(RETRY_AFTER))
    if reply.body is None:
        return b""
    body = reply.body
    if isinstance(body, Problem):
        body = body.model_copy(update={"request_id": request.request_id})
    data = body if isinstance(body, bytes) else dump(body)
    request.setHeader("content-type", reply.media_type)
    request.setHeader("content-length", str(len(data)))
    request.setHeader("cache-control", "no-store")
    request.setHeader("x-content-type-options", "nosniff")
    return data


def dump(body: BaseModel) -> bytes:
    """A model as JSON; ``null`` is left out where the model says so."""
    sparse = not isinstance(body, Answer) or body.sparse
    values = body.model_dump(mode="python", by_alias=True, exclude_none=sparse)
    return json.dumps(values).encode("ascii")

"""What the OpenAPI document of this front end says beside its operations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from vfgateway.protocols.manager.access import HEADER
from vfgateway.protocols.manager.fields import NOOP, VOLUME_MARK
from vfgateway.protocols.web import openapi
from vfgateway.protocols.web.openapi import Api
from vfgateway.protocols.web.routing import Route

_DESCRIPTION = """Manages the virtual folders of a storage gateway.

The routes outside `/vfgateway/v1` are those of the Backend.AI Storage Proxy's manager-facing API. Their parameters stand in a
JSON object in the body, for GET and DELETE too. Failures are problems (RFC 9457); `error_code` is for programs, `msg` for people."""

_SECURITY = {
    "secret": {"type": "apiKey", "in": "header", "name": HEADER, "description": "The shared secret"},
    "key": {"type": "http", "scheme": "bearer", "description": "The API key of an administrator"},
}


def document(table: Iterable[Route[Any]], volumes: Sequence[str]) -> dict[str, Any]:
    """The document, ready to be written as JSON.

    :param volumes: names of the configured volumes; no others are accepted
    """

    def finish(definitions: dict[str, Any]) -> None:
        _name_volumes(definitions, volumes)

    return openapi.document(table, Api("vfgateway manager API", _DESCRIPTION, _SECURITY, finish=finish))


def _name_volumes(schema: Any, volumes: Sequence[str]) -> None:
    """Say wherever a volume is named which there are."""
    if isinstance(schema, list):
        for item in schema:
            _name_volumes(item, volumes)
    elif isinstance(schema, dict):
        mark = schema.pop(VOLUME_MARK, None)
        if mark is not None and volumes:
            schema["enum"] = [*volumes, NOOP] if mark == NOOP else list(volumes)
        for item in schema.values():
            _name_volumes(item, volumes)

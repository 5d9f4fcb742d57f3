"""The OpenAPI 3.1 document, made from the route table and the models, so that it cannot say what the routes do not do."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vfgateway import __version__
from vfgateway.protocols.web.fields import Problem
from vfgateway.protocols.web.routing import (
    EVENT_STREAM,
    JSON,
    PATH_LENGTHS,
    PROBLEM,
    Events,
    Raw,
    Route,
    Source,
    type_reply_body,
)

#: Failures that may happen on every route, with their reasons.
_COMMON = {
    400: "The request cannot be used as it is",
    413: "The body is too long",
    500: "The gateway or the storage failed",
    503: "The storage does not answer now",
}
_REASONS = {
    401: "The caller has to log in",
    403: "The caller is not permitted",
    404: "There is no such thing",
    409: "The state of things does not allow it",
    412: "It changed meanwhile",
    416: "There is no such part of it",
    423: "It is locked",
    429: "There were too many wrong logins",
    507: "A limit does not allow it",
}
_PATH_PART = re.compile(r"\{(\w+)\}")


@attrs.frozen
class Api:
    """What the document says beside the operations.

    :ivar security: the schemes of which one has to be used, by name, as OpenAPI describes them
    :ivar refusals: statuses with which any operation that is not public may refuse its caller
    :ivar finish: has a last hand at all schemas
    """

    title: str
    description: str
    security: Mapping[str, Mapping[str, Any]]
    refusals: Sequence[int] = (403,)
    finish: Callable[[dict[str, Any]], None] = lambda _: None


def document(table: Iterable[Route[Any]], api: Api) -> dict[str, Any]:
    """The document, ready to be written as JSON."""
    routes = list(table)
    schemas = _Schemas(routes)
    api.finish(schemas.definitions)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas, api)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": api.title,
            "version": __version__,
            "description": api.description,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{name: []} for name in api.security],
        "paths": paths,
        "components": {"schemas": schemas.definitions, "securitySchemes": dict(api.security)},
    }


class _Schemas:
    """The JSON Schemas of all models, under their own names."""

    def __init__(self, routes: list[Route[Any]]) -> None:
        wanted: dict[tuple[type[BaseModel], Any], None] = {(Problem, "serialization"): None}
        for route in routes:
            if route.takes_parameters:
                wanted[route.params, "validation"] = None
            for body in route.replies.values():
                if isinstance(body, type | Events):
                    wanted[body if isinstance(body, type) else body.model, "serialization"] = None
        self._refs, shared = models_json_schema(list(wanted), ref_template="#/components/schemas/{model}")
        self.definitions: dict[str, Any] = shared["$defs"]

    def of_reply(self, model: type[BaseModel]) -> dict[str, Any]:
        """A reference to what a reply's body looks like."""
        return self._refs[model, "serialization"]

    def of_params(self, model: type[BaseModel]) -> dict[str, Any]:
        """A reference to what parameters look like."""
        return self._refs[model, "validation"]

    def resolved(self, model: type[BaseModel]) -> dict[str, Any]:
        """The same, with the reference followed."""
        definition: dict[str, Any] = self.definitions[self.of_params(model)["$ref"].rpartition("/")[2]]
        return definition


def _operation(route: Route[Any], schemas: _Schemas, api: Api) -> dict[str, Any]:
    summary, _, description = (inspect.getdoc(route.handler) or "").partition("\n")
    operation: dict[str, Any] = {"operationId": route.operation, "summary": summary}
    if description.strip():
        operation["description"] = description.strip()
    if route.tag:
        operation["tags"] = [route.tag]
    if route.deprecated:
        operation["deprecated"] = True
    if route.public:
        operation["security"] = []
    parameters = [_path_parameter(name) for name in _PATH_PART.findall(route.path)]
    if route.takes_parameters and route.source is Source.QUERY:
        parameters += _query_parameters(schemas.resolved(route.params))
    if parameters:
        operation["parameters"] = parameters
    if route.takes_parameters and route.source is Source.BODY:
        operation["requestBody"] = {
            "required": route.needs_body,
            "content": {JSON: {"schema": schemas.of_params(route.params)}},
        }
    operation["responses"] = _responses(route, schemas, api)
    return operation


def _path_parameter(name: str) -> dict[str, Any]:
    length = PATH_LENGTHS.get(name)
    schema = {"type": "string", "minLength": length or 1, "maxLength": length or 255}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(schema: dict[str, Any]) -> list[dict[str, Any]]:
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(property_)}
        for name, property_ in schema["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query string has no ``null``: what is not given is left out."""
    some = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    return some[0] if len(some) == 1 else schema


def _responses(route: Route[Any], schemas: _Schemas, api: Api) -> dict[str, Any]:
    responses = {str(status): _success(body, schemas) for status, body in route.replies.items()}
    faults = dict.fromkeys((*_COMMON, *(() if route.public else api.refusals), *route.faults))
    for status in sorted(faults):
        responses.setdefault(
            str(status),
            {
                "description": _COMMON.get(status) or _REASONS[status],
                "content": {PROBLEM: {"schema": schemas.of_reply(Problem)}},
            },
        )
    return responses


def _success(body: type_reply_body, schemas: _Schemas) -> dict[str, Any]:
    if isinstance(body, Raw):
        return {"description": body.what, "content": {body.media_type: {"schema": {"type": "string"}}}}
    if isinstance(body, Events):
        event = _event(body, schemas)
        return {"description": "Events as they come", "content": {EVENT_STREAM: {"schema": event}}}
    if isinstance(body, type):
        what = (inspect.getdoc(body) or "").partition("\n")[0]
        return {"description": what, "content": {JSON: {"schema": schemas.of_reply(body)}}}
    return {"description": "Done"}


def _event(events: Events, schemas: _Schemas) -> dict[str, Any]:
    """One event of a stream, in the form that OpenAPI 3.2 has settled on."""
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": schemas.of_reply(events.model)}
    properties = {"event": {"enum": list(events.names)}, "data": data}
    return {"type": "object", "properties": properties, "required": list(properties)}

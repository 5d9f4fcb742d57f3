"""Loaded by Schemathesis: puts what exists where it made up a well-formed identifier, so that requests reach beyond "not found". What removes
a whole vfolder, or hands it over, keeps its made-up names."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import schemathesis

KNOWN: dict[str, str] = json.loads(os.environ.get("VFGATEWAY_KNOWN", "{}"))
_TEXT = re.compile(r".{1,255}", re.DOTALL)


def _known(context: Any, values: Any) -> Any:
    operation = context.operation
    whole = operation.path.endswith(("/vfolders/{folder}", "/transfer", "/leave")) and operation.method != "get"
    if not isinstance(values, dict) or whole:
        return values
    for name, known in KNOWN.items():
        value = values.get(name)
        if isinstance(value, str) and _TEXT.fullmatch(value) and not value.startswith("/"):
            values = {**values, name: known}
    return values


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    return _known(context, body)


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    return _known(context, path_parameters)


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    return _known(context, query)

"""Loaded by Schemathesis: puts what exists where it made up a well-formed identifier, so that requests reach beyond "not found".

What removes things keeps its made-up identifiers.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

import schemathesis

KNOWN: dict[str, str] = json.loads(os.environ.get("VFGATEWAY_KNOWN", "{}"))
_UUID = "-?".join(f"[0-9a-fA-F]{{{length}}}" for length in (8, 4, 4, 4, 12))
_VFID = re.compile(f"(?:(?i:user|project):{_UUID}/)?{_UUID}")
_NAME = re.compile(r".{1,255}", re.DOTALL)
_WELL_FORMED = {
    "vfid": _VFID,
    "src_vfid": _VFID,
    "virtual_folder_id": _VFID,
    "vfolder": re.compile(r".{1,600}", re.DOTALL),
    "owner": _NAME,
    "subject": _NAME,
    "user": _NAME,
    "group": _NAME,
    "task": _NAME,
}
_DIGITS = re.compile(r".{32}", re.DOTALL)
_REMOVING = re.compile(r"delete|create", re.IGNORECASE)


def _known(context: Any, values: Any, in_path: bool = False) -> Any:
    operation = context.operation
    spared = operation.method == "delete" or _REMOVING.search(operation.path)
    if not isinstance(values, dict) or spared:
        return values
    for name, pattern in _WELL_FORMED.items():
        value = values.get(name)
        pattern = _DIGITS if in_path and name == "vfolder" else pattern
        if isinstance(value, str) and pattern.fullmatch(value) and name in KNOWN:
            values = {**values, name: KNOWN[name]}
    return values


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    return _known(context, body)


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    return _known(context, path_parameters, in_path=True)


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    return _known(context, query)

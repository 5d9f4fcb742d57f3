"""Types of parameters of the reference: each reads what clients send, and describes exactly that in JSON Schema."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from vfgateway.errors import InvalidArgument
from vfgateway.model import QuotaScopeId, VFolderId
from vfgateway.protocols.web.fields import MOST_BYTES, UUID_PATTERN, refuse, text_of

#: Marks, in a schema, where the names of the configured volumes are to be put.
VOLUME_MARK = "x-volume"
#: The volume that managers name for folders which are none: always there, never listed (reference 4.14).
NOOP = "noop"
#: The identifier of a task that there was no need to run.
NO_TASK = "00000000-0000-0000-0000-000000000000"

_SCOPE = f"(?:[uU][sS][eE][rR]|[pP][rR][oO][jJ][eE][cC][tT]):{UUID_PATTERN}"
#: Longest first: in a pattern the first alternative that fits is taken.
_TRUE = "[tT][rR][uU][eE]|[yY][eE][sS]|[oO][nN]|[tTyY1]"
_FALSE = "[fF][aA][lL][sS][eE]|[oO][fF][fF]|[nN][oO]|[nN0]"
_TRUE_WORD = re.compile(_TRUE)
_FALSE_WORD = re.compile(_FALSE)
_DIGITS = re.compile("[0-9]{1,19}")


def _word(value: Any) -> bool:
    """The reference takes words for truth, in any case; a bare ``f`` is none of them."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        if _TRUE_WORD.fullmatch(value):
            return True
        if _FALSE_WORD.fullmatch(value):
            return False
    raise ValueError("expected true or false")


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        refuse("expected a whole number")
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int):
        refuse("expected a whole number")
    if not 0 <= value <= MOST_BYTES:
        refuse(f"must be between 0 and {MOST_BYTES}")
    return value


def _scope(value: Any) -> QuotaScopeId:
    try:
        return QuotaScopeId.parse(text_of(value))
    except InvalidArgument as error:
        raise ValueError(str(error)) from None


def _vfid(value: Any) -> VFolderId:
    try:
        return VFolderId.parse(text_of(value))
    except InvalidArgument as error:
        raise ValueError(str(error)) from None


def _new_vfid(value: Any) -> VFolderId:
    vfid = _vfid(value)
    if vfid.scope is None:
        refuse("a new vfolder needs a quota scope")
    return vfid


#: A boolean, or one of the reference's words for one.
Word = Annotated[
    bool,
    PlainValidator(_word),
    WithJsonSchema(
        {"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}, {"type": "string", "pattern": f"^(?:{_TRUE}|{_FALSE})$"}]}
    ),
]
#: A number of bytes, as a number or written in digits.
Size = Annotated[
    int,
    PlainValidator(_whole),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": MOST_BYTES},
                {"type": "string", "pattern": "^[0-9]{1,18}$"},
            ]
        }
    ),
]
#: A quota scope.
Scope = Annotated[
    QuotaScopeId,
    PlainValidator(_scope),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_SCOPE}$"}),
]
#: A vfolder's identifier; the old form without a scope too.
Vfid = Annotated[
    VFolderId,
    PlainValidator(_vfid),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{_SCOPE}/)?{UUID_PATTERN}$"}),
]
#: The same, for a vfolder that is to be made: those without a scope are no longer made.
NewVfid = Annotated[
    VFolderId,
    PlainValidator(_new_vfid),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_SCOPE}/{UUID_PATTERN}$"}),
]
#: The name of a volume.
VolumeName = Annotated[
    str, Field(min_length=1, max_length=255, description="a configured volume", json_schema_extra={VOLUME_MARK: "ours"})
]
#: The same on the reference's routes, which know one more.
AnyVolume = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        description="a configured volume, or `noop`, on which nothing happens",
        json_schema_extra={VOLUME_MARK: NOOP},
    ),
]

"""Types of parameters that several models share: each reads what clients send, and describes exactly that in JSON Schema."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, NoReturn
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema

from vfgateway.errors import InvalidArgument
from vfgateway.model import QuotaScopeId, VFolderId
from vfgateway.paths import FolderPath, parse_text

#: The greatest number of bytes that fits where sizes are stored (signed, 64 bits).
MOST_BYTES = (1 << 63) - 1
#: The latest point in time that is taken: the end of the year 9999, in epoch seconds.
LATEST = 253402300799.0

#: Marks, in a schema, where the names of the configured volumes are to be put.
VOLUME_MARK = "x-volume"
#: The volume that managers name for folders which are none: always there, never listed (reference 4.14).
NOOP = "noop"
#: The identifier of a task that there was no need to run.
NO_TASK = "00000000-0000-0000-0000-000000000000"

_UUID = "[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}"
_SCOPE = f"(?:[uU][sS][eE][rR]|[pP][rR][oO][jJ][eE][cC][tT]):{_UUID}"
#: Longest first: in a pattern the first alternative that fits is taken.
_TRUE = "[tT][rR][uU][eE]|[yY][eE][sS]|[oO][nN]|[tTyY1]"
_FALSE = "[fF][aA][lL][sS][eE]|[oO][fF][fF]|[nN][oO]|[nN0]"
_TRUE_WORD = re.compile(_TRUE)
_FALSE_WORD = re.compile(_FALSE)
_DIGITS = re.compile("[0-9]{1,19}")


class Closed(BaseModel):
    """Parameters among which nothing else may stand."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Open(BaseModel):
    """Parameters that tolerate others."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Answer(BaseModel):
    """A body that we send. ``sparse``: members that are ``null`` are left out."""

    sparse: ClassVar[bool] = False
    model_config = ConfigDict(extra="forbid", frozen=True)


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)


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
    _refuse("expected true or false")


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        _refuse("expected a whole number")
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int):
        _refuse("expected a whole number")
    if not 0 <= value <= MOST_BYTES:
        _refuse(f"must be between 0 and {MOST_BYTES}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        _refuse("expected a text")
    return value


def _scope(value: Any) -> QuotaScopeId:
    try:
        return QuotaScopeId.parse(_text(value))
    except InvalidArgument as error:
        raise ValueError(str(error)) from None


def _vfid(value: Any) -> VFolderId:
    try:
        return VFolderId.parse(_text(value))
    except InvalidArgument as error:
        raise ValueError(str(error)) from None


def _new_vfid(value: Any) -> VFolderId:
    vfid = _vfid(value)
    if vfid.scope is None:
        _refuse("a new vfolder needs a quota scope")
    return vfid


def _relpath(value: Any) -> FolderPath:
    """Absolute paths are a bad parameter; whatever else cannot be a path raises ``InvalidPath``, which has a code of its own."""
    if _text(value).startswith("/"):
        _refuse("must be a relative path")
    return parse_text(value)


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
    WithJsonSchema({"type": "string", "pattern": f"^(?:{_SCOPE}/)?{_UUID}$"}),
]
#: The same, for a vfolder that is to be made: those without a scope are no longer made.
NewVfid = Annotated[
    VFolderId,
    PlainValidator(_new_vfid),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_SCOPE}/{_UUID}$"}),
]
#: A path inside a vfolder.
RelPath = Annotated[
    FolderPath,
    PlainValidator(_relpath),
    WithJsonSchema({"type": "string", "description": "relative; neither '..' nor NUL", "pattern": "^(?!/)"}),
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

# --- our own routes ---


def _uuid(value: Any) -> UUID:
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str) or not re.fullmatch(_UUID, value):
        _refuse("expected a UUID")
    return UUID(value)


#: A UUID with or without dashes.
Uuid = Annotated[
    UUID,
    PlainValidator(_uuid),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_UUID}$"}),
]


def _integer(value: Any) -> Any:
    """JSON has one kind of number: 1.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: For strict numbers without a fraction.
WHOLE = BeforeValidator(_integer)
#: True or false, and nothing that merely looks like it.
Flag = Annotated[bool, Field(strict=True)]
#: A limit; ``null`` is none.
Limit = Annotated[int, Field(strict=True, ge=0, le=MOST_BYTES), WHOLE]
#: A point in time, epoch seconds.
Time = Annotated[float, Field(strict=True, ge=0, le=LATEST, allow_inf_nan=False)]
#: A name that people give.
Name = Annotated[str, Field(min_length=1, max_length=255)]

"""Types of parameters and bodies that JSON APIs share: each reads what clients send, and describes exactly that in JSON Schema."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, NoReturn
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema

from vfgateway.paths import FolderPath, parse_text

#: The greatest number of bytes that fits where sizes are stored (signed, 64 bits).
MOST_BYTES = (1 << 63) - 1
#: The latest point in time that is taken: the end of the year 9999, in epoch seconds.
LATEST = 253402300799.0

#: A UUID, as a pattern.
UUID_PATTERN = "[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}"


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


def refuse(message: str) -> NoReturn:
    """Say what is wrong with a value, within a validator."""
    raise ValueError(message)


class Problem(BaseModel):
    """Why it failed (RFC 9457), with what the reference's managers look for beside it.

    ``error_code`` is ``<domain>_<operation>_<detail>``; ``msg`` and ``detail`` are one sentence for people; ``data`` names wrong
    parameters; ``errno`` and ``paths`` come with failures of files; ``decision`` identifies a refusal for ``vfgateway explain``. Further
    members are facts of the error, such as the limit that does not allow it.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    title: str
    status: int
    error_code: str | None = None
    msg: str | None = None
    detail: str | None = None
    data: dict[str, str] | None = None
    errno: int | None = None
    paths: list[str] | None = None
    decision: str | None = None
    request_id: str | None = None


def text_of(value: Any) -> str:
    """The value itself, if it is a text."""
    if not isinstance(value, str):
        refuse("expected a text")
    return value


def _relpath(value: Any) -> FolderPath:
    """Absolute paths are a bad parameter; whatever else cannot be a path raises ``InvalidPath``, which has a code of its own."""
    if text_of(value).startswith("/"):
        refuse("must be a relative path")
    return parse_text(value)


#: A path inside a vfolder.
RelPath = Annotated[
    FolderPath,
    PlainValidator(_relpath),
    WithJsonSchema({"type": "string", "description": "relative; neither '..' nor NUL", "pattern": "^(?!/)"}),
]


def _uuid(value: Any) -> UUID:
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str) or not re.fullmatch(UUID_PATTERN, value):
        refuse("expected a UUID")
    return UUID(value)


#: A UUID with or without dashes.
Uuid = Annotated[
    UUID,
    PlainValidator(_uuid),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{UUID_PATTERN}$"}),
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

"""The table ``[frontends.client]``."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, ByteSize, Field, field_validator

from vfgateway.section import Secret, Section

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h|d)?")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_ORIGIN = re.compile(r"\*|https?://[^/\s]+")


def _seconds(value: Any) -> Any:
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None:
        return float(match[1]) * _UNITS[match[2] or "s"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError('should be a time such as "6h", "30m" or a number of seconds')
    return value


#: A time in seconds; written as a number, or as ``"90s"``, ``"30m"``, ``"6h"``, ``"1d"``.
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]


class ClientSettings(Section):
    """See the module.

    :ivar endpoint: a Twisted endpoint, or a list of them
    :ivar token_secret: signs the tokens; a list, the current one first, so that it can be rotated. ``token_secret_file`` is made when
        missing; by default it is ``token.secret`` in ``data_dir``
    :ivar session_lifetime: how long a token is good
    :ivar max_upload_size: the largest upload; ``"100GiB"`` or a number of bytes
    :ivar upload_lifetime: how long an unfinished upload is kept after its last byte
    :ivar cors_origins: origins whose pages may use this API; ``*`` for all. Pages of an origin that is named may use their user's login, too
    :ivar public_url: ``scheme://host[:port]`` under which clients reach us, where proxies do not tell
    :ivar body_timeout: seconds without a byte after which the body of a request is given up
    """

    endpoint: str | tuple[str, ...] = "tcp:6021:interface=127.0.0.1"
    token_secret: Secret = Secret()
    session_lifetime: Seconds = 6 * 3600.0
    max_upload_size: ByteSize = Field(default=ByteSize(100 << 30), gt=0)
    upload_lifetime: Seconds = 24 * 3600.0
    cors_origins: tuple[str, ...] = ("*",)
    public_url: str = ""
    body_timeout: Seconds = 120.0

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f'{origin!r} should be an origin such as "https://cloud.example.org", or "*"')
        return value

    @field_validator("public_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^/\s]+/?", value):
            raise ValueError("should be scheme://host[:port]")
        return value

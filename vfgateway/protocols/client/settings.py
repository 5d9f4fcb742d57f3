"""The table ``[frontends.client]``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import ByteSize, Field, field_validator

from vfgateway.protocols.web.tls_settings import TlsSettings
from vfgateway.section import PublicUrl, Seconds, Secret, Section

_ORIGIN = re.compile(r"\*|https?://[^/\s]+")


class SelfServiceSettings(Section):
    """``[frontends.client.self_service]``: what people may make by themselves. Without this table, nothing.

    :ivar volumes: where they may make vfolders; on the first, unless they say on which
    :ivar most: vfolders that one owner may have, those in the trash and those that others made included
    :ivar max_size: limit of each, in bytes, and the most that they may ask for; ``None``: no limit of its own
    """

    volumes: Annotated[tuple[str, ...], Field(min_length=1)]
    most: Annotated[int, Field(ge=1)] = 20
    max_size: Annotated[ByteSize, Field(gt=0)] | None = None


class ClientSettings(TlsSettings):
    """See the module.

    :ivar endpoint: a Twisted endpoint, or a list of them
    :ivar token_secret: signs the tokens; a list, the current one first, so that it can be rotated. ``token_secret_file`` is made when
        missing; by default it is ``token.secret`` in ``data_dir``
    :ivar session_lifetime: how long a token is good
    :ivar login_lifetime: how long a browser stays logged in
    :ivar max_upload_size: the largest upload; ``"100GiB"`` or a number of bytes
    :ivar upload_lifetime: how long an unfinished upload is kept after its last byte
    :ivar cors_origins: origins whose pages may use this API; ``*`` for all. Pages of an origin that is named may use their user's login, too
    :ivar public_url: ``scheme://host[:port]`` under which clients reach us, where proxies do not tell
    :ivar body_timeout: seconds without a byte after which the body of a request is given up
    :ivar self_service: what people may make by themselves, if anything
    """

    endpoint: str | tuple[str, ...] = "tcp:6021:interface=127.0.0.1"
    token_secret: Secret = Secret()
    session_lifetime: Seconds = 6 * 3600.0
    login_lifetime: Seconds = 12 * 3600.0
    max_upload_size: ByteSize = Field(default=ByteSize(100 << 30), gt=0)
    upload_lifetime: Seconds = 24 * 3600.0
    cors_origins: tuple[str, ...] = ("*",)
    public_url: PublicUrl = ""
    body_timeout: Seconds = 120.0
    self_service: SelfServiceSettings | None = None

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f'{origin!r} should be an origin such as "https://cloud.example.org", or "*"')
        return value

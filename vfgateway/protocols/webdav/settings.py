"""The table ``[frontends.webdav]``."""

from __future__ import annotations

import re
from typing import Self

from pydantic import ByteSize, Field, field_validator, model_validator

from vfgateway.section import ConfigPath, Seconds, Section


class WebDavSettings(Section):
    """See the module.

    :ivar endpoint: a Twisted endpoint, or a list of them
    :ivar certificate: a PEM file with the chain; with it TLS is spoken on every endpoint, and the file is read anew when it changes
    :ivar key: the PEM file of its key; by default it is in the same file
    :ivar allow_plain_login: take passwords over unencrypted connections from other machines, too
    :ivar depth_infinity: answer PROPFIND on whole trees
    :ivar longest_lock: the longest time for which a lock is given
    :ivar max_upload_size: the largest body; ``"100GiB"`` or a number of bytes
    :ivar public_url: ``scheme://host[:port]`` under which clients reach us, where proxies do not tell
    :ivar body_timeout: seconds without a byte after which the body of a request is given up
    """

    endpoint: str | tuple[str, ...] = "tcp:6023:interface=127.0.0.1"
    certificate: ConfigPath | None = None
    key: ConfigPath | None = None
    allow_plain_login: bool = False
    depth_infinity: bool = False
    longest_lock: Seconds = 24 * 3600.0
    max_upload_size: ByteSize = Field(default=ByteSize(100 << 30), gt=0)
    public_url: str = ""
    body_timeout: Seconds = 120.0

    @field_validator("public_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^/\s]+/?", value):
            raise ValueError("should be scheme://host[:port]")
        return value

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if self.key is not None and self.certificate is None:
            raise ValueError("key is of no use without certificate")
        return self

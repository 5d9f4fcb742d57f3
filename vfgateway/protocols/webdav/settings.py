"""The table ``[frontends.webdav]``."""

from __future__ import annotations

from pydantic import ByteSize, Field

from vfgateway.protocols.web.tls_settings import TlsSettings
from vfgateway.section import PublicUrl, Seconds


class WebDavSettings(TlsSettings):
    """See the module.

    :ivar endpoint: a Twisted endpoint, or a list of them
    :ivar allow_plain_login: take passwords over unencrypted connections from other machines, too
    :ivar depth_infinity: answer PROPFIND on whole trees
    :ivar longest_lock: the longest time for which a lock is given
    :ivar max_upload_size: the largest body; ``"100GiB"`` or a number of bytes
    :ivar public_url: ``scheme://host[:port]`` under which clients reach us, where proxies do not tell
    :ivar body_timeout: seconds without a byte after which the body of a request is given up
    """

    endpoint: str | tuple[str, ...] = "tcp:6023:interface=127.0.0.1"
    allow_plain_login: bool = False
    depth_infinity: bool = False
    longest_lock: Seconds = 24 * 3600.0
    max_upload_size: ByteSize = Field(default=ByteSize(100 << 30), gt=0)
    public_url: PublicUrl = ""
    body_timeout: Seconds = 120.0

"""Whether what is sent to an address could be read, or changed, on the way."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_private(url: str) -> bool:
    """Whether nobody between can: TLS, a Unix socket, or this machine."""
    parts = urlsplit(url)
    if parts.scheme in ("ldaps", "ldapi", "https"):
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def is_web(url: str) -> bool:
    """Whether it is an ``http`` or ``https`` address with a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False

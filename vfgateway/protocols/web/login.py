"""Who asks: ``Authorization`` by Basic with a password or key (RFC 7617), or Bearer with a key (RFC 6750)."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from functools import lru_cache
from typing import Any

from twisted.cred.credentials import IUsernamePassword, UsernamePassword

from vfgateway.credentials import Bearer, text_of
from vfgateway.errors import AuthenticationFailed, LoginRequired, PermissionDenied, TooManyAttempts
from vfgateway.protocols.web.forwarded import UNIX, Caller
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import Session

CHALLENGES = (b'Basic realm="vfgateway", charset="UTF-8"', b'Bearer realm="vfgateway"')


async def log_in(gateway: Gateway, request: StreamingRequest, *, guarded: bool = False) -> Session:
    """The session of whoever asks. Raises ``AuthenticationFailed``, with the challenges ready in the answer's headers.

    :param guarded: take no password that others may have read on the way, and ask for none: ``PermissionDenied`` unless
        :func:`is_private`
    """
    if guarded and not is_private(request.caller):
        raise PermissionDenied("", "log in over an unencrypted connection", "https")
    entrances, shown = request.site.entrances, request.getHeader(b"authorization") or b""
    try:
        credentials = credentials_of(shown)
        if IUsernamePassword.providedBy(credentials):
            request.context.who = text_of(credentials.username)
        login = await entrances.log_in(entrances.ticket(shown), lambda: credentials, request.origin)
    except TooManyAttempts as error:
        request.responseHeaders.setRawHeaders(b"retry-after", [b"%d" % error.wait])
        raise
    except AuthenticationFailed:
        request.responseHeaders.setRawHeaders(b"www-authenticate", CHALLENGES)
        raise
    request.principal_name = login.principal.name
    session = entrances.session(login, request.origin)
    gateway.audit.came_in("bearer" if isinstance(credentials, Bearer) else "basic")
    return session


def is_private(caller: Caller) -> bool:
    """Whether nobody between can read the request: it came over TLS, as far as a trusted proxy tells, or from this machine."""
    return caller.scheme == "https" or caller.address == UNIX or _is_loopback(caller.address)


@lru_cache(maxsize=1024)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def credentials_of(header: bytes) -> Any:
    """What an ``Authorization`` field says. ``LoginRequired`` for nothing, ``AuthenticationFailed`` for what cannot be read."""
    scheme, _, value = header.strip().partition(b" ")
    if scheme.lower() == b"bearer" and value.strip():
        return Bearer(value.strip().decode("latin-1"))
    if scheme.lower() == b"basic":
        try:
            name, colon, password = base64.b64decode(value.strip(), validate=True).partition(b":")
        except binascii.Error:
            raise AuthenticationFailed from None
        if colon:
            return UsernamePassword(name, password)
    raise LoginRequired

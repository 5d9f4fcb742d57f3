"""Who asks, on all routes of the client front end that people use: ``Authorization``, or the cookie of a browser that logged in.

A cookie comes along whichever page made the browser ask, so it counts for what changes something only together with the token that was
told at the login (``X-CSRF-Token``).
"""

# mypy: disallow-untyped-calls=False

from __future__ import annotations

from typing import Final

import attrs

from vfgateway.errors import AuthenticationFailed, PermissionDenied
from vfgateway.principals import CredentialKind, ShownCredential
from vfgateway.protocols.web.login import CHALLENGES, log_in
from vfgateway.protocols.web.request import SAFE_METHODS, StreamingRequest
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import Session
from vfgateway.services.websessions import WebSession, shows_csrf_token

#: What the cookie is called, over TLS and without; browsers see to what the prefix promises (RFC 6265bis section 4.1.3).
SECURE_COOKIE: Final = b"__Host-vfgateway"
PLAIN_COOKIE: Final = b"vfgateway"
CSRF_HEADER: Final = "X-CSRF-Token"


@attrs.frozen
class BrowserSession:
    """A login that lives in a cookie."""

    secret: str = attrs.field(repr=False)
    session: WebSession


def is_secure(request: StreamingRequest) -> bool:
    """Whether the caller reached us over TLS, as far as a trusted proxy tells."""
    return request.caller.scheme == "https"


def cookie_of(request: StreamingRequest) -> str | None:
    """The secret in the request's cookie. ``None`` without one, and beside an ``Authorization``, which goes first."""
    if request.requestHeaders.hasHeader(b"authorization"):
        return None
    return received_cookie(request, SECURE_COOKIE if is_secure(request) else PLAIN_COOKIE) or None


def received_cookie(request: StreamingRequest, name: bytes) -> str:
    """The value of a cookie; ``""`` without one."""
    request.parseCookies()  # which Twisted itself does only for requests whose body has been read
    return (request.getCookie(name) or b"").decode("latin-1")


async def enter(gateway: Gateway, request: StreamingRequest) -> Session:
    """The session of whoever asks. ``AuthenticationFailed``; ``PermissionDenied`` for a change that another site's page may have asked for."""
    if cookie_of(request) is None:
        return await log_in(gateway, request)
    browser = await browser_session(gateway, request)
    if request.method not in SAFE_METHODS and not shows_csrf_token(
        browser.secret, request.getHeader(CSRF_HEADER) or ""
    ):
        raise PermissionDenied("", "change something by a cookie alone", f"the {CSRF_HEADER} header")
    shown = ShownCredential(CredentialKind.SESSION, browser.session.id, browser.session.expires)
    person = await gateway.accounts.principal_of(browser.session.user_id)
    principal = await gateway.current(attrs.evolve(person, credential=shown))
    request.principal_name = principal.name
    return gateway.session(principal, request.origin)


async def browser_session(gateway: Gateway, request: StreamingRequest) -> BrowserSession:
    """The login in the request's cookie. ``AuthenticationFailed`` if there is none that is good."""
    secret = cookie_of(request)
    try:
        if secret is None:
            raise AuthenticationFailed("login required")
        return BrowserSession(secret, await gateway.web_sessions.find(secret))
    except AuthenticationFailed:
        request.responseHeaders.setRawHeaders(b"www-authenticate", CHALLENGES)
        raise


def set_cookie(request: StreamingRequest, secret: str, lifetime: float) -> None:
    """Hand out a cookie; with a ``lifetime`` of 0, take it back."""
    secure = is_secure(request)
    request.addCookie(
        SECURE_COOKIE if secure else PLAIN_COOKIE,
        secret.encode("ascii"),
        path=b"/",
        max_age=b"%d" % lifetime,
        secure=secure,
        httpOnly=True,
        sameSite=b"strict",
    )

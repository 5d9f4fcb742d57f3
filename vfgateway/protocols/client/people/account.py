"""Logging in with a browser, and my own account: who I am, sessions and password.

What opens everything is changed only by whoever came with everything: a credential that was narrowed can neither begin a session nor touch
the account.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from twisted.cred.credentials import UsernamePassword

from vfgateway.credentials import PasswordAndCode
from vfgateway.errors import AuthenticationFailed, PermissionDenied, SecondFactorRequired, TooManyAttempts
from vfgateway.principals import Principal
from vfgateway.protocols.client.people.bodies import (
    GroupOfMine,
    LoggedIn,
    Login,
    Me,
    PasswordChange,
    SessionInfo,
    SessionList,
)
from vfgateway.protocols.client.people.dispatch import PersonsCall
from vfgateway.protocols.client.people.entering import browser_session, cookie_of, set_cookie
from vfgateway.protocols.web.cors import same_origin
from vfgateway.protocols.web.routing import JSON, NO_CONTENT, NOTHING, NoParameters, Raw, Reply, Route, Routes
from vfgateway.services.gateway import Gateway
from vfgateway.services.websessions import csrf_token


class AccountRoutes(Routes):
    """See the module.

    :param lifetime: seconds for which a browser stays logged in
    """

    def __init__(self, gateway: Gateway, lifetime: float) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="account")
        self._lifetime = lifetime
        self.add("POST", "/login", self.login, Login, {200: LoggedIn}, 401, 403, 429, public=True)
        self.add("POST", "/logout", self.logout, NoParameters, {204: NOTHING})
        self.add("GET", "/me", self.me, NoParameters, {200: Me})
        self.add("PUT", "/me/password", self.password_change, PasswordChange, {204: NOTHING}, 409)
        self.add("GET", "/me/sessions", self.session_list, NoParameters, {200: SessionList})
        self.add("DELETE", "/me/sessions/{session}", self.session_end, NoParameters, {204: NOTHING}, 404)

    # --- in and out ---

    async def login(self, call: PersonsCall, params: Login) -> Reply:
        """Log in with a browser: the answer sets a cookie, and tells the token that changes need beside it."""
        request = call.request
        if not same_origin(request):
            raise PermissionDenied("", "log in from another site's page")
        name, password = params.name.encode("utf-8"), params.password.encode("utf-8")
        shown: Any = UsernamePassword(name, password)
        if params.otp is not None:
            shown = PasswordAndCode(name, password, params.otp)
        try:
            principal = await self.gateway.authenticate(shown, call.origin)
        except TooManyAttempts as error:
            request.setHeader(b"retry-after", b"%d" % error.wait)
            raise
        await check_whole(self.gateway, principal)
        agent = (request.getHeader("user-agent") or "").encode("ascii", "replace").decode("ascii")
        address = call.origin.address
        secret, session = await self.gateway.web_sessions.begin(principal, address, agent, self._lifetime)
        set_cookie(request, secret, self._lifetime)
        request.principal_name = principal.name
        request.context.identify(principal)
        self.gateway.audit.note("login", method="browser", session=session.id)
        answer = LoggedIn(user=principal.name, csrf_token=csrf_token(secret), expires=session.expires)
        return Reply(body=answer)

    async def logout(self, call: PersonsCall, params: NoParameters) -> Reply:
        """End the session of this browser."""
        if cookie_of(call.request) is not None:
            session = (await browser_session(self.gateway, call.request)).session
            await self.gateway.web_sessions.end(session.user_id, session.id)
            self.gateway.audit.note("session_ended", session.id)
            set_cookie(call.request, "", 0)
        return NO_CONTENT

    # --- who I am ---

    async def me(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Tell who I am."""
        principal, accounts = call.principal, self.gateway.accounts
        user = None if principal.user_id is None else await accounts.user(principal.user_id)
        teams = [group for group in await accounts.groups() if group.id in principal.groups]
        secret = cookie_of(call.request)
        return Reply(
            body=Me(
                id=None if user is None else str(user.id),
                name=principal.name,
                email=None if user is None else user.email,
                administrator=principal.administrator,
                groups=[
                    GroupOfMine(id=str(team.id), name=team.name, administrator=team.id in principal.administered_groups)
                    for team in teams
                ],
                limit_bytes=None if user is None else user.limits.bytes,
                limit_files=None if user is None else user.limits.files,
                csrf_token=None if secret is None else csrf_token(secret),
            )
        )

    async def session_list(self, call: PersonsCall, params: NoParameters) -> Reply:
        """List the browsers in which I am logged in."""
        user = await check_whole(self.gateway, call.principal)
        current = ""
        if cookie_of(call.request) is not None:
            current = (await browser_session(self.gateway, call.request)).session.id
        found = await self.gateway.web_sessions.of_user(user)
        shown = [
            SessionInfo(
                id=one.id,
                address=one.address,
                agent=one.agent,
                created=one.created,
                used=one.used,
                expires=one.expires,
                current=one.id == current,
            )
            for one in found
        ]
        return Reply(body=SessionList(sessions=shown))

    async def session_end(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Log a browser out."""
        await self.gateway.web_sessions.end(await check_whole(self.gateway, call.principal), call.path["session"])
        self.gateway.audit.note("session_ended", call.path["session"])
        return NO_CONTENT

    # --- what I log in with ---

    async def password_change(self, call: PersonsCall, params: PasswordChange) -> Reply:
        """Change my password. All other browsers are logged out, and what was opened with the old one ends."""
        user = await check_whole(self.gateway, call.principal)
        await check_password(self.gateway, call, params.current)
        current = None
        if cookie_of(call.request) is not None:
            current = (await browser_session(self.gateway, call.request)).session.id
        await self.gateway.accounts.set_password(user, params.new, keep_session=current)
        return NO_CONTENT


async def check_whole(gateway: Gateway, principal: Principal) -> UUID:
    """Whose account it is. ``PermissionDenied`` for who has none, or came with less than all that the account may."""
    if principal.user_id is None or principal.key_scope is not None:
        raise PermissionDenied("", "do this with a credential that is limited", "the account's own password or key")
    await gateway.accounts.principal_of(principal.user_id)
    return principal.user_id


async def check_password(gateway: Gateway, call: PersonsCall, password: str) -> None:
    """``PermissionDenied`` unless it is the caller's password; app passwords and keys are none."""
    name = call.principal.name.encode("utf-8")
    try:
        known = await gateway.authenticate(UsernamePassword(name, password.encode("utf-8")), call.origin)
        await check_whole(gateway, known)
    except SecondFactorRequired:
        return  # the password was right, and whoever asks has passed the other
    except AuthenticationFailed:
        raise PermissionDenied("", "change what the account is opened with", "its present password") from None


class DocumentRoutes(Routes):
    """The OpenAPI document, itself included."""

    def __init__(self, gateway: Gateway, others: list[Route[Any]], describe: Any) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="account")
        self.add("GET", "/openapi.json", self.openapi, NoParameters, {200: Raw(JSON, "This document")}, public=True)
        self._document = json.dumps(describe([*others, *self.table]), indent=1).encode("ascii")

    async def openapi(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Describe this API."""
        return Reply(body=self._document, media_type=JSON)

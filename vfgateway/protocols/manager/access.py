"""Who may use the manager API: whoever shows the secret, comes through the gateway's own socket, or is an administrator with a key."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import hmac
import os
import pwd
import socket
import struct
from collections.abc import Sequence
from typing import Any

import attrs
from klein.resource import KleinResource
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import HTTPException
from zope.interface import Attribute, Interface, implementer

from vfgateway.credentials import Bearer
from vfgateway.errors import AuthenticationFailed, AuthenticatorUnavailable
from vfgateway.principals import ORCHESTRATOR, Origin, Principal, PrincipalKind
from vfgateway.protocols.manager import faults
from vfgateway.protocols.web.answering import method_label, write
from vfgateway.protocols.web.faults import enter_refusal
from vfgateway.protocols.web.routing import Reply
from vfgateway.services.gateway import Gateway
from vfgateway.services.metrics import Metrics

#: Where managers put the secret.
HEADER = "X-BackendAI-Storage-Auth-Token"
#: Nobody: who asks for what is public.
ANYBODY = Principal(PrincipalKind.USER, "anybody")

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


class ICaller(Interface):
    """On requests: who asks."""

    principal: Principal = Attribute("the principal")
    origin: Origin = Attribute("where the request came from")


@implementer(ICaller)
@attrs.frozen
class Caller:
    """See :class:`ICaller`."""

    principal: Principal
    origin: Origin


class Access:
    """Judges callers.

    :param secrets: all that are accepted
    :param by_peer: whether the caller's identity at the other end of the (Unix) socket counts
    """

    def __init__(self, gateway: Gateway, secrets: Sequence[str], by_peer: bool = False) -> None:
        self._gateway = gateway
        self._secrets = [secret.encode("utf-8") for secret in secrets]
        self._by_peer = by_peer

    async def principal_of(self, request: Any) -> Principal:
        """Who asks. Raises ``AuthenticationFailed`` with the reason."""
        if self._by_peer and (peer := trusted_peer(request)) is not None:
            return peer
        if (shown := request.getHeader(HEADER.encode("ascii"))) is not None:
            return self._by_secret(shown)
        scheme, _, key = (request.getHeader("authorization") or "").partition(" ")
        if scheme.lower() == "bearer":
            return await self._by_key(key.strip(), request.origin)
        raise AuthenticationFailed("missing auth token")

    def _by_secret(self, shown: bytes) -> Principal:
        # Compare with every one, so that the time does not tell which was nearly right.
        if sum(hmac.compare_digest(shown, secret) for secret in self._secrets):
            return ORCHESTRATOR
        raise AuthenticationFailed("invalid auth token")

    async def _by_key(self, key: str, origin: Origin) -> Principal:
        principal = await self._gateway.authenticate(Bearer(key), origin)
        if not principal.administrator:
            raise AuthenticationFailed("not an administrator")
        return principal


def trusted_peer(request: Any) -> Principal | None:
    """The local account at the other end of a Unix socket, if it is root or our own; ``None`` otherwise."""
    transport = getattr(request.channel, "transport", None)
    connection = getattr(transport, "socket", None)
    if connection is None or connection.family != socket.AF_UNIX:
        return None
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    if uid not in (0, os.geteuid()):
        return None
    return Principal(PrincipalKind.USER, _account_name(uid), administrator=True)


def _account_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


class Gate(Resource):
    """Lets in who may come in, before anything is said about which paths exist.

    :param public: paths that are answered to anybody
    """

    isLeaf = True
    log = Logger()

    def __init__(self, access: Access, inside: KleinResource, public: frozenset[bytes], metrics: Metrics) -> None:
        super().__init__()
        self._access = access
        self._metrics = metrics
        self._inside = inside
        self._public = public

    def render(self, request: Any) -> int:
        """Called by Twisted."""
        entering = Deferred.fromCoroutine(self._enter(request))
        gone = request.notifyFinish()
        gone.addErrback(lambda _: entering.cancel())
        entering.addErrback(self._bug, request)
        return NOT_DONE_YET

    async def _enter(self, request: Any) -> None:
        try:
            principal = await self._access.principal_of(request)
        except AuthenticationFailed as error:
            if request.path not in self._public:
                enter_refusal(request, error)
                self._refuse(request, faults.forbidden(str(error), error.decision))
                return
            principal = ANYBODY
        except AuthenticatorUnavailable as error:
            enter_refusal(request, error)
            self._refuse(request, faults.failed(error, reference=False))
            return
        if principal is not ANYBODY:
            request.context.identify(principal)
            request.site.gateway.audit.came_in(
                "secret" if principal is ORCHESTRATOR else "key" if principal.user_id else "peer"
            )
        request.setComponent(ICaller, Caller(principal, request.origin))
        if not _readable(request):
            self._refuse(request, faults.unreadable("the path is not UTF-8"))
            return
        try:
            self._inside.render(request)
        except HTTPException as error:  # a Host header that cannot be one
            self._refuse(request, faults.unrouted(error))

    def _refuse(self, request: Any, reply: Reply) -> None:
        method = method_label(request.method)
        self._metrics.request(method=method, endpoint="", status=reply.status, seconds=0.0)
        request.write(write(request, reply))
        request.finish()

    def _bug(self, failure: Any, request: Any) -> None:
        if failure.check(CancelledError):
            return
        self.log.failure("could not judge a caller", failure)
        self._refuse(request, faults.bug())


def _readable(request: Any) -> bool:
    """Whether Klein can read the path: it would answer others in plain text."""
    try:
        b"/".join([*request.prepath, *request.postpath]).decode("utf-8")
        request.getRequestHostname().decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True

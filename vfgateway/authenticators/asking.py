"""Asks over HTTP, for JSON, in bounded time and of bounded size; redirections are not followed."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from OpenSSL.SSL import Error as TlsError
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from vfgateway import __version__
from vfgateway.errors import AuthenticatorUnavailable

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: Bytes of the longest answer.
LONGEST = 1 << 20
#: Connections that are kept.
KEPT = 8
_PEM_END = b"-----END CERTIFICATE-----"


@attrs.frozen
class Answer:
    """What was answered; ``body`` is what the JSON says, ``None`` for none."""

    status: int
    body: Any


class Asking:
    """A client of one service.

    :param name: of the authenticator, for errors
    :param timeout: seconds for a whole answer
    :param ca_file: authorities that its certificate must come from; by default those of the system
    """

    def __init__(self, name: str, gateway: Gateway, timeout: float, ca_file: Path | None) -> None:
        self._name = name
        self._reactor = gateway.reactor
        self._timeout = timeout
        self._ca_file = ca_file
        self._pool = HTTPConnectionPool(gateway.reactor)
        self._pool.maxPersistentPerHost = KEPT
        self._client: HTTPClient | None = None

    async def stop(self) -> None:
        """Let go of kept connections."""
        await self._pool.closeCachedConnections()

    async def ask(self, method: str, url: str, headers: Mapping[str, str], body: Any = None) -> Answer:
        """One question, which may be asked twice. ``AuthenticatorUnavailable`` for whatever is no answer."""
        asked: Deferred[Answer] = Deferred.fromCoroutine(self._ask(method, url, headers, body))
        try:
            return await asked.addTimeout(self._timeout, self._reactor)
        except TimeoutError:
            reason = f"no answer within {self._timeout:g} seconds"
        except ResponseFailed as error:
            reason = _reason(error.reasons[0].value if error.reasons else error)
        except (AuthenticatorUnavailable, CancelledError):
            raise
        except Exception as error:  # connections end in many ways
            reason = _reason(error)
        raise AuthenticatorUnavailable(self._name, f"{url}: {reason}")

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> Answer:
        fields = Headers({"user-agent": [f"vfgateway/{__version__}"], "accept": ["application/json"]})
        for name, value in headers.items():
            fields.setRawHeaders(name, [value])
        options = {} if body is None else {"json": body}
        client = self._made()
        try:
            response = await client.request(
                method, url, headers=fields, allow_redirects=False, unbuffered=True, **options
            )
        except ResponseFailed as error:
            if any(reason.check(CancelledError) for reason in error.reasons):
                raise CancelledError from None  # by us, since it takes too long
            if not isinstance(error, ResponseNeverReceived):
                raise
            # A kept connection had ended meanwhile.
            response = await client.request(
                method, url, headers=fields, allow_redirects=False, unbuffered=True, **options
            )
        gathered = _Gathered()
        response.deliverBody(gathered)
        raw = await gathered.whole
        if not 200 <= response.code < 300:
            return Answer(response.code, None)
        try:
            return Answer(response.code, json.loads(raw) if raw else None)
        except (ValueError, RecursionError):
            raise AuthenticatorUnavailable(self._name, f"{url}: the answer is not JSON") from None

    def _made(self) -> HTTPClient:
        if self._client is None:
            trusted = None
            if self._ca_file is not None:
                try:
                    pieces = self._ca_file.read_bytes().split(_PEM_END)[:-1]
                    trusted = trustRootFromCertificates([Certificate.loadPEM(piece + _PEM_END) for piece in pieces])
                except (OSError, ValueError, TlsError) as error:
                    raise AuthenticatorUnavailable(
                        self._name, f"cannot read ca_file {self._ca_file}: {error}"
                    ) from None
            policy = BrowserLikePolicyForHTTPS() if trusted is None else BrowserLikePolicyForHTTPS(trusted)
            self._client = HTTPClient(Agent(self._reactor, policy, connectTimeout=self._timeout, pool=self._pool))
        return self._client


class _Gathered(Protocol):
    """Gathers a body that is not too long."""

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._cut())
        self._pieces: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:
        """A piece."""
        self._size += len(data)
        if self._size <= LONGEST:
            self._pieces.append(data)
        elif not self.whole.called:
            self.whole.errback(ValueError(f"the answer is longer than {LONGEST} bytes"))
            self._cut()

    def _cut(self) -> None:
        transport: Any = self.transport
        abort = getattr(transport, "abortConnection", None) or transport.stopProducing
        abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end, of the body or of the connection."""
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(b"".join(self._pieces))
        else:
            self.whole.errback(reason)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if "certificate verify failed" in text:
        return "its certificate is not good; if its authority is your own, name that in ca_file"
    return text or type(error).__name__

"""The manager front end, listening, and a client that speaks to it as a manager does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import treq
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from tests.support.gateway import running_gateway
from vfgateway.interfaces import IVolume
from vfgateway.protocols.manager.frontend import ManagerFrontEnd, ManagerService
from vfgateway.services.gateway import Gateway

SECRET = "some-shared-secret"
HEADER = "X-BackendAI-Storage-Auth-Token"


@attrs.frozen
class Answer:
    """What came back."""

    status: int
    headers: Headers
    body: bytes

    @property
    def media_type(self) -> str:
        return str(self.headers.getRawHeaders("content-type", [""])[0]).partition(";")[0]

    @property
    def json(self) -> Any:
        """The body; refuses what a manager would refuse to read (reference 0.5)."""
        assert self.media_type == "application/json" or self.media_type.endswith("+json"), self.media_type
        return json.loads(self.body)


class ManagerClient:
    """Sends what a manager sends: the secret, and parameters as JSON in the body of every method."""

    def __init__(self, url: str, secret: str | None = SECRET, agent: Any = None) -> None:
        self.url = url
        self.headers: dict[str, str] = {HEADER: secret} if secret is not None else {}
        self._agent = agent or Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))

    async def call(self, method: str, path: str, params: Any = None, **options: Any) -> Answer:
        """One request; ``params`` becomes a JSON body. ``raw`` is a body as it is, ``headers`` come on top."""
        headers = Headers({name: [value] for name, value in {**self.headers, **options.pop("headers", {})}.items()})
        body = options.pop("raw", None)
        if params is not None:
            body = json.dumps(params).encode()
            headers.setRawHeaders("content-type", ["application/json"])
        assert not options
        client = treq.client.HTTPClient(self._agent)
        response = await client.request(method, self.url + path, headers=headers, data=body, timeout=20)
        return Answer(response.code, response.headers, await response.content())

    async def ok(self, method: str, path: str, params: Any = None, status: int = 200) -> Any:
        """As :meth:`call`, for a request that must succeed; its JSON."""
        answer = await self.call(method, path, params)
        assert answer.status == status, (answer.status, answer.body)
        return answer.json if answer.body else None

    async def get(self, path: str, params: Any = None) -> Any:
        return await self.ok("GET", path, params)

    async def post(self, path: str, params: Any, status: int = 200) -> Any:
        return await self.ok("POST", path, params, status)

    async def refused(self, method: str, path: str, params: Any, status: int) -> Mapping[str, Any]:
        """As :meth:`call`, for a request that must fail with ``status``; the problem."""
        answer = await self.call(method, path, params)
        assert answer.status == status, (answer.status, answer.body)
        problem: Mapping[str, Any] = answer.json
        assert {"type", "title"} <= set(problem)
        return problem


@attrs.frozen
class Serving:
    """A gateway and a client of its manager front end."""

    gateway: Gateway
    service: ManagerService
    client: ManagerClient


@asynccontextmanager
async def serving_manager(
    tmp_path: Path, volumes: Sequence[IVolume] | None = None, **settings: Any
) -> AsyncIterator[Serving]:
    """A running gateway whose manager front end listens; ``settings`` as in ``[frontends.manager]``."""
    async with running_gateway(tmp_path, volumes) as gateway:
        options = {"endpoint": "tcp:0:interface=127.0.0.1", **settings}
        if "secret_file" not in options:
            options.setdefault("secret", SECRET)
        service = ManagerFrontEnd().configure(options, gateway)
        assert isinstance(service, ManagerService)
        service.startService()
        try:
            yield Serving(gateway, service, ManagerClient(service.urls[0]))
        finally:
            await maybeDeferred(service.stopService)


@implementer(IAgentEndpointFactory)
class _Socket:
    def __init__(self, path: Path) -> None:
        self._path = path

    def endpointForURI(self, uri: object) -> UNIXClientEndpoint:
        return UNIXClientEndpoint(reactor, str(self._path))


def over_socket(path: Path) -> ManagerClient:
    """A client that connects to a Unix socket and shows no secret."""
    pool = HTTPConnectionPool(reactor, persistent=False)
    return ManagerClient("http://gateway", None, Agent.usingEndpointFactory(reactor, _Socket(path), pool))

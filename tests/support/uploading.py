"""The upload routes on a real socket, a client for them, and one that can be cut anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import attrs
import treq
from klein import Klein
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.http_headers import Headers

from tests.support.gateway import ALICE, new_vfolder, orchestrator_in, running_gateway
from vfgateway.abilities import IResumableStaging
from vfgateway.errors import AuthenticationFailed
from vfgateway.interfaces import IVolume
from vfgateway.model import VFolder
from vfgateway.paths import ROOT, FolderPath, parse_text
from vfgateway.principals import Origin, Principal, PrincipalKind
from vfgateway.protocols.client.tus_routes import PeoplesUploads
from vfgateway.protocols.client.tus_token import TokenUploads
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.site import GatewaySite
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession, Session

#: Of :data:`ALICE`, and of somebody who has nothing.
PEOPLE = {b"Bearer alice": ALICE, b"Bearer bob": UUID("22222222-2222-4222-8222-222222222222")}
COLLECTION = "/vfgateway/v1/uploads"


@attrs.frozen
class Answer:
    """An answer with its body read."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body."""
        import json

        return json.loads(self.body)


@attrs.define
class Uploading:
    """A gateway with one vfolder of Alice's, called ``data``, its upload routes on a port, and hands to look into it."""

    gateway: Gateway
    vfolder: VFolder
    folder: FolderSession
    port: int

    @property
    def base(self) -> str:
        """Where the routes are."""
        return f"http://127.0.0.1:{self.port}"

    async def ask(self, method: str, url: str, headers: Mapping[str, object] | None = None, body: Any = None) -> Answer:
        """One request on a connection of its own. ``url`` may be relative."""
        if not url.startswith("http"):
            url = self.base + url
        fields = Headers({name: [str(value)] for name, value in (headers or {}).items()})
        response = await treq.request(
            method, url, headers=fields, data=body, agent=Agent(reactor), allow_redirects=False
        )
        data = b"" if method == "HEAD" else await treq.content(response)
        answered = {
            name.decode().lower(): ", ".join(value.decode("latin-1") for value in values)
            for name, values in response.headers.getAllRawHeaders()
        }
        return Answer(response.code, answered, data)

    async def begin(self, size: int, path: str = "file.bin", **options: Any) -> str:
        """What the orchestrator does: begin an upload; the path and query of its URL."""
        upload = await self.gateway.staging.begin(
            self.folder, parse_text(path), size=size, owned_by_vfolder=True, **options
        )
        token = self.gateway.tokens.mint_upload(self.vfolder.volume, self.vfolder.id, path, size, upload.id)
        return f"/upload?token={token}"

    async def content(self, path: str) -> bytes:
        """A file's bytes."""
        download = await self.folder.download(parse_text(path))
        try:
            return await download.file.read(0, 1 << 30)
        finally:
            await download.close()

    async def names(self, path: FolderPath = ROOT) -> set[str]:
        """What a directory lists."""
        listing = await self.folder.list(path)
        try:
            return {entry.name for entry in await listing.read(1000)}
        finally:
            await listing.close()

    async def stages(self) -> int:
        """How many stages the volume has."""
        return len(await IResumableStaging(self.folder.context.folder).stages())

    async def held_bytes(self) -> int:
        """What the vfolder is charged with."""
        return (await self.gateway.quota.usage(self.vfolder)).bytes


@asynccontextmanager
async def uploading(tmp_path: Path, volume: IVolume | None = None, **options: Any) -> AsyncIterator[Uploading]:
    """Serve the upload routes; ``options`` are of the vfolder."""
    async with running_gateway(tmp_path, None if volume is None else [volume]) as gateway:
        gateway.staging.leases.patience.silence = 0.1
        for number, user_id in enumerate(PEOPLE.values()):
            await gateway.accounts.create_user(f"somebody {number}", user_id=user_id)
        name = "mem" if volume is None else volume.name
        vfolder = await new_vfolder(gateway, name, name="data", **options)
        folder = await orchestrator_in(gateway, vfolder, Origin("client"))
        site = GatewaySite(_routes(gateway).resource(), gateway, "client")
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
        try:
            yield Uploading(gateway, vfolder, folder, cast(IPv4Address, port.getHost()).port)
        finally:
            await maybeDeferred(port.stopListening)
            await site.close_connections(0.0)


def _routes(gateway: Gateway) -> Klein:
    async def login(request: StreamingRequest) -> Session:
        user = PEOPLE.get(request.getHeader(b"authorization") or b"")
        if user is None:
            raise AuthenticationFailed
        return gateway.session(Principal(PrincipalKind.USER, "somebody", user_id=user), request.origin)

    app = Klein()
    TokenUploads(gateway).mount(app)
    PeoplesUploads(gateway, login).mount(app)
    return app


class RawConnection(Protocol):
    """A connection whose every byte the test decides.

    :ivar received: what has come so far
    """

    def __init__(self) -> None:
        self.received = b""
        self._waiting: list[tuple[bytes, Deferred[bytes]]] = []
        self.lost: Deferred[None] = Deferred()

    @classmethod
    async def open(cls, port: int) -> RawConnection:
        """Connect."""
        connection = cls()
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), connection)
        return connection

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        for item in list(self._waiting):
            if item[0] in self.received:
                self._waiting.remove(item)
                item[1].callback(self.received)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)
        for _, waiter in self._waiting:
            waiter.errback(AssertionError(f"the connection ended after {self.received!r}"))

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        assert self.transport is not None
        self.transport.write(data)

    async def until(self, text: bytes) -> bytes:
        """All that came, once ``text`` is in it."""
        if text not in self.received:
            waiter: Deferred[bytes] = Deferred()
            self._waiting.append((text, waiter))
            await waiter
        return self.received

    def end(self) -> None:
        """Send no more, but listen on."""
        cast(ITCPTransport, self.transport).loseWriteConnection()

    async def cut(self) -> None:
        """Break the connection."""
        cast(ITCPTransport, self.transport).abortConnection()
        await self.lost


def head(method: str, target: str, **fields: object) -> bytes:
    """The head of a request; underscores in field names are hyphens."""
    fields = {"Host": "127.0.0.1", **fields}
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

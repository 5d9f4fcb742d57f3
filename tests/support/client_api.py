"""The whole client front end on a socket, over a volume on disk, with one vfolder of Alice's called ``data``."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import base64
import http.client
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor

from tests.support.gateway import ALICE, new_vfolder, orchestrator_in, running_gateway
from tests.support.site import Client
from tests.support.uploading import Answer, head
from vfgateway.backends.vfs import VfsVolumeFactory
from vfgateway.blocking import Pool
from vfgateway.model import VFolder
from vfgateway.protocols.client.frontend import ClientFrontEnd
from vfgateway.protocols.web.site import GatewaySite
from vfgateway.runtime import Runtime
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession

SECRET = "0123456789abcdef0123456789abcdef"
PASSWORD = "correct horse battery"


@attrs.define
class ClientApi:
    """A running front end.

    :ivar root: the vfolder's directory on disk, for tests to put things into
    :ivar folder: the orchestrator's hands in it
    """

    gateway: Gateway
    vfolder: VFolder
    folder: FolderSession
    root: Path
    port: int
    site: GatewaySite

    @property
    def base(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def let_people_in(self) -> None:
        """Give Alice and Bob accounts, with :data:`PASSWORD`."""
        for name, user_id in (("alice", ALICE), ("bob", None)):
            user = await self.gateway.accounts.create_user(name, user_id=user_id)
            await self.gateway.accounts.set_password(user.id, PASSWORD)

    def token(self, relpath: str) -> str:
        """A download token."""
        return self.gateway.tokens.mint_download(self.vfolder.volume, self.vfolder.id, relpath)

    def archive_token(self, *files: str, filename: str | None = None) -> str:
        """An archive token."""
        return self.gateway.tokens.mint_archive(self.vfolder.volume, self.vfolder.id, files, filename)

    async def ask(self, method: str, target: str, body: bytes | None = None, **fields: object) -> Answer:
        """One request on a connection of its own; underscores in field names are hyphens. The target goes out as it is written."""
        if body is not None:
            fields.setdefault("Content_Length", len(body))
        client = await Client.open(self.port)
        client.send(head(method, target, Connection="close", **fields) + (body or b""))
        await client.lost
        return parsed(method, client.received)

    async def download(self, relpath: str, method: str = "GET", *, query: str = "", **fields: Any) -> Answer:
        """``/download`` with a good token."""
        return await self.ask(method, f"/download?token={self.token(relpath)}{query}", **fields)

    async def files(
        self, method: str, path: str, body: bytes | None = None, user: str = "alice", **fields: object
    ) -> Answer:
        """The content API, logged in."""
        login = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        return await self.ask(method, f"/vfgateway/v1/files/{path}", body, Authorization=f"Basic {login}", **fields)


class _Received:
    """What :mod:`http.client` takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def parsed(method: str, data: bytes) -> Answer:
    """An answer as the standard library reads it. Raises ``IncompleteRead`` for a body that is not whole."""
    response = http.client.HTTPResponse(_Received(data), method=method)  # type: ignore[arg-type]
    response.begin()
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
    return Answer(response.status, headers, response.read())


def problem(answer: Answer) -> Mapping[str, Any]:
    """The body of an error."""
    assert answer.headers["content-type"] == "application/problem+json"
    body: Mapping[str, Any] = json.loads(answer.body)
    return body


def disk_volume(path: Path, name: str = "disk", **settings: Any) -> Any:
    """A volume over ``path``."""

    def pool(size: int, inline: bool = False) -> Pool:
        return Pool(reactor, size, name, inline)

    path.mkdir(exist_ok=True)
    runtime = Runtime(reactor=reactor, pool=pool, agent=None, spool=path, state=None)  # type: ignore[arg-type]
    return VfsVolumeFactory().configure(name, {"path": str(path), **settings}, runtime)


@asynccontextmanager
async def client_api(
    tmp_path: Path, settings: Mapping[str, Any] | None = None, storage: Mapping[str, Any] | None = None, **options: Any
) -> AsyncIterator[ClientApi]:
    """Serve it. ``settings`` are of the front end, ``storage`` holds those of the volume, ``options`` are of the vfolder."""
    volume = disk_volume(tmp_path / "volume", **(storage or {}))
    async with running_gateway(tmp_path, [volume]) as gateway:
        table = {"endpoint": "tcp:0:interface=127.0.0.1", "token_secret": SECRET, **(settings or {})}
        service: Any = ClientFrontEnd().configure(table, gateway)
        service.startService()
        try:
            vfolder = await new_vfolder(gateway, "disk", name="data", **options)
            folder = await orchestrator_in(gateway, vfolder)
            root = Path(await volume.mount_path(vfolder.id))
            yield ClientApi(gateway, vfolder, folder, root, service.ports[0].getHost().port, service._site)
        finally:
            await service.stopService()

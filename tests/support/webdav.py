"""The whole WebDAV front end on a socket, over a volume on disk, with one vfolder of Alice's called ``data``."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
from lxml import etree

from tests.support.client_api import PASSWORD, disk_volume, parsed
from tests.support.gateway import ALICE, new_vfolder, orchestrator_in, running_gateway
from tests.support.site import Client
from tests.support.uploading import Answer, head
from vfgateway.model import Permission, VFolder
from vfgateway.protocols.web.site import GatewaySite
from vfgateway.protocols.webdav.frontend import WebDavFrontEnd
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession

DAV = "{DAV:}"


def basic(user: str, password: str = PASSWORD) -> str:
    """An ``Authorization`` value."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@attrs.define
class Dav:
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

    async def ask(
        self, method: str, target: str, body: bytes | None = None, user: str | None = "alice", **fields: Any
    ) -> Answer:
        """One request on a connection of its own; underscores in field names are hyphens, and a field without a value is left out. The
        target goes out as it is written."""
        if body is not None:
            fields.setdefault("Content_Length", len(body))
        fields = {name: value for name, value in fields.items() if value is not None}
        if user is not None:
            fields.setdefault("Authorization", basic(user))
        client = await Client.open(self.port)
        client.send(head(method, target, Connection="close", **fields) + (body or b""))
        await client.lost
        return parsed(method, client.received)

    async def let_in(self, name: str, permission: Permission) -> None:
        """An account for somebody else, with a grant."""
        user = await self.gateway.accounts.create_user(name)
        await self.gateway.accounts.set_password(user.id, PASSWORD)
        await self.gateway.vfolders.grant(self.vfolder.key, "user", user.id, permission)


@asynccontextmanager
async def webdav(
    tmp_path: Path, settings: Mapping[str, Any] | None = None, storage: Mapping[str, Any] | None = None, **options: Any
) -> AsyncIterator[Dav]:
    """Serve it. ``settings`` are of the front end, ``storage`` holds those of the volume, ``options`` are of the vfolder."""
    volume = disk_volume(tmp_path / "volume", **(storage or {}))
    async with running_gateway(tmp_path, [volume]) as gateway:
        user = await gateway.accounts.create_user("alice", user_id=ALICE)
        await gateway.accounts.set_password(user.id, PASSWORD)
        service: Any = WebDavFrontEnd().configure(
            {"endpoint": "tcp:0:interface=127.0.0.1", **(settings or {})}, gateway
        )
        service.startService()
        try:
            vfolder = await new_vfolder(gateway, "disk", name="data", **options)
            folder = await orchestrator_in(gateway, vfolder)
            root = Path(await volume.mount_path(vfolder.id))
            yield Dav(gateway, vfolder, folder, root, service.ports[0].getHost().port, service._site)
        finally:
            await service.stopService()


def responses(answer: Answer) -> dict[str, dict[str, tuple[int, etree._Element]]]:
    """A multistatus: by href, each property with its status."""
    assert answer.status == 207, (answer.status, answer.body)
    found: dict[str, dict[str, tuple[int, etree._Element]]] = {}
    for response in etree.fromstring(answer.body).findall(DAV + "response"):
        here = found.setdefault(response.findtext(DAV + "href") or "", {})
        for propstat in response.findall(DAV + "propstat"):
            status = int((propstat.findtext(DAV + "status") or "").split()[1])
            for element in propstat.iterfind(f"{DAV}prop/*"):
                here[str(element.tag)] = (status, element)
    return found


def failed_members(answer: Answer) -> dict[str, int]:
    """A multistatus of failures: statuses by href."""
    assert answer.status == 207, (answer.status, answer.body)
    root = etree.fromstring(answer.body)
    return {
        response.findtext(DAV + "href") or "": int((response.findtext(DAV + "status") or "").split()[1])
        for response in root.findall(DAV + "response")
    }


def condition(answer: Answer) -> str:
    """The condition that an error names."""
    root = etree.fromstring(answer.body)
    assert root.tag == DAV + "error"
    return str(root[0].tag).removeprefix(DAV)

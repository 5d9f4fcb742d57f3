"""People who have logins of their own on the server: it sees them, and not the gateway."""

from __future__ import annotations

import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.backends.smb.conftest import type_make
from tests.support.gateway import new_vfolder, running_gateway
from tests.support.samba import Samba
from vfgateway.errors import PermissionDenied, VolumeUnavailable
from vfgateway.model import Permission, VFolder
from vfgateway.paths import ROOT, parse_text
from vfgateway.principals import INTERNAL
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession

#: Accounts that every Debian has, and what the server calls people by; Carol is nobody there.
PEOPLE = {"alice": "daemon", "bob": "games"}
PASSWORD = "a password of one's own"
#: What a server needs so that several accounts can work in the same directories.
TOGETHER = {
    "valid users": "root daemon games",
    "force group": "users",
    "force create mode": "0660",
    "force directory mode": "2770",
}


@pytest.fixture(scope="module")
def samba(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    """One that knows Alice and Bob, and a share that they can get to."""
    share = Path(tempfile.mkdtemp(prefix="share-"))
    share.chmod(0o777)
    try:
        with Samba(tmp_path_factory.mktemp("people") / "server", options=TOGETHER, share=share) as samba:
            for user in PEOPLE.values():
                samba.set_password(PASSWORD, user)
            yield samba
    finally:
        shutil.rmtree(share)


def logins(**passwords: str) -> dict[str, Any]:
    """The table ``users`` of a volume."""
    return {name: {"username": user, "password": passwords.get(name, PASSWORD)} for name, user in PEOPLE.items()}


@attrs.frozen
class Office:
    """A gateway before the share, with a vfolder that is open to everybody."""

    gateway: Gateway
    vfolder: VFolder
    place: Path

    async def hands(self, name: str) -> FolderSession:
        """Those of an account, after its login."""
        user = await self.gateway.accounts.user(name)
        principal = await self.gateway.accounts.principal_of(user.id)
        return await self.gateway.session(principal, INTERNAL).folder(self.vfolder.id)

    async def put(self, name: str, path: str, content: bytes) -> None:
        """Upload a file as somebody."""
        hands = await self.hands(name)
        async with await hands.upload(parse_text(path), size=len(content)) as upload:
            await upload.write([content])
            await upload.commit()

    async def get(self, name: str, path: str) -> bytes:
        """Download it."""
        download = await (await self.hands(name)).download(parse_text(path))
        try:
            return await download.file.read(0, 1000)
        finally:
            await download.close()

    def owner(self, path: str) -> str:
        """Whose a file is on the server's disk."""
        return pwd.getpwuid((self.place / path).stat().st_uid).pw_name


@asynccontextmanager
async def office(samba: Samba, make: type_make, tmp_path: Path, **settings: Any) -> AsyncIterator[Office]:
    volume = await make(samba, start=False, **settings)
    async with running_gateway(tmp_path, [volume]) as gateway:
        vfolder = await new_vfolder(gateway, "share")
        for name in (*PEOPLE, "carol"):
            user = await gateway.accounts.create_user(name)
            await gateway.vfolders.grant(vfolder.key, "user", user.id, Permission.RWD)
        top, digits = volume.path.partition("/data/")[2], vfolder.id.folder.hex
        assert vfolder.id.scope is not None
        place = samba.share.joinpath(top, vfolder.id.scope.uuid.hex, digits[:2], digits[2:4], digits[4:])
        yield Office(gateway, vfolder, place)


async def test_files_belong_to_who_wrote_them(
    samba: Samba, make: type_make, driver: dict[str, Any], tmp_path: Path
) -> None:
    """Everybody's account is that of the server's own books; the others', and the gateway's own work, are the service account's."""
    async with office(samba, make, tmp_path, users=logins(), **driver) as there:
        for name in ("alice", "bob", "carol"):
            await there.put(name, f"of {name}", name.encode())
            await (await there.hands(name)).make_dir(parse_text(f"dir of {name}"))
        for name, user in {**PEOPLE, "carol": samba.user}.items():
            assert (there.owner(f"of {name}"), there.owner(f"dir of {name}")) == (user, user)
        await there.put("bob", "of alice", b"bob's now")
        assert (there.owner("of alice"), await there.get("alice", "of alice")) == ("games", b"bob's now")
        await (await there.hands("alice")).remove(parse_text("of bob"))
        await there.gateway.lifecycle.recount(there.vfolder)
        assert (await there.gateway.quota.usage(there.vfolder)).bytes == len(b"bob's now" + b"carol")


async def test_what_the_server_forbids_somebody(
    samba: Samba, make: type_make, driver: dict[str, Any], tmp_path: Path
) -> None:
    """Is refused to that one as what it is, whatever is granted here, and to nobody else."""
    async with office(samba, make, tmp_path, users=logins(), **driver) as there:
        await there.put("alice", "private", b"secret")
        (there.place / "private").chmod(0o600)
        with pytest.raises(PermissionDenied, match="a permission on the storage"):
            await there.get("bob", "private")
        assert await there.get("alice", "private") == b"secret"


async def test_who_has_no_login(samba: Samba, make: type_make, driver: dict[str, Any], tmp_path: Path) -> None:
    """Is refused where that is configured, and told why; the gateway's own work goes on."""
    async with office(samba, make, tmp_path, users=logins(), others="refuse", **driver) as there:
        with pytest.raises(PermissionDenied, match="a login of one's own on the storage"):
            await there.hands("carol")
        await there.put("alice", "file", b"content")
        await there.gateway.lifecycle.recount(there.vfolder)
        assert (await there.gateway.quota.usage(there.vfolder)).bytes == 7


async def test_a_login_that_is_refused(samba: Samba, make: type_make, driver: dict[str, Any], tmp_path: Path) -> None:
    """Keeps its owner out, and nobody else; the volume is healthy."""
    async with office(samba, make, tmp_path, users=logins(bob="of yesterday"), **driver) as there:
        with pytest.raises(VolumeUnavailable, match="does not let games in") as caught:
            await there.hands("bob")
        assert "yesterday" not in str(caught.value)
        await there.put("alice", "file", b"content")
        assert [name async for name in named(await there.hands("alice"))] == ["file"]


async def named(folder: FolderSession) -> AsyncIterator[str]:
    """What is at the top."""
    listing = await folder.list(ROOT)
    for entry in await listing.read(100):
        yield entry.name
    await listing.close()

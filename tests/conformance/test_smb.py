"""The volume on a share keeps every promise, by either driver, on a real Samba."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from tests.conformance.harness import Able, at, make_runtime, names_in, new_vfid, put
from tests.conformance.moving import MovePromises
from tests.conformance.suite import EveryPromise
from tests.support.samba import Samba
from vfgateway.abilities import IAdoption, IDescriptions, IRandomWrite, IRemoteMount, IResumableStaging, IServerSideCopy
from vfgateway.backends.smb import SmbVolumeFactory
from vfgateway.interfaces import IVolume
from vfgateway.model import Actor, FolderOptions

#: The server of the module that runs now.
running: list[Samba] = []


@pytest.fixture(scope="module", autouse=True)
def samba(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One server for all of them."""
    with Samba(tmp_path_factory.mktemp("samba") / "server") as samba:
        running[:] = [samba]
        yield


class TestSmb(EveryPromise, MovePromises):
    """By smbprotocol, encrypted."""

    backend = "smb"
    abilities = frozenset({IAdoption, IDescriptions, IRandomWrite, IRemoteMount, IResumableStaging, IServerSideCopy})
    settings: ClassVar[dict[str, Any]] = {"durability": "none"}
    many = 3000

    async def make_volume(self, tmp_path: Path) -> IVolume:
        foreign = self._foreign(tmp_path)
        settings = running[0].settings(path=f"volumes/{uuid4().hex}", adoptable=[foreign], **self.settings)
        return SmbVolumeFactory().configure("share", settings, make_runtime(tmp_path))

    async def test_where_hosts_find_it(self, volume: Able) -> None:
        """Below the share that they mount lies what was stored; no secret is told."""
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        await put(await volume.folder(vfid, Actor()), "file", b"content")
        mount = await volume.remote_mount(vfid)
        assert (running[0].share / mount.path / "file").read_bytes() == b"content"
        assert (mount.type, mount.credentials) == ("cifs", "share")
        assert mount.source.endswith("/data")
        assert f"port={running[0].port}" in mount.options
        assert running[0].password not in repr(mount)

    def _foreign(self, tmp_path: Path) -> str:
        return f"foreign/{tmp_path.name}"

    def foreign_place(self, tmp_path: Path) -> str:
        place = f"{self._foreign(tmp_path)}/place"
        directory = running[0].share / place
        if not directory.exists():
            (directory / "dir").mkdir(parents=True)
            (directory / "dir/file").write_bytes(b"content")
        return place

    def foreign_file(self, tmp_path: Path) -> str:
        return f"{self.foreign_place(tmp_path)}/dir/file"

    def missing_place(self, tmp_path: Path) -> str:
        return f"{self._foreign(tmp_path)}/nothing"

    def forbidden_place(self, tmp_path: Path) -> str:
        return "volumes"

    async def test_lists_very_many(self, folder: Able) -> None:
        """A directory of several pages comes whole; its files are made where the server has them, which is quicker."""
        await folder.make_dir(at("many"))
        many = running[0].share.joinpath(*folder.tree.place.root.split("\\"), "many")
        for number in range(self.many):
            (many / f"{number:05}").touch()
        assert await names_in(folder, "many", batch=500) == [f"{number:05}" for number in range(self.many)]
        shutil.rmtree(many)


class TestSmbByPysmb(TestSmb):
    """By pysmb, signed."""

    settings: ClassVar[dict[str, Any]] = {"durability": "none", "driver": "pysmb", "encrypt": False}

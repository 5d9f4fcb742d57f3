"""Promises of :class:`~vfgateway.interfaces.IVolume`."""

from __future__ import annotations

import pytest
from twisted.internet.defer import ensureDeferred, gatherResults
from zope.interface.verify import verifyObject

from tests.conformance.harness import READ, VolumeCase, at, content_of, names_in, new_scope, new_vfid, put
from vfgateway.abilities import IModes
from vfgateway.errors import GatewayError, QuotaScopeExists, VFolderExists, VFolderNotFound
from vfgateway.interfaces import IFolder, IVolume
from vfgateway.model import ANY, Actor, FolderOptions, HealthState, NameRules, VFolderId
from vfgateway.paths import ROOT


class VolumePromises(VolumeCase):
    """A volume makes, finds and removes vfolders."""

    async def test_keeps_its_interface(self, volume: IVolume) -> None:
        """Everything that ``IVolume`` names is there, and the factory's name is told."""
        assert verifyObject(IVolume, volume)
        assert volume.backend == self.backend
        assert isinstance(volume.names, NameRules)
        assert isinstance(volume.shared, bool)

    async def test_starting_twice_changes_nothing(self, volume: IVolume) -> None:
        """``start`` is idempotent: what was there stays."""
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        await volume.start()
        assert vfid in await volume.folders()

    async def test_stopping_twice_is_fine(self, volume: IVolume) -> None:
        """``stop`` is idempotent."""
        await volume.stop()
        await volume.stop()

    async def test_reports_health(self, volume: IVolume) -> None:
        """A volume that works says so."""
        assert (await volume.health()).state is HealthState.HEALTHY

    async def test_reports_space(self, volume: IVolume) -> None:
        """Used and available room fit into the capacity, or the storage says that it does not tell."""
        space = await volume.space()
        assert space.used <= space.capacity
        assert space.available <= space.capacity

    async def test_new_vfolder_is_empty(self, volume: IVolume) -> None:
        """A new vfolder is a directory without entries."""
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        folder = await volume.folder(vfid, Actor())
        assert verifyObject(IFolder, folder)
        assert (await folder.stat(ROOT)).is_dir
        assert await names_in(folder) == []

    async def test_vfolders_are_found(self, volume: IVolume) -> None:
        """``folders`` lists what was made, of any scope and of the old form without one."""
        made = {new_vfid(), new_vfid(), VFolderId(None, new_vfid().folder)}
        for vfid in made:
            await volume.create_folder(vfid, FolderOptions())
        assert set(await volume.folders()) == made

    async def test_vfolder_exists_once(self, volume: IVolume) -> None:
        """Making a vfolder that is there fails and leaves its content alone."""
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        await put(await volume.folder(vfid, Actor()), "kept", b"content")
        with pytest.raises(VFolderExists):
            await volume.create_folder(vfid, FolderOptions())
        assert await content_of(await volume.folder(vfid, Actor()), "kept") == b"content"

    async def test_missing_vfolder(self, volume: IVolume) -> None:
        """There is no way into a vfolder that was never made."""
        with pytest.raises(VFolderNotFound):
            await volume.folder(new_vfid(), Actor())

    async def test_vfolders_are_apart(self, volume: IVolume) -> None:
        """What is put into one vfolder is not in another, be it of the same scope."""
        scope = new_scope()
        first, second = new_vfid(scope), new_vfid(scope)
        for vfid in (first, second):
            await volume.create_folder(vfid, FolderOptions())
        await put(await volume.folder(first, Actor()), "file", b"1")
        assert await names_in(await volume.folder(second, Actor())) == []

    async def test_deleting_what_is_missing_succeeds(self, volume: IVolume) -> None:
        """A delete that is sent again, or of nothing, is a success."""
        await volume.delete_folder(new_vfid())

    async def test_deleted_vfolder_can_be_made_again(self, volume: IVolume) -> None:
        """A delete takes everything, staged uploads too, and the identifier is free at once."""
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        folder = await volume.folder(vfid, Actor())
        await folder.make_dir(at("a"))
        await folder.make_dir(at("a/b"))
        await put(folder, "a/b/file", b"content")
        staged = await folder.stage(at("c"), None)
        await staged.close()
        await volume.delete_folder(vfid)
        assert vfid not in await volume.folders()
        await volume.create_folder(vfid, FolderOptions())
        assert await names_in(await volume.folder(vfid, Actor())) == []

    async def test_deleting_spares_the_neighbours(self, volume: IVolume) -> None:
        """Vfolders whose identifiers begin alike do not lose anything with each other."""
        scope = new_scope()
        gone, near, same_shard = (new_vfid(scope, shard) for shard in ("abcd", "abff", "abcd"))
        for vfid in (gone, near, same_shard):
            await volume.create_folder(vfid, FolderOptions())
        await put(await volume.folder(same_shard, Actor()), "kept", b"1")
        await volume.delete_folder(gone)
        assert set(await volume.folders()) == {near, same_shard}
        assert await content_of(await volume.folder(same_shard, Actor()), "kept") == b"1"

    async def test_making_and_deleting_side_by_side(self, volume: IVolume) -> None:
        """Vfolders that share their place on disk can be made and deleted at the same time."""
        scope = new_scope()
        vfids = [new_vfid(scope, "abcd") for _ in range(12)]

        async def come_and_go(vfid: VFolderId) -> None:
            for _ in range(3):
                await volume.create_folder(vfid, FolderOptions())
                await volume.delete_folder(vfid)
            await volume.create_folder(vfid, FolderOptions())

        await gatherResults([ensureDeferred(come_and_go(vfid)) for vfid in vfids], consumeErrors=True)
        assert set(await volume.folders()) == set(vfids)

    async def test_folder_of_a_deleted_vfolder(self, volume: IVolume) -> None:
        """Hands that were given out before a vfolder was deleted find nothing and make nothing."""
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        folder = await volume.folder(vfid, Actor())
        await volume.delete_folder(vfid)
        for attempt in (
            lambda: folder.stat(ROOT),
            lambda: folder.open(at("x"), READ),
            lambda: folder.open_dir(ROOT),
            lambda: folder.make_dir(at("x")),
            lambda: folder.stage(at("x"), None),
            lambda: folder.remove(at("x"), ANY),
            lambda: folder.rename(at("x"), at("y"), ANY),
        ):
            with pytest.raises(VFolderNotFound):
                await attempt()
        assert vfid not in await volume.folders()

    async def test_vfolder_deleted_under_an_upload(self, volume: IVolume) -> None:
        """An upload whose vfolder went away ends with an error of the family and brings nothing back."""
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        folder = await volume.folder(vfid, Actor())
        staged = await folder.stage(at("x"), None)
        await staged.append([b"before"])
        await volume.delete_folder(vfid)
        with pytest.raises(GatewayError):
            await staged.append([b"after"])
            await staged.commit(at("x"), ANY)
        await staged.discard()
        assert vfid not in await volume.folders()

    async def test_upload_into_a_vfolder_made_again(self, volume: IVolume) -> None:
        """A stage of a deleted vfolder does not come up in the one that has its identifier now."""
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        staged = await (await volume.folder(vfid, Actor())).stage(at("x"), None)
        await volume.delete_folder(vfid)
        await volume.create_folder(vfid, FolderOptions())
        with pytest.raises(GatewayError):
            await staged.append([b"late"])
            await staged.commit(at("x"), ANY)
        await staged.discard()
        assert await names_in(await volume.folder(vfid, Actor())) == []

    async def test_mode_of_a_vfolder(self, volume: IVolume) -> None:
        """The mode asked for is the mode made, whatever the umask, where modes are kept."""
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions(mode=0o777))
        folder = await volume.folder(vfid, Actor())
        assert not self.claims(IModes, folder) or (await folder.stat(ROOT)).mode == 0o777

    async def test_scopes(self, volume: IVolume) -> None:
        """A scope is made once, and found."""
        scope = new_scope()
        assert not await volume.has_scope(scope)
        await volume.create_scope(scope)
        assert await volume.has_scope(scope)
        with pytest.raises(QuotaScopeExists):
            await volume.create_scope(scope)

    async def test_vfolder_brings_its_scope(self, volume: IVolume) -> None:
        """Making a vfolder makes the place of its scope, which outlives it."""
        vfid = new_vfid()
        assert vfid.scope is not None
        await volume.create_folder(vfid, FolderOptions())
        assert await volume.has_scope(vfid.scope)
        await volume.delete_folder(vfid)
        assert await volume.has_scope(vfid.scope)

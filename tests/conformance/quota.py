"""Promises about storage that limits vfolders itself."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.conformance.harness import Able, VolumeCase, at, content_of, names_in, new_vfid, put
from vfgateway.abilities import IFastClone, INativeFolderQuota
from vfgateway.errors import QuotaExceeded, VFolderNotFound
from vfgateway.model import ANY, Actor, FolderOptions, Limits, Usage

MIB = 1 << 20


class NativeFolderQuotaPromises(VolumeCase):
    """Where ``INativeFolderQuota`` is claimed, limits are kept, per vfolder."""

    #: Whether the storage here stops who writes too much, at once and to the block. All tell their limits, and count.
    enforces: ClassVar[bool] = False

    async def test_native_limits(self, volume: Able) -> None:
        """They are set, rounded up, changed and lifted, for one vfolder alone."""
        if not self.claims(INativeFolderQuota, volume):
            return
        vfid, other = new_vfid(), new_vfid()
        for each in (vfid, other):
            await volume.create_folder(each, FolderOptions())
        assert (await volume.native_folder_usage(vfid))[1] == Limits()
        for wanted in (Limits(5 * MIB, 100), Limits(1), Limits(0), Limits(files=0), Limits(1 << 45, 1 << 30)):
            await volume.set_folder_limits(vfid, wanted)
            step = volume.limit_step
            rounded = None if wanted.bytes is None else max(1, -(-wanted.bytes // step)) * step
            files = wanted.files if volume.limits_files else None
            assert (await volume.native_folder_usage(vfid))[1] == Limits(rounded, files)
        await volume.set_folder_limits(vfid, Limits())
        assert (await volume.native_folder_usage(vfid))[1] == Limits()
        assert (await volume.native_folder_usage(other))[1] == Limits()
        for missing in (new_vfid(), new_vfid(vfid.scope)):
            with pytest.raises(VFolderNotFound):
                await volume.set_folder_limits(missing, Limits(MIB))
            with pytest.raises(VFolderNotFound):
                await volume.native_folder_usage(missing)

    async def test_native_limits_of_copies_and_successors(self, volume: Able) -> None:
        """A copy has none of the original's, and neither has who comes after it."""
        if not self.claims(INativeFolderQuota, volume):
            return
        copies = IFastClone.providedBy(volume)
        vfid, copy = new_vfid(), new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        await put(await volume.folder(vfid, Actor()), "file", b"content")
        await volume.set_folder_limits(vfid, Limits(MIB, 10))
        if copies:
            await volume.clone_folder(vfid, copy)
            assert (await volume.native_folder_usage(copy))[1] == Limits()
            await volume.set_folder_limits(copy, Limits(2 * MIB))
            files = 10 if volume.limits_files else None
            assert (await volume.native_folder_usage(vfid))[1] == Limits(MIB, files)
        await volume.delete_folder(vfid)
        await volume.create_folder(vfid, FolderOptions())
        assert (await volume.native_folder_usage(vfid))[1] == Limits()

    async def test_enforced_bytes(self, volume: Able) -> None:
        """What does not fit is refused as a limit's, and leaves nothing; what fits to the last block is stored; other vfolders do not notice."""
        if not self.claims(INativeFolderQuota, volume) or not self.enforces:
            return
        vfid, other = new_vfid(), new_vfid()
        for each in (vfid, other):
            await volume.create_folder(each, FolderOptions())
        folder = await volume.folder(vfid, Actor())
        await put(folder, "first", b"")
        (before, _) = await volume.native_folder_usage(vfid)
        await volume.set_folder_limits(vfid, Limits(before.bytes + 2 * MIB))
        with pytest.raises(QuotaExceeded) as refused:
            await put(folder, "large", bytes(2 * MIB + 1))
        assert refused.value.resource == "bytes"
        assert await names_in(folder) == ["first"]
        await put(folder, "fits", bytes(2 * MIB))
        assert len(await content_of(folder, "fits")) == 2 * MIB
        (full, limits) = await volume.native_folder_usage(vfid)
        assert full.bytes == limits.bytes
        with pytest.raises(QuotaExceeded):
            await put(folder, "more", b"x")
        await put(await volume.folder(other, Actor()), "large", bytes(4 * MIB))
        await folder.remove(at("fits"), ANY)
        await put(folder, "fits again", bytes(2 * MIB))

    async def test_enforced_files(self, volume: Able) -> None:
        """Entries as well; some more than the limit, for what is no entry."""
        if not self.claims(INativeFolderQuota, volume) or not self.enforces:
            return
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        await volume.set_folder_limits(vfid, Limits(files=5))
        folder = await volume.folder(vfid, Actor())
        for number in range(5):
            await folder.make_dir(at(f"{number}"))
        with pytest.raises(QuotaExceeded) as refused:
            for number in range(5, 200):
                await folder.make_dir(at(f"{number}"))
        assert refused.value.resource == "files"

    async def test_enforced_on_what_was_there(self, volume: Able) -> None:
        """A limit below what is stored is no error; nothing can be added then."""
        if not self.claims(INativeFolderQuota, volume) or not self.enforces:
            return
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        folder = await volume.folder(vfid, Actor())
        await put(folder, "file", bytes(MIB))
        (used, _) = await volume.native_folder_usage(vfid)
        assert MIB <= used.bytes < 2 * MIB
        assert Usage(0, 1).files <= used.files <= 3
        await volume.set_folder_limits(vfid, Limits(4096))
        with pytest.raises(QuotaExceeded):
            await put(folder, "more", bytes(8192))
        assert len(await content_of(folder, "file")) == MIB

"""Promises about what was there before the gateway, where ``IAdoption`` is claimed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.harness import VolumeCase, at, content_of, exists, names_in, new_vfid, put
from vfgateway.abilities import IAdoption
from vfgateway.errors import InvalidPath, NotADirectory, NotFound, VFolderExists, VFolderNotFound
from vfgateway.interfaces import IVolume
from vfgateway.model import ANY, Actor, FolderOptions


class AdoptionPromises(VolumeCase):
    """What lies on the storage already becomes a vfolder where it lies, and outlives it."""

    def foreign_place(self, tmp_path: Path) -> str:
        """Something that may be adopted, in the storage's own words: it holds a directory ``dir``, and in that a file ``file`` with ``content``.
        The same every time it is asked for."""
        raise NotImplementedError

    def foreign_file(self, tmp_path: Path) -> str:
        """The place of that file, which cannot become a vfolder; some storages have no words for it."""
        raise NotImplementedError

    def missing_place(self, tmp_path: Path) -> str:
        """One where nothing is, and which might be adopted if there were anything."""
        raise NotImplementedError

    def forbidden_place(self, tmp_path: Path) -> str:
        """One that is there, and that the configuration does not allow."""
        raise NotImplementedError

    async def test_what_lies_there_becomes_a_vfolder(self, volume: IVolume, tmp_path: Path) -> None:
        """Nothing of it changes; it is read and written like any other; and the storage tells of it when it is asked for vfolders."""
        if not self.claims(IAdoption, volume):
            return
        vfid, place = new_vfid(), self.foreign_place(tmp_path)
        await volume.adopt_folder(vfid, place)  # type: ignore[attr-defined]
        folder = await volume.folder(vfid, Actor())
        assert await names_in(folder) == ["dir"]
        assert await content_of(folder, "dir/file") == b"content"
        await put(folder, "dir/new", b"more")
        assert await content_of(folder, "dir/new") == b"more"
        await folder.rename(at("dir/file"), at("moved"), ANY)
        assert (await content_of(folder, "moved"), await exists(folder, "dir/file")) == (b"content", False)
        assert vfid in await volume.folders()

    async def test_its_content_outlives_the_vfolder(self, volume: IVolume, tmp_path: Path) -> None:
        """To delete the vfolder gives back what was adopted, with what was written meanwhile; it can be adopted again."""
        if not self.claims(IAdoption, volume):
            return
        first, second, place = new_vfid(), new_vfid(), self.foreign_place(tmp_path)
        await volume.adopt_folder(first, place)  # type: ignore[attr-defined]
        await put(await volume.folder(first, Actor()), "dir/new", b"more")
        await volume.delete_folder(first)
        assert first not in await volume.folders()
        with pytest.raises(VFolderNotFound):
            await volume.folder(first, Actor())
        await volume.adopt_folder(second, place)  # type: ignore[attr-defined]
        again = await volume.folder(second, Actor())
        assert [await content_of(again, name) for name in ("dir/file", "dir/new")] == [b"content", b"more"]

    async def test_what_cannot_be_adopted_is_refused(self, volume: IVolume, tmp_path: Path) -> None:
        """What is missing, no directory, or not allowed; and a vfolder that is there keeps its own content."""
        if not self.claims(IAdoption, volume):
            return
        place = self.foreign_place(tmp_path)
        refusals: list[tuple[str, Any]] = [
            (self.missing_place(tmp_path), NotFound),
            (self.foreign_file(tmp_path), (NotADirectory, InvalidPath)),
            (self.forbidden_place(tmp_path), InvalidPath),
            ("", InvalidPath),
            (f"{place}\0", InvalidPath),
        ]
        for refused, error in refusals:
            vfid = new_vfid()
            with pytest.raises(error):
                await volume.adopt_folder(vfid, refused)  # type: ignore[attr-defined]
            assert vfid not in await volume.folders()
        present = new_vfid()
        await volume.create_folder(present, FolderOptions())
        with pytest.raises(VFolderExists):
            await volume.adopt_folder(present, place)  # type: ignore[attr-defined]
        assert await names_in(await volume.folder(present, Actor())) == []

"""A volume on disk, and where it lies, for tests that look behind the interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted

from tests.conformance.harness import Able, make_runtime, new_vfid
from vfgateway.backends.vfs import VfsSettings, VfsVolume
from vfgateway.backends.vfs.resolve import KernelResolver, Resolver, WalkResolver
from vfgateway.model import Actor, FolderOptions, VFolderId


@attrs.define
class Disk:
    """A started volume with one vfolder."""

    volume: VfsVolume
    vfid: VFolderId
    folder: Able
    root: Path


Opener = Callable[..., VfsVolume]


@pytest.fixture(params=[KernelResolver, WalkResolver])
def resolver(request: pytest.FixtureRequest) -> Resolver:
    """Both ways of opening paths."""
    made: Resolver = request.param()
    return made


@pytest.fixture
def make_volume(tmp_path: Path) -> Opener:
    """Makes a volume with settings; it lies in ``tmp_path / "volume"``."""

    def make(resolver: Resolver | None = None, **settings: Any) -> VfsVolume:
        settings.setdefault("path", tmp_path / "volume")
        settings.setdefault("durability", "none")
        return VfsVolume("disk", VfsSettings(**settings), make_runtime(tmp_path), resolver)

    return make


async def furnish(volume: VfsVolume, actor: Actor = Actor()) -> Disk:  # noqa: B008
    """Start a volume and make a vfolder on it."""
    await volume.start()
    vfid = new_vfid()
    await volume.create_folder(vfid, FolderOptions())
    return Disk(volume, vfid, await volume.folder(vfid, actor), Path(await volume.mount_path(vfid)))


@pytest_twisted.async_yield_fixture
async def disk(make_volume: Opener) -> AsyncIterator[Disk]:
    """A volume with the kernel's way of opening."""
    disk = await furnish(make_volume())
    yield disk
    await disk.volume.stop()


class Turns:
    """Turns of the reactor: whoever is called has one for himself.

    :param company: whether others have something to say in it, too
    """

    def __init__(self, company: bool) -> None:
        self._company = company
        self._ending: list[Callable[[], object]] = []

    def at_end(self, _: Any, call: Callable[[], object]) -> bool:
        """In place of the reactor's."""
        if self._company:
            self._ending.append(call)
        return self._company

    def __call__(self, *asked: Callable[[], Any]) -> list[Any]:
        """What those who ask in one turn are told."""
        try:
            return [ask() for ask in asked]
        finally:
            ending, self._ending = self._ending, []
            for call in ending:
                call()


@pytest.fixture(params=[False, True], ids=["alone", "in company"])
def turns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Turns:
    """Both kinds."""
    made = Turns(request.param)
    monkeypatch.setattr("vfgateway.backends.vfs.near.at_end", made.at_end)
    return made

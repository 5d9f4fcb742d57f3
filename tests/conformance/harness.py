"""What every part of the suite stands on: a volume of the implementation under test, a vfolder on it, and short words for the
things that tests do most."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest_twisted
from twisted.internet import reactor
from zope.interface import Interface

from vfgateway.blocking import Pool
from vfgateway.interfaces import IFolder, IVolume
from vfgateway.model import ANY, Actor, Expect, FolderOptions, OpenMode, Published, QuotaScopeId, ScopeKind, VFolderId
from vfgateway.paths import FolderPath, parse_text
from vfgateway.runtime import Runtime, State

#: Opens a file for writing, as SFTP does.
WRITE_NEW = OpenMode.READ | OpenMode.WRITE | OpenMode.CREATE
#: Opens a file that is there for writing.
WRITE = OpenMode.READ | OpenMode.WRITE
READ = OpenMode.READ
#: A volume, vfolder or file with an ability, which its own interface does not name.
Able = Any


class VolumeCase:
    """The base of all promises. A concrete class says how a volume is made and which abilities it claims."""

    #: The word after ``backend =``.
    backend: ClassVar[str]
    #: Abilities that the volume, its vfolders or its files provide. All others must not be provided.
    abilities: ClassVar[frozenset[type[Interface]]]

    async def make_volume(self, tmp_path: Path) -> IVolume:
        """A volume that holds nothing, not yet started."""
        raise NotImplementedError

    @pytest_twisted.async_yield_fixture
    async def volume(self, tmp_path: Path) -> AsyncIterator[IVolume]:
        volume = await self.make_volume(tmp_path)
        await volume.start()
        try:
            yield volume
        finally:
            await volume.stop()

    @pytest_twisted.async_fixture
    async def folder(self, volume: IVolume) -> Able:
        return await new_folder(volume)

    def claims(self, ability: type[Interface], thing: Any) -> bool:
        """Whether ``thing`` is to provide ``ability``, after checking that it does, or does not."""
        claimed = ability in self.abilities
        assert ability.providedBy(thing) is claimed
        return claimed


def make_runtime(tmp_path: Path, state: State | None = None) -> Runtime:
    """The outside world as the gateway hands it to a volume, without a network."""

    def pool(size: int, inline: bool = False) -> Pool:
        return Pool(reactor, size, "conformance", inline)

    return Runtime(reactor, pool, agent=None, spool=tmp_path / "spool", state=state or NoState())


class NoState:
    """For volumes that keep none."""

    def get(self, key: str) -> Any:
        raise AssertionError("this volume was not expected to keep state")

    def compare_and_set(self, key: str, old: bytes | None, new: bytes | None) -> Any:
        raise AssertionError("this volume was not expected to keep state")


def new_scope() -> QuotaScopeId:
    return QuotaScopeId(ScopeKind.USER, uuid4())


def new_vfid(scope: QuotaScopeId | None = None, shard: str = "") -> VFolderId:
    """A fresh identifier; ``shard`` gives its first hexadecimal digits."""
    digits = uuid4().hex
    return VFolderId(scope or new_scope(), UUID(shard + digits[len(shard) :]))


async def new_folder(volume: IVolume, actor: Actor = Actor()) -> Able:  # noqa: B008
    """The content of a new, empty vfolder."""
    vfid = new_vfid()
    await volume.create_folder(vfid, FolderOptions())
    return await volume.folder(vfid, actor)


def at(text: str) -> FolderPath:
    """A path, as a client would write it."""
    return parse_text(text)


async def put(folder: IFolder, path: str | FolderPath, content: bytes, expect: Expect = ANY) -> Published:
    """Publish a file."""
    target = at(path) if isinstance(path, str) else path
    staged = await folder.stage(target, len(content))
    try:
        await staged.append([content])
        return await staged.commit(target, expect, sync=False)
    except BaseException:
        await staged.discard()
        raise


async def content_of(folder: IFolder, path: str | FolderPath) -> bytes:
    """All bytes of a file."""
    file = await folder.open(at(path) if isinstance(path, str) else path, READ)
    try:
        content = b""
        while piece := await file.read(len(content), 1 << 20):
            content += piece
        return content
    finally:
        await file.close()


async def names_in(folder: IFolder, path: str | FolderPath = "", batch: int = 100) -> list[str]:
    """All names of a directory, sorted."""
    listing = await folder.open_dir(at(path) if isinstance(path, str) else path)
    try:
        found: list[str] = []
        while entries := await listing.read(batch):
            assert len(entries) <= batch
            found.extend(entry.name for entry in entries)
        return sorted(found)
    finally:
        await listing.close()


async def exists(folder: IFolder, path: str) -> bool:
    """Whether a directory lists the name."""
    whole = at(path)
    return whole.name in await names_in(folder, whole.parent)

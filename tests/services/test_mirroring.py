"""How a copy of a vfolder is brought after it: files with several names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import Clock

from tests.conformance.harness import Able, new_vfid, put
from vfgateway.backends.memory import MemoryVolume
from vfgateway.blocking import Pool
from vfgateway.model import Actor, FolderOptions
from vfgateway.paths import parse_text as path
from vfgateway.services.changes import Logged
from vfgateway.services.mirroring import Mirror
from vfgateway.services.relocation_index import Index


@attrs.define
class Copying:
    """A vfolder and its copy, in memory.

    :ivar clock: a minute goes by after each directory
    """

    source: Able
    target: Able
    mirror: Mirror
    clock: Clock

    async def names_are_one(self, *names: str) -> bool:
        return len({(await self.target.stat(path(name))).identity for name in names}) == 1


@pytest_twisted.async_yield_fixture
async def copying(tmp_path: Path) -> AsyncIterator[Copying]:
    """In which nothing has been copied."""
    vfid, clock, pool = new_vfid(), Clock(), Pool(reactor, 1, "index")
    volumes = [MemoryVolume(name, reactor) for name in ("source", "target")]
    for volume in volumes:
        await volume.start()
        await volume.create_folder(vfid, FolderOptions())
    source, target = [await volume.folder(vfid, Actor()) for volume in volumes]

    async def tell(_: int) -> None:
        clock.advance(60)

    pool.start()
    index = Index(tmp_path / "index", pool)
    await index.open()
    yield Copying(source, target, Mirror(source, volumes[1], vfid, index, clock, tell), clock)
    await index.close()
    await pool.stop()
    for volume in volumes:
        await volume.stop()


async def test_a_file_stays_one_where_one_of_its_names_is_copied_again(copying: Copying) -> None:
    """As it is where the first was so young, when it was copied, that it may have been changed since."""
    await copying.source.make_dir(path("d"))
    await put(copying.source, "d/tool", b"content")
    for name in ("first", "d/third"):
        await copying.source.hard_link(path("d/tool"), path(name))
    copying.clock.advance((await copying.source.stat(path("first"))).ctime_ns / 1e9)
    for _ in range(3):
        await copying.mirror.walk()
        assert await copying.names_are_one("first", "d/tool", "d/third")
    assert copying.mirror.copied == 2


async def test_a_file_stays_one_where_a_directory_with_one_of_its_names_came_along(copying: Copying) -> None:
    """Its other names are elsewhere, where nothing has changed."""
    for name in ("d", "e"):
        await copying.source.make_dir(path(name))
    await put(copying.source, "d/tool", b"content")
    await copying.source.hard_link(path("d/tool"), path("second"))
    copying.clock.advance(reactor.seconds() + 60)
    await copying.mirror.walk()
    await copying.source.hard_link(path("second"), path("e/third"))
    await copying.mirror.catch_up([Logged(path("e"), 1, 1, 0, False)], 0)
    assert await copying.names_are_one("second", "d/tool", "e/third")

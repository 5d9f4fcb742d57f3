"""Vfolders come onto a volume, and leave it, while they are in use: with a volume on this machine's disk as the other place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.conformance.harness import Able, VolumeCase, make_runtime
from tests.services.test_lifecycle import finished
from tests.services.test_session import get, names, put
from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from vfgateway.abilities import ILinks, IModes
from vfgateway.backends.vfs import VfsSettings, VfsVolume
from vfgateway.model import Attrs, VFolder
from vfgateway.paths import parse_text as path
from vfgateway.services.audit_records import Filter
from vfgateway.services.gateway import Gateway
from vfgateway.services.processes import wait
from vfgateway.services.session import FolderSession
from vfgateway.services.taskrecords import FINISHED, Task, TaskState

#: More than any backend stores, reads or copies at once.
LARGE = bytes(range(256)) * 256 * 4 * 33
MTIME = 1_600_000_000 * 10**9
FILES = {
    "empty file": b"",
    "large": LARGE,
    "d/e/f/tool": b"#!/bin/sh",
    "d/ä ö 名前 %41+&;#'": b"odd",
    "d/.hidden": b"hidden",
}


class MovePromises(VolumeCase):
    """On every volume: what its abilities allow arrives, and what they do not is not lost."""

    async def test_vfolders_move_onto_it_and_off_again(self, volume: Able, tmp_path: Path) -> None:
        """With all that is in them, and with what is written, replaced and removed meanwhile; figures and the audit tell the same."""
        async with self._gateway(volume, tmp_path) as gateway:
            vfolder = await new_vfolder(gateway, "home", limit_bytes=4 * len(LARGE))
            here = await orchestrator_in(gateway, vfolder)
            expected = dict(FILES)
            for name, content in FILES.items():
                await put(here, path(name), content)
            await here.make_dir(path("empty"))
            for name in ("d/e/f/tool", "large"):
                await here.set_attrs(path(name), Attrs(mode=0o750, mtime_ns=MTIME))
            if ILinks in self.abilities:
                await here.make_link(path("d/link"), "e/f/tool")
                await here.hard_link(path("d/e/f/tool"), path("second"))
                expected["second"] = FILES["d/e/f/tool"]
            for turn, place in enumerate((volume.name, "home")):
                await _is_moved_under_a_writer(gateway, vfolder, place, expected)
                vfolder = await gateway.vfolders.by_key(vfolder.key)
                assert vfolder.volume == place
                there = await orchestrator_in(gateway, vfolder)
                await self._has_all(there, expected)
                counted = await gateway.lifecycle.recount(vfolder)
                assert counted == await gateway.quota.usage(vfolder)
                moves = await gateway.audit.find(Filter(event="vfolder_moved"), 10)
                assert [each.outcome for each in moves] == ["done"] * (turn + 1)

    async def _has_all(self, there: FolderSession, expected: dict[str, bytes]) -> None:
        tops = {name.partition("/")[0] for name in expected}
        assert set(await names(there)) == tops | {"empty"}
        assert await names(there, path("empty")) == []
        for name, content in expected.items():
            assert await get(there, path(name)) == content, name
        tool = await there.stat(path("d/e/f/tool"))
        assert tool.mtime_ns == MTIME
        if IModes in self.abilities:
            assert tool.mode == 0o750
        if ILinks in self.abilities:
            assert (await there.stat(path("d/link"))).target == "e/f/tool"
            second = await there.stat(path("second"))
            assert tool.identity == second.identity

    async def test_what_it_cannot_hold_keeps_a_vfolder_where_it_is(self, volume: Able, tmp_path: Path) -> None:
        """The task says what it is; nothing is lost, and nothing left on the volume. Without it the vfolder moves, as it does to where all can be held."""
        odds = list(filter(self._is_odd(volume), ("d/link", "d/FILE", "d/x:y", "d/\udcff")))
        async with self._gateway(volume, tmp_path) as gateway:
            vfolder = await new_vfolder(gateway, "home")
            here = await orchestrator_in(gateway, vfolder)
            await put(here, path("d/file"), b"content")
            for odd in odds:
                if odd == "d/link":
                    await here.make_link(path(odd), "file")
                else:
                    await put(here, path(odd), b"odd")
                task = await _moved(gateway, vfolder, volume.name)
                assert task.state is TaskState.FAILED, odd
                assert odd.replace("\udcff", "\\xff") in task.message
                assert await volume.folders() == []
                assert (await gateway.vfolders.by_key(vfolder.key)).volume == "home"
                assert await names(here, path("d")) == sorted([path(odd).name, "file"])
                await here.remove(path(odd))
            task = await _moved(gateway, vfolder, volume.name)
            assert task.state is TaskState.DONE, task.message
            there = await orchestrator_in(gateway, await gateway.vfolders.by_key(vfolder.key))
            assert await get(there, path("d/file")) == b"content"

    def _is_odd(self, volume: Able) -> Callable[[str], bool]:
        """Whether the volume cannot hold something of that name."""

        def is_odd(name: str) -> bool:
            if name == "d/link":
                return ILinks not in self.abilities
            return not volume.names.allows(path(name).name) or (name == "d/FILE" and volume.names.case_folding)

        return is_odd

    @asynccontextmanager
    async def _gateway(self, volume: Any, tmp_path: Path) -> AsyncIterator[Gateway]:
        """One that serves the volume, and another on the disk."""
        home = VfsVolume("home", VfsSettings(path=tmp_path / "home", durability="none"), make_runtime(tmp_path))
        async with running_gateway(tmp_path / "gateway", [home, volume]) as gateway:
            yield gateway


async def _is_moved_under_a_writer(gateway: Gateway, vfolder: VFolder, place: str, expected: dict[str, bytes]) -> None:
    """Move it while files come, are replaced and go; ``expected`` is brought up to date."""
    here = await orchestrator_in(gateway, vfolder)
    begun = await gateway.relocation.begin(vfolder, place)
    count = 0
    while (task := await gateway.tasks.get(begun)).state not in FINISHED:
        for name in (f"new {count % 5}", "d/replaced"):
            expected[name] = b"%s %d" % (place.encode(), count)
            await put(here, path(name), expected[name])
        if count % 5 == 4:
            await here.remove(path("new 2"))
            del expected["new 2"]
        count += 1
        await wait(gateway.reactor, 0.02)  # others want to work, too
    assert task.state is TaskState.DONE, task.message


async def _moved(gateway: Gateway, vfolder: VFolder, place: str) -> Task:
    """The task, when it has ended."""
    return await finished(gateway, await gateway.relocation.begin(vfolder, place))

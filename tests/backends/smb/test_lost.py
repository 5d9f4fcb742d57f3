"""Connections that are cut, and servers that die, come back, or say nothing: nothing acknowledged is lost, nothing hangs, no wrong byte is read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import LogEvent, globalLogPublisher

from tests.backends.smb.conftest import type_make
from tests.conformance.harness import READ, WRITE_NEW, Able, at, content_of, exists, names_in, new_folder, put
from tests.support.relay import Relay
from tests.support.samba import Samba
from vfgateway.backends.smb import SmbVolume, links
from vfgateway.errors import GatewayError, VolumeUnavailable
from vfgateway.model import ANY, Actor, HealthState

pytestmark = pytest.mark.usefixtures("hurry")

OLD = b"old content"
NEW = random.Random(1).randbytes(1_300_000)
#: What the tests wait for altogether before they give up, in seconds.
PATIENCE = 60.0


@pytest.fixture
def relay(samba: Samba) -> Iterator[Relay]:
    """The network between."""
    with Relay(samba.port) as relay:
        yield relay


async def in_the_end(work: Any) -> Any:
    """The outcome of ``work()``, tried again for as long as the storage is away."""
    for _ in range(int(PATIENCE / 0.02)):
        try:
            return await work()
        except VolumeUnavailable:
            await deferLater(reactor, 0.02)
    return await work()


async def in_haste(samba: Samba, make: type_make, timeout: float, **settings: Any) -> tuple[SmbVolume, Able]:
    """A volume that gives the server little time, however busy the machine is, and a vfolder with ``file``."""
    patient = await make(samba, **settings)
    folder = await new_folder(patient)
    await put(folder, "file", OLD)
    hasty = await make(samba, start=False, path=patient.path.partition("/data/")[2], timeout=timeout, **settings)
    await in_the_end(hasty.start)
    return hasty, await in_the_end(lambda: hasty.folder(folder.tree.vfid, Actor()))


async def upload(folder: Able, pieces: int = 6) -> None:
    """Replace ``file`` by :data:`NEW`; leaves no stage if it fails."""
    staged = await in_the_end(lambda: folder.stage(at("file"), len(NEW)))
    try:
        size = len(NEW) // pieces
        for start in range(0, len(NEW), size):
            await staged.append([NEW[start : start + size]])
        await staged.commit(at("file"), ANY)
    except GatewayError:
        await in_the_end(staged.discard)
        raise


@pytest.mark.parametrize("part", [0.0, 0.1, 0.4, 0.7, 0.95, 1.0, 1.0005, 1.001])
async def test_upload_that_is_cut(
    samba: Samba, relay: Relay, make: type_make, driver: dict[str, Any], part: float
) -> None:
    """Wherever that is, readers see the old file, or the new one whole; what is not acknowledged leaves no stage."""
    volume = await make(samba, **{**driver, "port": relay.port, "timeout": 5})
    folder = await new_folder(volume)
    await put(folder, "file", OLD)
    relay.cut_after(int(len(NEW) * part) + random.Random(part).randrange(500))
    back = LoopingCall(lambda: relay.restore() if relay.happened.is_set() else None)
    back.start(0.05, now=False)  # the network is away for a moment
    try:
        await upload(folder)
        acknowledged = True
    except GatewayError:
        acknowledged = False
    finally:
        back.stop()
        relay.restore()
    found = await in_the_end(lambda: content_of(folder, "file"))
    assert found == NEW if acknowledged else found in (OLD, NEW)
    # Of a stage that the server made, and could not tell of, only the gateway's sweep knows.
    assert [stat.size for _, stat in await in_the_end(folder.stages) if part or stat.size] == []
    assert await names_in(folder) == ["file"]


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9])
async def test_download_whose_connection_is_reset(
    samba: Samba, relay: Relay, make: type_make, driver: dict[str, Any], part: float
) -> None:
    """The reader gets every byte: the file is opened again where the network is back; and an error where it is not."""
    volume = await make(samba, **{**driver, "port": relay.port})
    folder = await new_folder(volume)
    await put(folder, "file", NEW)
    file = await folder.open(at("file"), READ)
    relay.cut_after(int(len(NEW) * part), sent=False)
    found = b""
    while len(found) < len(NEW):
        try:
            found += await file.read(len(found), 200_000)
        except VolumeUnavailable:
            relay.restore()
            await deferLater(reactor, 0.02)
    await file.close()
    assert relay.happened.is_set()
    assert found == NEW


async def test_download_of_what_has_changed_meanwhile(samba: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """After a lost connection nobody is given the beginning of one file and the end of another."""
    volume = await make(samba, **driver)
    folder = await new_folder(volume)
    await put(folder, "file", NEW)
    file = await folder.open(at("file"), READ)
    assert await file.read(0, 1000) == NEW[:1000]
    other = await make(samba, **{**driver, "path": volume.path.partition("/data/")[2]})
    await put(await other.folder(folder.tree.vfid, Actor()), "file", NEW[::-1])
    samba.drop_connections()
    with pytest.raises(GatewayError):
        await in_the_end(lambda: file.read(1 << 20, 1000))
    await file.close()


async def test_server_that_is_killed_and_comes_back(samba: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """An upload under way fails, and is gone on with from what had arrived; open files for writing fail, and nothing else."""
    volume = await make(samba, **driver)
    folder = await new_folder(volume)
    staged = await folder.stage(at("file"), len(NEW))
    await staged.append([NEW[: 1 << 20]])
    await staged.sync()
    written = await folder.open(at("written"), WRITE_NEW)
    await written.write(0, [b"in place"])
    samba.kill()
    with pytest.raises(VolumeUnavailable):
        await staged.append([NEW[1 << 20 :]])
        await staged.sync()
    with pytest.raises(VolumeUnavailable):
        await folder.stat(at("written"))
    assert (await volume.health()).state is HealthState.UNAVAILABLE
    await staged.close()
    samba.start()
    await in_the_end(lambda: folder.stat(at("written")))
    assert (await volume.health()).state is HealthState.HEALTHY
    resumed = await folder.resume(staged.token, 1 << 20)
    await resumed.append([NEW[1 << 20 :]])
    await resumed.commit(at("file"), ANY)
    assert await content_of(folder, "file") == NEW
    assert await content_of(folder, "written") == b"in place"
    with pytest.raises(GatewayError):
        await written.write(0, [b"x"])
    await written.close()


async def test_server_that_says_nothing(samba: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """It counts as unavailable after the time that it is given, and is used again when it answers."""
    volume, folder = await in_haste(samba, make, 1, **driver)
    samba.pause()
    try:
        with pytest.raises(VolumeUnavailable):
            await folder.stat(at("file"))
        assert (await volume.health()).state is HealthState.UNAVAILABLE
    finally:
        samba.pause(stop=False)
    assert await in_the_end(lambda: content_of(folder, "file")) == OLD


async def test_connections_lost_while_idle(samba: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """Nobody notices."""
    volume = await make(samba, **driver)
    folder = await new_folder(volume)
    samba.drop_connections()
    await put(folder, "file", OLD)
    samba.drop_connections()
    assert await exists(folder, "file")


async def test_idle_connections_are_asked(
    samba: Samba, make: type_make, driver: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they are still there: one to a server that says nothing is given up before somebody needs it."""
    monkeypatch.setattr(links, "IDLE", 0.05)
    told: list[LogEvent] = []
    observer: Any = told.append
    _, folder = await in_haste(samba, make, 0.5, **driver)
    samba.pause()
    globalLogPublisher.addObserver(observer)
    try:
        for _ in range(int(PATIENCE / 0.02)):
            if any("an idle connection was lost" in str(event.get("log_format")) for event in told):
                break
            await deferLater(reactor, 0.02)
        else:
            pytest.fail("nobody asked")
    finally:
        globalLogPublisher.removeObserver(observer)
        samba.pause(stop=False)
    assert await in_the_end(lambda: content_of(folder, "file")) == OLD

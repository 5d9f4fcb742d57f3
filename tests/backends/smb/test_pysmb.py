"""What pysmb is known to do wrong, one test each: that it still does, so that a version which does not is noticed; and that nobody here suffers
from it."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from typing import Any

import pytest
from smb.base import _PendingRequest
from smb.smb_structs import DIALECTS2
from smb.SMBProtocol import SMBProtocol, SMBProtocolFactory
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.backends.smb.conftest import DRIVERS, type_make
from tests.backends.smb.test_lost import OLD, in_haste, in_the_end
from tests.conformance.harness import READ, WRITE_NEW, Able, at, content_of, new_folder, put
from tests.support.samba import Samba
from vfgateway.backends.smb.settings import SmbSettings
from vfgateway.errors import VolumeUnavailable
from vfgateway.model import ANY, Attrs

pytestmark = pytest.mark.usefixtures("hurry")

PYSMB = DRIVERS["pysmb"]
CONTENT = random.Random(2).randbytes(700_000)
#: Seconds that no test takes: what ends sooner was not ended by a time limit.
LONG = 3600


@pytest.fixture
def silent(samba: Samba) -> Iterator[Samba]:
    """Whatever a test does to it, it answers again afterwards."""
    yield samba
    samba.pause(stop=False)


async def furnished(volume: Able) -> Able:
    """A vfolder with one file."""
    folder = await new_folder(volume)
    await put(folder, "file", CONTENT)
    return folder


def begun(work: Any) -> Deferred[Any]:
    return Deferred.fromCoroutine(work)


class Bare(SMBProtocolFactory):  # type: ignore[misc]
    """The library by itself, logged in."""

    noisy = False

    def __init__(self, samba: Samba) -> None:
        super().__init__(samba.user, samba.password, "us", "them", is_direct_tcp=True)
        self.ready: Deferred[None] = Deferred()
        reactor.connectTCP("127.0.0.1", samba.port, self)

    def onAuthOK(self) -> None:
        reactor.callLater(0, self.ready.callback, None)  # after the library's own delayed call was made

    def end(self) -> None:
        """Without what it leaves behind."""
        self.instance.transport.abortConnection()
        for call in sweeps():
            call.cancel()


def sweeps() -> list[Any]:
    """The library's own delayed calls."""
    calls: Any = reactor.getDelayedCalls()
    return [call for call in calls if getattr(call.func, "__module__", "") == "smb.SMBProtocol"]


async def test_speaks_the_oldest_dialect_alone(samba: Samba, make: type_make) -> None:
    """Where the server has newer ones, too; a file of many commands is whole."""
    assert DIALECTS2 == [b"SMB 2.002"]
    volume = await make(samba, **PYSMB)
    assert (await volume.health()).metadata == {"dialect": "2.0.2"}
    assert await content_of(await furnished(volume), "file") == CONTENT


async def test_has_no_encryption(samba: Samba) -> None:
    """So a volume that wants it cannot be configured; ``test_servers`` has a server that wants it."""
    assert not [name for name in vars(SMBProtocol) if "crypt" in name.lower()]
    with pytest.raises(ValueError, match="cannot encrypt"):
        SmbSettings.model_validate(samba.settings(driver="pysmb"))


async def test_counts_no_credits(samba: Samba, make: type_make) -> None:
    """Two transfers at once end its connection; ours take turns on one."""
    volume = await make(samba, **PYSMB, connections=1)
    folder = await new_folder(volume)
    await gatherResults([begun(put(folder, f"{number}", CONTENT)) for number in range(6)])
    found = await gatherResults([begun(content_of(folder, f"{number}")) for number in range(6)])
    assert found == [CONTENT] * 6
    bare = Bare(samba)
    await bare.ready
    ended: Deferred[None] = Deferred()
    bare.clientConnectionLost = lambda *_: ended.callback(None)  # the server says: more credits than granted
    for number in range(2):
        bare.storeFile("data", f"bare-{number}", io.BytesIO(bytes(4 << 20)), timeout=LONG).addErrback(lambda _: None)
    await ended
    bare.end()


async def test_fails_nothing_when_its_connection_is_lost(silent: Samba, make: type_make) -> None:
    """Ours fails at once, and not when the time is over."""
    folder = await furnished(await make(silent, **PYSMB, timeout=LONG))
    file = await folder.open(at("file"), READ)
    silent.pause()
    waiting = begun(file.read(600_000, 1000))
    silent.drop_connections()
    silent.pause(stop=False)
    assert await waiting == CONTENT[600_000:601_000], "the file was opened again"
    await file.close()
    writing = await folder.open(at("file"), WRITE_NEW)
    bare = Bare(silent)
    await bare.ready
    lost: Deferred[None] = Deferred()
    bare.clientConnectionLost = lambda *_: lost.callback(None)
    silent.pause()
    waiting = begun(writing.write(0, [b"x"]))
    unanswered = bare.getAttributes("data", "file", timeout=LONG)
    silent.drop_connections()
    with pytest.raises(VolumeUnavailable):
        await waiting
    await writing.close()
    await lost
    assert bare.isReady
    assert not unanswered.called
    bare.end()


async def test_its_sweep_dies_of_the_first_timeout(silent: Samba, make: type_make) -> None:
    """Ours fire however often, and for all who wait."""
    _, folder = await in_haste(silent, make, 0.5, **PYSMB)
    for _ in range(2):
        silent.pause()
        waiting = [begun(folder.stat(at("file"))) for _ in range(3)]
        for each in waiting:
            with pytest.raises(VolumeUnavailable):
                await each
        silent.pause(stop=False)
        assert (await in_the_end(lambda: folder.stat(at("file")))).size == len(OLD)
    bare = Bare(silent)
    await bare.ready
    again = _PendingRequest(1, 0, None, lambda _: None)
    first = _PendingRequest(0, 0, None, lambda _: bare.instance.pending_requests.update({1: again}))
    bare.instance.pending_requests[0] = first  # of somebody who asks again when it fails
    with pytest.raises(RuntimeError):
        bare.instance._cleanupPendingRequests()
    bare.end()


async def test_its_sweep_never_ends(samba: Samba, make: type_make) -> None:
    """Ours is never begun: nothing is left in the reactor."""
    before = sweeps()
    volume = await make(samba, **PYSMB)
    await furnished(volume)
    await volume.stop()
    assert sweeps() == before
    bare = Bare(samba)
    await bare.ready
    bare.closeConnection()
    assert len(sweeps()) == len(before) + 1
    bare.end()


async def test_cannot_write_at_an_offset_cut_or_set_times(samba: Samba, make: type_make) -> None:
    """Ours can."""
    lacking = ("storeFileFromOffset", "setTime", "truncate", "setAttributes")
    assert not [name for name in lacking if hasattr(SMBProtocolFactory, name)]
    folder = await furnished(await make(samba, **PYSMB))
    file = await folder.open(at("file"), WRITE_NEW)
    await file.write(100_000, [b"in the middle"])
    await file.truncate(200_000)
    await file.close()
    assert (await folder.set_attrs(at("file"), Attrs(mtime_ns=10**18))).mtime_ns == 10**18
    expected = CONTENT[:100_000] + b"in the middle" + CONTENT[100_013:200_000]
    assert await content_of(folder, "file") == expected


async def test_does_not_replace_by_renaming(samba: Samba, make: type_make) -> None:
    """Ours does, in one step."""
    folder = await furnished(await make(samba, **PYSMB))
    await put(folder, "other", b"moved")
    await folder.rename(at("other"), at("file"), ANY)
    assert await content_of(folder, "file") == b"moved"
    bare = Bare(samba)
    await bare.ready
    for name in ("old", "new"):
        await bare.storeFile("data", name, io.BytesIO(name.encode()))
    with pytest.raises(Exception, match="0xC0000035"):
        await bare.rename("data", "new", "old")
    bare.end()


async def test_calls_files_in_the_reactor(silent: Samba, make: type_make) -> None:
    """Ours gives it none: while a server says nothing, everything else goes on."""
    folder = await furnished(await make(silent, **PYSMB, timeout=LONG))
    file = await folder.open(at("file"), READ)
    silent.pause()
    waiting = begun(file.read(300_000, 300_000))
    for _ in range(20):
        await deferLater(reactor, 0.001)
    assert not waiting.called
    silent.pause(stop=False)
    assert await waiting == CONTENT[300_000:600_000]
    await file.close()

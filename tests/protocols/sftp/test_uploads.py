"""``.uploads/``: what tus began and lost, continued by a client of SFTP."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import paramiko
import pytest
from twisted.internet.threads import deferToThread

from tests.protocols.sftp.conftest import connected, port_of, type_serve
from tests.protocols.sftp.test_frontend import with_alice
from tests.services.test_handles import lock
from tests.services.test_session import get, put
from tests.support.gateway import orchestrator_in
from tests.support.process import ALICE
from vfgateway.errors import NotFound
from vfgateway.model import ABSENT, Permission, Usage, VFolder
from vfgateway.paths import parse_text as path
from vfgateway.principals import Origin
from vfgateway.services.gateway import Gateway
from vfgateway.services.resumable import ResumableUpload
from vfgateway.services.session import FolderSession

CONTENT = os.urandom(300_000)
CUT = 100_001


@attrs.frozen
class Lost:
    """Alice's vfolder ``data``, and what she does there by the other protocol."""

    gateway: Gateway
    vfolder: VFolder
    mine: FolderSession
    port: int

    async def begin(
        self, target: str = "big.iso", size: int | None = len(CONTENT), sent: int = CUT, **about: Any
    ) -> ResumableUpload:
        """An upload of which ``sent`` bytes have come before the connection broke."""
        upload = await self.gateway.staging.begin(self.mine, path(target), size=size, **about)
        await upload.acquire()
        await upload.write([CONTENT[:sent]])
        await upload.release()
        return upload

    async def by_sftp(self, work: Callable[[paramiko.SFTPClient], Any], user: str = ALICE[0]) -> Any:
        """Run ``work`` with a client in ``/data``."""

        def run() -> Any:
            with connected(self.port, user) as client:
                sftp = client.open_sftp()
                sftp.chdir("/data")
                return work(sftp)

        return await deferToThread(run)

    async def continue_by_sftp(self, name: str, data: bytes, flags: str = "a") -> None:
        """Append as ``reput`` does."""

        def work(sftp: paramiko.SFTPClient) -> None:
            with sftp.open(f".uploads/{name}", flags) as file:
                file.write(data)

        await self.by_sftp(work)

    @property
    async def usage(self) -> Usage:
        """What the vfolder is charged with."""
        return await self.gateway.quota.usage(self.vfolder)


@pytest.fixture
def lost(tmp_path: Path, serve: type_serve) -> Callable[..., Any]:
    """Serves a vfolder with such options."""

    @asynccontextmanager
    async def lost(**options: Any) -> AsyncIterator[Lost]:
        async with with_alice(tmp_path, **options) as (gateway, vfolder), serve(gateway) as service:
            principal = await gateway.accounts.principal_named(ALICE[0])
            mine = await gateway.session(principal, Origin("tus", "192.0.2.1")).folder_named("data")
            yield Lost(gateway, vfolder, mine, port_of(service))

    return lost


async def test_a_lost_upload_is_shown_and_goes_on(lost: Callable[..., Any]) -> None:
    """With its name, size and time; it becomes the file once its length is reached, without a byte twice, and is charged once."""
    async with lost() as there:
        upload = await there.begin("deep/er/big.iso")
        name = f"big.iso-{upload.id}"

        def look(sftp: paramiko.SFTPClient) -> None:
            assert sftp.listdir(".") == []
            assert stat.S_ISDIR(sftp.stat(".uploads").st_mode or 0)
            (entry,) = sftp.listdir_attr(".uploads")
            assert (entry.filename, entry.st_size) == (name, CUT)
            found = sftp.stat(f".uploads/{name}")
            assert (found.st_size, stat.S_ISREG(found.st_mode or 0)) == (CUT, True)
            assert abs((found.st_mtime or 0) - there.gateway.reactor.seconds()) < 60

        await there.by_sftp(look)
        await there.continue_by_sftp(name, CONTENT[CUT:200_000])
        assert (await there.by_sftp(lambda sftp: sftp.stat(f".uploads/{name}"))).st_size == 200_000
        with pytest.raises(NotFound):
            await there.mine.stat(path("deep"))
        await there.continue_by_sftp(name, CONTENT[200_000:])
        assert await get(there.mine, path("deep/er/big.iso")) == CONTENT
        told = there.gateway.metrics.render().decode()
        assert f'vfgateway_received_bytes_total{{protocol="sftp"}} {float(len(CONTENT))}\n' in told
        assert await there.by_sftp(lambda sftp: sftp.listdir(".uploads")) == []
        assert await there.usage == Usage(len(CONTENT), 3)


async def test_it_goes_on_at_its_end_and_nowhere_else(lost: Callable[..., Any]) -> None:
    """A write at any other offset, a put from the beginning, reading and cutting are refused, and what is there stays."""
    async with lost() as there:
        upload = await there.begin()
        name = f".uploads/big.iso-{upload.id}"

        def work(sftp: paramiko.SFTPClient) -> None:
            for offset in (0, CUT - 1, CUT + 1):
                with sftp.open(name, "r+") as file:
                    file.seek(offset)
                    with pytest.raises(
                        OSError, match=f"goes on at byte {CUT}, not at {offset}: continue it with reput"
                    ):
                        file.write(b"x")
                        file.flush()
            with pytest.raises(OSError, match=f"{CUT} bytes of this upload are there already"):
                sftp.open(name, "w")
            with pytest.raises(OSError, match="reading an upload before it is whole"):
                sftp.open(name)
            with pytest.raises(OSError, match="cutting or extending"):
                sftp.open(name, "r+").truncate(3)
            with pytest.raises(FileNotFoundError):
                sftp.open(f".uploads/big.iso-{'0' * 32}", "a")
            with pytest.raises(OSError, match="renaming an upload"):
                sftp.rename(name, ".uploads/other")
            with pytest.raises(OSError, match=f"only {CUT} of {len(CONTENT)} bytes are there"):
                sftp.rename(name, "elsewhere")
            for refused in (sftp.mkdir, sftp.rmdir):
                with pytest.raises(OSError):
                    refused(".uploads/new")
            with pytest.raises(OSError):
                sftp.rmdir(".uploads")

        await there.by_sftp(work)
        await there.continue_by_sftp(f"big.iso-{upload.id}", CONTENT[CUT:])
        assert await get(there.mine, path("big.iso")) == CONTENT


async def test_removing_it_cancels_it(lost: Callable[..., Any]) -> None:
    """Room and bytes are free again, also while another handle has it open."""
    async with lost() as there:
        upload = await there.begin()

        def work(sftp: paramiko.SFTPClient) -> None:
            file = sftp.open(f".uploads/big.iso-{upload.id}", "a")
            file.write(CONTENT[CUT : CUT + 100])
            file.flush()
            sftp.remove(f".uploads/big.iso-{upload.id}")
            assert sftp.listdir(".uploads") == []
            with pytest.raises(OSError, match="no such upload"):
                file.write(b"more")
                file.flush()
            file.close()

        await there.by_sftp(work)
        assert await there.usage == Usage(0, 0)


async def test_others_do_not_see_it(lost: Callable[..., Any]) -> None:
    """Neither a writer of the vfolder nor who reads it; what the vfolder itself owns, its writers see and readers do not."""
    async with lost() as there:
        theirs = await there.begin()
        common = await there.gateway.staging.begin(there.mine, path("common"), size=10, owned_by_vfolder=True)
        for name, permission, seen in (("bob", Permission.RWD, 1), ("eve", Permission.RO, 0)):
            user = await there.gateway.accounts.create_user(name)
            await there.gateway.accounts.set_password(user.id, ALICE[1])
            await there.gateway.vfolders.grant(there.vfolder.key, "user", user.id, permission)

            def look(sftp: paramiko.SFTPClient, seen: int = seen) -> None:
                assert sftp.listdir(".uploads") == [f"common-{common.id}"][:seen]
                for refused in (sftp.stat, sftp.remove, lambda where, sftp=sftp: sftp.open(where, "a")):
                    with pytest.raises(FileNotFoundError):
                        refused(f".uploads/big.iso-{theirs.id}")

            await there.by_sftp(look, name)
        assert len(await there.by_sftp(lambda sftp: sftp.listdir(".uploads"))) == 2


async def test_a_lock_or_a_condition_refuses_its_end(lost: Callable[..., Any]) -> None:
    """As it would refuse that of tus; nothing is lost, and renaming it out publishes it where there is no lock."""
    async with lost() as there:
        locked = await there.begin("locked")
        new = await there.begin("new", expect=ABSENT)
        await lock(there.gateway, there.vfolder, path("locked"))
        await put(there.mine, path("new"), b"came first")
        for upload, why in ((locked, "locked by bob.*until 2"), (new, "already exists|in the meantime")):
            with pytest.raises(OSError, match=why):
                await there.continue_by_sftp(f"{upload.target}-{upload.id}", CONTENT[CUT:])
            assert (await there.by_sftp(lambda sftp: sftp.listdir_attr(".uploads")))[0].st_size == len(CONTENT)
            if upload is locked:
                source = f".uploads/locked-{upload.id}"
                await there.by_sftp(lambda sftp, source=source: sftp.rename(source, "free"))
                assert await get(there.mine, path("free")) == CONTENT
        await there.by_sftp(lambda sftp: sftp.remove(f".uploads/new-{new.id}"))
        assert await get(there.mine, path("new")) == b"came first"
        assert await there.usage == Usage(len(CONTENT) + 10, 2)


async def test_one_of_unknown_length_ends_by_a_rename(lost: Callable[..., Any]) -> None:
    """Its quota grows with it, and no byte beyond the limit comes in."""
    async with lost(limit_bytes=250_000) as there:
        upload = await there.begin(size=None)
        await there.continue_by_sftp(f"big.iso-{upload.id}", CONTENT[CUT:240_000])
        with pytest.raises(OSError, match="quota of vfolder data exceeded"):
            await there.continue_by_sftp(f"big.iso-{upload.id}", CONTENT[240_000:])
        await there.by_sftp(lambda sftp: sftp.posix_rename(f".uploads/big.iso-{upload.id}", "big.iso"))
        whole = await get(there.mine, path("big.iso"))
        assert whole == CONTENT[: len(whole)]
        assert 240_000 <= len(whole) <= 250_000
        assert await there.usage == Usage(len(whole), 1)


async def test_the_other_protocol_takes_over_and_gives_back(lost: Callable[..., Any]) -> None:
    """tus goes on where SFTP stopped in the middle of a file that is still open, and the other way round."""
    async with lost() as there:
        upload = await there.begin()
        client = await deferToThread(connected, there.port)
        try:

            def begin() -> paramiko.SFTPFile:
                file = client.open_sftp().open(f"/data/.uploads/big.iso-{upload.id}", "a")
                file.write(CONTENT[CUT:150_000])
                file.flush()
                return file

            file = await deferToThread(begin)
            again = await there.gateway.staging.resume(there.mine, upload.id)
            assert await again.refresh() == 150_000
            await again.acquire()
            await again.write([CONTENT[150_000:160_000]])
            await again.release()

            def go_on() -> None:
                with pytest.raises(OSError, match="goes on at byte 160000, not at 150000"):
                    file.write(CONTENT[150_000:])
                    file.flush()
                file.close()

            await deferToThread(go_on)
        finally:
            await deferToThread(client.close)
        await there.continue_by_sftp(f"big.iso-{upload.id}", CONTENT[160_000:])
        assert await get(there.mine, path("big.iso")) == CONTENT


async def test_a_name_too_long_for_both_is_cut(lost: Callable[..., Any]) -> None:
    """The name and the token have to fit into one name; the file gets its own whole."""
    async with lost() as there:
        target = "é" * 127
        upload = await there.begin(target)
        (name,) = await there.by_sftp(lambda sftp: sftp.listdir(".uploads"))
        assert name == f"{'é' * 111}-{upload.id}"
        await there.continue_by_sftp(name, CONTENT[CUT:])
        assert await get(there.mine, path(target)) == CONTENT


async def test_a_real_directory_of_that_name_is_not_it(lost: Callable[..., Any]) -> None:
    """What a job put there on the storage is neither shown nor touched."""
    async with lost() as there:
        raw = there.mine.context.folder
        await raw.make_dir(path(".uploads"))
        await raw.make_dir(path(".uploads/real"))
        assert await there.by_sftp(lambda sftp: sftp.listdir(".uploads")) == []
        with pytest.raises(FileNotFoundError):
            await there.by_sftp(lambda sftp: sftp.stat(".uploads/real"))
        assert (await raw.stat(path(".uploads/real"))).is_dir


async def test_times_told_before_the_end_are_kept(lost: Callable[..., Any]) -> None:
    """Whether a client tells them before the last byte or after it."""
    async with lost() as there:
        for index, before in enumerate((True, False)):
            upload = await there.begin(f"f{index}")

            def work(
                sftp: paramiko.SFTPClient, name: str = f".uploads/f{index}-{upload.id}", before: bool = before
            ) -> None:
                with sftp.open(name, "a") as file:
                    if before:
                        file.utime((1_500_000_000, 1_500_000_000))
                    file.write(CONTENT[CUT:])
                    file.flush()
                    if not before:
                        file.utime((1_500_000_000, 1_500_000_000))
                    assert file.stat().st_size == len(CONTENT)

            await there.by_sftp(work)
            assert (await there.mine.stat(path(f"f{index}"))).mtime_ns == 1_500_000_000 * 10**9
        assert (await (await orchestrator_in(there.gateway, there.vfolder)).usage()).bytes == 2 * len(CONTENT)

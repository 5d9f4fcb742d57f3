"""Answers larger than what the client's window takes at the moment: they come whole and in order, whatever comes between."""

from __future__ import annotations

import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread

from tests.conformance.harness import make_runtime
from tests.protocols.sftp.client import RawSftp, take
from tests.protocols.sftp.conftest import port_of, type_serve
from tests.services.test_session import put
from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from tests.support.process import ALICE
from vfgateway.backends.vfs import VfsSettings, VfsVolume
from vfgateway.paths import parse_text as path
from vfgateway.protocols.sftp import connection, factory

READ, FSTAT = 5, 8
LARGEST = (256 << 10) - 1024


def read_all(port: int, window: int, size: int, piece: int) -> bytes:
    """A file with everything asked for at once, and its attributes asked for behind that; new keys in between. Blocks."""
    often = max(2, size // piece // 4)
    with RawSftp(port, window=window) as client:
        handle = client.open(b"/data/large")
        wanted = [client.request(READ, handle + struct.pack(">QI", at, piece)) for at in range(0, size, piece)]
        last = client.request(FSTAT, handle)
        found = b""
        for number in wanted:
            if number % often == 1:
                client.exchange_keys()
            kind, answered, body = client.answer()
            assert (kind, answered) == (103, number)
            found += take(body)[0]
        kind, answered, _ = client.answer()
        assert (kind, answered) == (105, last)
        return found


@asynccontextmanager
async def served(tmp_path: Path, serve: type_serve) -> AsyncIterator[tuple[int, bytes]]:
    """A port where Alice finds ``/data/large``, and what is in that."""
    volume = VfsVolume("disk", VfsSettings(path=tmp_path / "volume"), make_runtime(tmp_path))
    async with running_gateway(tmp_path, [volume]) as gateway, serve(gateway) as service:
        user = await gateway.accounts.create_user(ALICE[0])
        await gateway.accounts.set_password(user.id, ALICE[1])
        vfolder = await new_vfolder(gateway, "disk", owner=user.id, name="data")
        content = os.urandom(2_000_000)
        await put(await orchestrator_in(gateway, vfolder), path("large"), content)
        yield port_of(service), content


@pytest.mark.parametrize("near", [0.0, 3600.0])
@pytest.mark.parametrize(
    ("window", "piece"),
    [(40_000, LARGEST), (100_000, LARGEST), (600_000, LARGEST), (100_000, 5_000), (600_000, 32_768), (600_000, 65_536)],
)
async def test_answers_that_wait_for_the_window(
    tmp_path: Path, serve: type_serve, monkeypatch: pytest.MonkeyPatch, window: int, piece: int, near: float
) -> None:
    """With windows that hold hardly a packet, less than an answer, and a few, for one or for several that share packets; also when keys change
    in the middle of one. Whether the line is taken for a short one or not."""
    monkeypatch.setattr(connection, "NEAR", near)
    async with served(tmp_path, serve) as (port, content):
        assert await deferToThread(read_all, port, window, len(content), piece) == content


async def test_a_client_whose_window_becomes_a_small_one(
    tmp_path: Path, serve: type_serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets its answers all the same, if the first of them a little later."""
    monkeypatch.setattr(connection, "NEAR", 3600.0)
    monkeypatch.setattr(factory, "LOOK", 0.05)

    def read(port: int, size: int) -> bytes:
        with RawSftp(port, window=600_000) as client:
            read_so_far = 0

            def opened_again(count: int) -> int:
                nonlocal read_so_far
                read_so_far += count
                return count if read_so_far > 550_000 else 0

            client.channel._check_add_window = opened_again
            handle = client.open(b"/data/large")
            wanted = [client.request(READ, handle + struct.pack(">QI", at, LARGEST)) for at in range(0, size, LARGEST)]
            found = b""
            for number in wanted:
                kind, answered, body = client.answer()
                assert (kind, answered) == (103, number)
                found += take(body)[0]
            return found

    async with served(tmp_path, serve) as (port, content):
        assert await deferToThread(read, port, len(content)) == content

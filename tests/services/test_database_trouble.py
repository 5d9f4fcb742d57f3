"""A database that somebody locks, that is slow, or that takes no writes: plain errors in bounded time, nothing lost, and all is well by itself."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from tests.services.test_scanning import on_disk, place_of
from tests.services.test_session import get, put
from tests.support.gateway import new_vfolder, orchestrator_in
from tests.support.processes import turn
from vfgateway.errors import DatabaseUnavailable, NotFound
from vfgateway.model import OpenMode, Published, Usage, VFolder
from vfgateway.paths import parse_text as path
from vfgateway.services import database, locks, schema
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession
from vfgateway.services.taskrecords import TaskState
from vfgateway.services.tasks import RunningTask

type_trouble = Callable[[Gateway], Any]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little, since a test waits as long as a request does."""
    monkeypatch.setattr(database, "PATIENCE", 0.2)
    monkeypatch.setattr(locks, "AGAIN", 0.05)


@contextmanager
def locked(gateway: Gateway) -> Iterator[None]:
    """Somebody else writes and does not end."""
    with closing(sqlite3.connect(gateway.data_dir / "vfgateway.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def read_only(_: Gateway) -> Iterator[None]:
    """As SQLite is where its file or its disk is."""
    for each in connections:
        each.execute("PRAGMA query_only=ON")
    yield
    for each in connections:
        each.execute("PRAGMA query_only=OFF")


#: Those that a gateway of this module has made.
connections: list[sqlite3.Connection] = []


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have them at hand."""
    prepare = database._prepare_sqlite

    def noted(raw: Any, record: Any) -> None:
        prepare(raw, record)
        connections.append(raw)

    monkeypatch.setattr(database, "_prepare_sqlite", noted)
    yield
    connections.clear()


@asynccontextmanager
async def a_site(tmp_path: Path) -> AsyncIterator[tuple[Gateway, VFolder, FolderSession]]:
    """A limited vfolder with a file; in the end the ledger is what lies on disk, and nobody holds anything."""
    async with on_disk(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway, "disk", limit_bytes=1000)
        folder = await orchestrator_in(gateway, vfolder)
        await put(folder, path("present"), b"present")
        yield gateway, vfolder, folder
        root = await place_of(gateway, vfolder)
        for _ in range(2000):
            files = [each for each in root.iterdir() if each.is_file()]
            entries = [each for each in root.iterdir() if each.name != ".upload"]
            stored = Usage(sum(each.stat().st_size for each in files), len(entries))
            if await gateway.quota.usage(vfolder) == stored:
                break
            await turn()
        assert await gateway.quota.usage(vfolder) == stored
        assert not any((root / ".upload").glob("*"))
        await gateway.writers.stop()
        await gateway.claims.stop()
        while await gateway.database.read(intents):
            await turn()


def intents(connection: Connection) -> int:
    """Changes that are announced."""
    return len(connection.execute(select(schema.intents)).all())


def asked(folder: FolderSession) -> dict[str, Callable[[], Awaitable[object]]]:
    """All kinds of changes."""

    async def write_in_place() -> None:
        handle = await folder.open(path("in-place"), OpenMode.WRITE | OpenMode.CREATE)
        try:
            await handle.write(0, [b"content"])
        finally:
            await handle.close()

    return {
        "put": lambda: put(folder, path("new"), b"new"),
        "replace": lambda: put(folder, path("present"), b"other"),
        "make_dir": lambda: folder.make_dir(path("dir")),
        "rename": lambda: folder.rename(path("present"), path("renamed")),
        "copy": lambda: folder.copy(path("present"), path("copied")),
        "write in place": write_in_place,
        "remove": lambda: folder.remove(path("present")),
    }


@pytest.mark.parametrize("trouble", [locked, read_only])
async def test_every_change_is_refused_and_works_afterwards(tmp_path: Path, trouble: type_trouble) -> None:
    """In words that can be told; what is there can be read meanwhile."""
    async with a_site(tmp_path) as (gateway, _, folder):
        with trouble(gateway):
            for what, change in asked(folder).items():
                with pytest.raises(DatabaseUnavailable, match="not available; try again later"):
                    await change()
                assert await get(folder, path("present")) == b"present", what
            with pytest.raises(NotFound):
                await folder.stat(path("new"))
        for what, change in asked(folder).items():
            await change()
            if what == "rename":
                await folder.rename(path("renamed"), path("present"))
        assert await get(folder, path("new")) == b"new"
        assert await get(folder, path("copied")) == b"other"


@pytest.mark.parametrize("trouble", [locked, read_only])
async def test_trouble_that_begins_while_bytes_come(tmp_path: Path, trouble: type_trouble) -> None:
    """The upload is not acknowledged, and leaves nothing; one that is sent again is taken."""
    async with a_site(tmp_path) as (gateway, _, folder):
        async with await folder.upload(path("new"), size=3) as upload:
            await upload.write([b"new"])
            with trouble(gateway), pytest.raises(DatabaseUnavailable):
                await upload.commit()
        await put(folder, path("new"), b"new")


@pytest.mark.parametrize("trouble", [locked, read_only])
async def test_trouble_that_begins_when_the_file_stands(tmp_path: Path, trouble: type_trouble) -> None:
    """It is not acknowledged, though it is there; what it is charged is written later, and the next writer gets in."""
    async with a_site(tmp_path) as (gateway, vfolder, folder):
        with ExitStack() as troubled:
            async with await folder.upload(path("new"), size=3) as upload:
                await upload.write([b"new"])
                commit = upload._stage.commit

                async def commit_and_fail(*how: Any) -> Published:
                    published = await commit(*how)
                    troubled.enter_context(trouble(gateway))
                    return published

                upload._stage.commit = commit_and_fail  # type: ignore[assignment,method-assign]
                with pytest.raises(DatabaseUnavailable):
                    await upload.commit()
            assert await get(folder, path("new")) == b"new"
        await put(folder, path("new"), b"again")
        assert await gateway.quota.usage(vfolder) == Usage(12, 2)


async def test_a_slow_database_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it answers in time, nobody is refused."""
    monkeypatch.setattr(database, "PATIENCE", 30.0)
    async with a_site(tmp_path) as (gateway, _, folder):
        file = gateway.data_dir / "vfgateway.db"
        with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
            for what, change in asked(folder).items():
                other.execute("BEGIN IMMEDIATE")
                ending = threading.Timer(0.2, other.execute, ["ROLLBACK"])
                ending.start()
                await change()
                ending.join()
                if what == "rename":
                    await folder.rename(path("renamed"), path("present"))


async def test_a_task_goes_on_when_the_database_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that ended just then: nobody takes it to run for ever."""
    monkeypatch.setattr("vfgateway.services.tasks.LOOK", 0.05)
    async with a_site(tmp_path) as (gateway, _, folder):
        held = locked(gateway)

        async def work(_: RunningTask) -> None:
            held.__enter__()

        gateway.tasks.register("work", work)
        task = await gateway.tasks.start("work", {})
        while not gateway.tasks.running:
            await turn()
        with pytest.raises(DatabaseUnavailable):
            await put(folder, path("new"), b"new")
        held.__exit__(None, None, None)
        while (await gateway.tasks.get(task)).state is not TaskState.DONE:
            await turn()

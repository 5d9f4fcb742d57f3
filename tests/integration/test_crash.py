"""``kill -9`` at every step of a change: what was there or what was sent stands afterwards, and nothing is left lying.

The gateway kills itself when it comes to its nth change to the disk, in the middle of it if it writes (:mod:`tests.support.victim`).
Then it is started again on what it left, looked at, and the same is done with n+1, until it gets through.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.process import Site, VFolderOfAlice, eventually
from tests.support.victim import Victim

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
#: Later than anything that is kept for a while.
RETENTION = 8 * 24 * 3600.0
LIMIT = 1 << 20


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    """Where the gateways of this module run."""
    with Victim() as victim:
        yield victim


@pytest.fixture
def folder(victim: Victim, tmp_path: Path) -> Iterator[VFolderOfAlice]:
    """A limited vfolder of a running gateway. After the test the gateway is gone."""
    site = Site(tmp_path / "site")
    victim.start(site)
    try:
        folder = site.populate()
        site.manager("PATCH", f"/vfgateway/v1/vfolders/{folder.vfid.rpartition('/')[2]}", {"limit_bytes": LIMIT})
        yield folder
    finally:
        victim.kill()


def at_every_step(
    victim: Victim, folder: VFolderOfAlice, act: Callable[[], object], check: Callable[[], object]
) -> Sequence[str]:
    """Kill the gateway at the first step of ``act``, then at the second and so on, with ``check`` on the next one in between. What ``act``
    did to the disk when it was left in peace."""
    for number in count(1):
        victim.arm(number)
        try:
            act()
        except requests.ConnectionError:
            assert victim.died(), "the gateway refused to talk, but lives"
        if not victim.died():
            steps = victim.steps()
            check()
            return steps
        victim.start(folder.site)
        check()
    raise AssertionError


def settled(folder: VFolderOfAlice) -> bool:
    """Whether what the ledger charges is what readers see, and what uploads hold that nobody has ended (their creation may never have been
    acknowledged)."""
    files = folder.published().values()
    held = "select bytes, files from holds where subject like 'vfolder:%' and holder in (select id from uploads)"
    bytes_held, files_held = (sum(column) for column in zip((0, 0), *rows(folder.site, held), strict=True))
    return folder.charged == (sum(map(len, files)) + bytes_held, len(files) + files_held)


def _is_empty(folder: VFolderOfAlice, some: str) -> bool:
    return not rows(folder.site, f"select * from {some}")


def must_leave_nothing(victim: Victim, folder: VFolderOfAlice) -> None:
    """When the time for which things are kept is over, there are only the files: no stages, no rows, no room held by the dead."""
    seen = folder.published()
    victim.kill()
    victim.start(folder.site, later=RETENTION)
    eventually(lambda: not folder.stages, "leftover stages are removed")
    eventually(lambda: not rows(folder.site, "select id from uploads"), "expired uploads are removed")
    eventually(lambda: settled(folder), "the ledger agrees with the files")
    assert len(rows(folder.site, "select id from processes")) == 1
    alive = "(select id from processes)"
    for nothing in (
        f"holds where process not in {alive}",
        "holds where holder not like 'slab:%'",
        "intents",  # also what the dead had claimed, which is taken over after the start
        f"dirty where process not in {alive}",
    ):
        eventually(partial(_is_empty, folder, nothing), f"no row is left of {nothing}")
    assert folder.published() == seen


def rows(site: Site, query: str) -> list[tuple[Any, ...]]:
    """What the gateway's database answers."""
    with closing(sqlite3.connect(f"file:{site.database}?mode=ro", uri=True)) as database:
        return database.execute(query).fetchall()


def test_replacing_a_file(victim: Victim, folder: VFolderOfAlice) -> None:
    """PUT over a file: the old content or the new one, and the new one once it was acknowledged."""
    sent = [os.urandom(100_000)]
    acknowledged = 0
    folder.put("report.bin", sent[0]).raise_for_status()

    def act() -> None:
        nonlocal acknowledged
        sent.append(os.urandom(100_000 + len(sent)))
        folder.put("report.bin", sent[-1]).raise_for_status()
        acknowledged = len(sent) - 1

    def check() -> None:
        nonlocal acknowledged
        found = folder.get("report.bin")
        assert found in sent[acknowledged:]
        acknowledged = sent.index(found)  # what was seen once is not taken back
        assert list(folder.published()) == ["report.bin"]
        eventually(lambda: not folder.stages, "what the killed gateway had put aside is removed")
        eventually(lambda: settled(folder), "the ledger agrees with the files")

    steps = at_every_step(victim, folder, act, check)
    assert {"create", "pwritev", "rename", "commit"} <= set(steps)
    must_leave_nothing(victim, folder)


def test_renaming_a_file(victim: Victim, folder: VFolderOfAlice) -> None:
    """It has one name, the old or the new one, and all of its content."""
    content = os.urandom(50_000)
    folder.put("a", content).raise_for_status()

    def act() -> None:
        (old,) = folder.published()
        new = "b" if old == "a" else "a"
        folder.rename(old, new)
        assert folder.get(new) == content

    def check() -> None:
        (name,) = folder.published()
        assert folder.get(name) == content
        eventually(lambda: settled(folder), "the ledger agrees with the files")

    steps = at_every_step(victim, folder, act, check)
    assert {"rename", "commit"} <= set(steps)
    must_leave_nothing(victim, folder)


class Uploading:
    """A client that uploads the same target over and over by tus, in three requests each, and keeps book of what it was told."""

    PART = 40_000

    def __init__(self, folder: VFolderOfAlice) -> None:
        self.folder = folder
        self.before = os.urandom(5_000)
        folder.put("target", self.before).raise_for_status()
        self._begin()

    def _begin(self) -> None:
        self.content = os.urandom(3 * self.PART)
        self.url: str | None = None
        self.sent = self.acknowledged = 0

    def upload(self) -> None:
        """All of it, by a client that trusts the gateway."""
        self._begin()
        self.url = self.folder.upload_url("target", len(self.content))
        while self.acknowledged < len(self.content):
            self._send(self.content[self.acknowledged :][: self.PART])

    def _send(self, part: bytes) -> None:
        assert self.url is not None
        self.sent = self.acknowledged + len(part)
        headers = {**BYTES, "Upload-Offset": str(self.acknowledged)}
        answer = self.folder.site.http.patch(self.url, data=part, headers=headers)
        assert answer.status_code == 204, answer.text
        self.acknowledged = int(answer.headers["Upload-Offset"])
        assert self.acknowledged == self.sent

    def recover(self) -> None:
        """What a client does after a crash: ask for the offset, send the rest, compare."""
        assert self.folder.get("target") in self._allowed()
        if self.url is not None:
            offset = self._offset()
            assert self.acknowledged <= offset <= self.sent
            if offset == len(self.content):
                self.before = self.content  # what the gateway calls complete is there
                assert self.folder.get("target") == self.content
            self.acknowledged = offset
            while self.acknowledged < len(self.content):
                self._send(self.content[self.acknowledged :])
            self.before = self.content
        assert self.folder.published() == {"target": self.before}
        eventually(lambda: settled(self.folder), "the ledger agrees with the files")

    def _allowed(self) -> Sequence[bytes]:
        if self.url is not None and self.acknowledged == len(self.content):
            return [self.content]
        return [self.before, self.content] if self.sent == len(self.content) else [self.before]

    def _offset(self) -> int:
        assert self.url is not None
        answer = self.folder.site.http.head(self.url, headers=TUS)
        assert answer.status_code == 200, answer.headers
        return int(answer.headers["Upload-Offset"])


def test_resumable_upload(victim: Victim, folder: VFolderOfAlice) -> None:
    """tus: readers see the old file or the whole new one; the offset counts all that was acknowledged and nothing that was not sent;
    continuing there gives what was sent."""
    client = Uploading(folder)
    steps = at_every_step(victim, folder, client.upload, client.recover)
    assert {"create", "pwritev", "rename", "commit"} <= set(steps)
    must_leave_nothing(victim, folder)

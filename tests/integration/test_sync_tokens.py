"""Sync tokens outlive restarts; after ``kill -9`` in the middle of a change, and between processes, no change is hidden."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.dav_site import DavSite
from tests.support.mirror import Mirror, truth
from tests.support.process import ALICE, PATIENCE, GatewayProcess, VFolderOfAlice
from tests.support.uploading import Answer
from tests.support.victim import Victim

T = TypeVar("T")


class Remote:
    """WebDAV of a gateway in another process, as :class:`tests.support.mirror.Mirror` asks it."""

    def __init__(self, site: DavSite) -> None:
        self.site = site

    async def ask(self, method: str, target: str, body: bytes | None = None, **fields: Any) -> Answer:
        """One request; never waits in the sense of a coroutine."""
        headers = {name.replace("_", "-"): str(value) for name, value in fields.items()}
        url = self.site.dav_url + target
        answer = self.site.http.request(method, url, data=body, headers=headers, auth=ALICE, timeout=PATIENCE)
        return Answer(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content)


def now(work: Coroutine[Any, Any, T]) -> T:
    """The outcome of a coroutine that does not wait."""
    try:
        work.send(None)
    except StopIteration as end:
        outcome: T = end.value
        return outcome
    raise AssertionError("it waits")


@pytest.fixture
def site(tmp_path: Path) -> DavSite:
    """A site on storage that nobody else writes to."""
    storage = {"path": "volume", "durability": "none", "shared": "false"}
    return DavSite(tmp_path / "site", {"local": storage}, {"depth_infinity": "true"})


def prepared(site: DavSite) -> tuple[Remote, VFolderOfAlice]:
    """A vfolder with something in it."""
    vfolder = site.populate()
    (vfolder.root / "d").mkdir()
    for name in ("d/a", "d/b", "old"):
        (vfolder.root / name).write_bytes(b"x")
    return Remote(site), vfolder


def test_a_token_outlives_a_restart(site: DavSite) -> None:
    """What changed before the stop and what changed after it is told, and nothing else."""
    with GatewayProcess(site):
        remote, vfolder = prepared(site)
        mirror = Mirror(remote, f"/{vfolder.name}/")  # type: ignore[arg-type]
        now(mirror.follow())
        now(remote.ask("PUT", f"/{vfolder.name}/before", b"x"))
    with GatewayProcess(site):
        now(remote.ask("PUT", f"/{vfolder.name}/after", b"x"))
        now(mirror.follow())
        assert mirror.told == [f"/{vfolder.name}/before", f"/{vfolder.name}/after"]
        assert not mirror.begun


@pytest.fixture
def victim() -> Iterator[Victim]:
    """A gateway that can be told where to die."""
    with Victim() as victim:
        yield victim


@pytest.mark.parametrize(
    "change",
    [
        ("PUT", "d/a", b"changed", {}),
        ("MOVE", "d", None, {"Destination": "/data/e"}),
        ("DELETE", "d", None, {}),
    ],
    ids=lambda change: str(change[0]),
)
def test_killed_at_every_step(
    change: tuple[str, str, bytes | None, dict[str, str]], site: DavSite, victim: Victim
) -> None:
    """Of a change: who asks afterwards with the token from before knows what is there."""
    method, path, body, fields = change
    victim.start(site)
    remote, vfolder = prepared(site)
    fatal = 0
    while True:
        fatal += 1
        mirror = Mirror(remote, f"/{vfolder.name}/")  # type: ignore[arg-type]
        now(mirror.follow())
        victim.arm(fatal)
        try:
            now(remote.ask(method, f"/{vfolder.name}/{path}", body, **fields))
        except OSError:  # it died under the request
            pass
        else:
            if not victim.died():
                break
        assert victim.died()
        site.http.close()
        victim.start(site)
        now(mirror.follow())
        assert mirror.members == now(truth(remote, f"/{vfolder.name}/")), f"killed at step {fatal}"  # type: ignore[arg-type]
        victim.arm(0)
        _restore(remote, vfolder)
    victim.kill()
    assert fatal > 3


def _restore(remote: Remote, vfolder: VFolderOfAlice) -> None:
    """As it was in the beginning."""
    for name in "de":
        now(remote.ask("DELETE", f"/{vfolder.name}/{name}"))
    now(remote.ask("MKCOL", f"/{vfolder.name}/d"))
    for name in ("d/a", "d/b"):
        now(remote.ask("PUT", f"/{vfolder.name}/{name}", b"x"))

"""Listings by WebDAV beside rclone and wsgidav: ``python -m benchmarks.propfind``, part of ``make bench``. Apache and nginx are in
:mod:`benchmarks.webdav`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import attrs

from benchmarks.area import Area
from benchmarks.contest import FILES, Contest, hold_all
from benchmarks.gateway import LOGIN
from benchmarks.peers.rclone import Rclone
from benchmarks.peers.wsgidav import WsgiDav
from benchmarks.report import Section
from benchmarks.storage import MEMORY, folder
from benchmarks.webdav import Ours, Player, fill
from tests.support.process import ALICE, free_port

ABOUT = """PROPFIND with depth 1 for all there is, of a directory of empty files, by the client that Apache has above. rclone asks for a password; it remembers
listings, so that it does not look at the directory again. wsgidav is open to everybody. Otherwise both run as they come."""


@attrs.frozen
class Effort:
    """How much is done: files in the directory that is listed."""

    rounds: int
    files: int


WHOLE, QUICK = Effort(9, 10_000), Effort(2, 500)


def section(effort: Effort, only: Sequence[str] | None = None) -> Section:
    """Hold them, for the report."""
    with folder() as place, ExitStack() as running:
        ours = running.enter_context(Ours(place / "gateway"))
        fill(ours.folder.root, effort.files)
        fill(place / "files", effort.files)
        rclone = Rclone(place / "rclone", free_port(), place / "files", "webdav", ALICE, cheap=True)
        wsgidav = WsgiDav(place / "wsgidav", free_port(), place / "files")
        for server in (rclone, wsgidav):
            running.enter_context(server)
        mine = Player(ours, ours.port, "/data", LOGIN).listing("/many/", effort.files)
        title = f"PROPFIND depth 1 of {effort.files:,} files"
        contests = [
            Contest(
                name,
                title,
                MEMORY,
                FILES,
                mine,
                Player(peer, peer.port, "", LOGIN).listing("/many/", effort.files),
                aim,
            )
            for name, peer, aim in (("rclone", rclone, 4.0), ("wsgidav", wsgidav, 20.0))
        ]
        outcomes, failures = hold_all(contests, effort.rounds, only)
    return Section("WebDAV listings beside rclone and wsgidav", ABOUT, outcomes, failures=failures)


AREA = Area("propfind", section, WHOLE, QUICK)

if __name__ == "__main__":
    AREA.main()

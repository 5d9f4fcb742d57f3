"""curl, with everything by which it differs from simpler clients."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dav_clients import dav_url, run
from tests.support.dav_site import DavSite
from tests.support.process import ALICE, PATIENCE, GatewayProcess, VFolderOfAlice

LOGIN = ("-sS", "--fail", "-u", ":".join(ALICE))
#: Prints the status in the end.
TELL = ("-w", "%{http_code} %{size_upload}", "-o", "/dev/null")
CONTENT = os.urandom(300_000)


@pytest.fixture(scope="module")
def vfolder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VFolderOfAlice]:
    """A vfolder behind a gateway that runs for all tests here."""
    site = DavSite(tmp_path_factory.mktemp("site") / "site", {"local": {"path": "volume", "durability": "none"}})
    with GatewayProcess(site):
        yield site.populate()


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Where curl runs: there is a file ``local`` in it."""
    (tmp_path / "local").write_bytes(CONTENT)
    return tmp_path


def test_from_a_pipe(vfolder: VFolderOfAlice, here: Path) -> None:
    """Nobody knows the length of what comes from a pipe: it goes in chunks."""
    url = f"{dav_url(vfolder)}/piped"
    run("sh", "-c", 'cat local | curl "$@"', "sh", *LOGIN, "-T", "-", url, cwd=here)
    assert (vfolder.root / "piped").read_bytes() == CONTENT


def test_any_auth(vfolder: VFolderOfAlice, here: Path) -> None:
    """``--anyauth`` tries without a login, learns what is taken, and sends the file again: once."""
    url = f"{dav_url(vfolder)}/any"
    assert run("curl", *LOGIN, *TELL, "--anyauth", "-T", "local", url, cwd=here).split() == ["201", str(len(CONTENT))]
    assert (vfolder.root / "any").read_bytes() == CONTENT


def test_expect_100(vfolder: VFolderOfAlice, here: Path) -> None:
    """curl waits before it sends a large body: it is told to go on, or is refused and keeps it. (It would go on by itself after a second;
    here only after a minute.)"""
    asking = ("-H", "Expect: 100-continue", "--expect100-timeout", "60")
    url = dav_url(vfolder)
    said = run("curl", *LOGIN, "-v", *asking, "-T", "local", f"{url}/expected", cwd=here)
    assert "< HTTP/1.1 100 Continue" in said
    assert (vfolder.root / "expected").read_bytes() == CONTENT
    for target, extra, status in (
        ("missing/f", (), "409"),
        ("expected", ("-H", "If-None-Match: *"), "412"),
        ("expected", ("-u", "alice:wrong"), "401"),
    ):
        command = ["curl", *LOGIN[:1], *LOGIN[2:], *extra, *asking, *TELL, "-T", "local", f"{url}/{target}"]
        assert run(*command, cwd=here).split() == [status, "0"]


def test_ranges(vfolder: VFolderOfAlice, here: Path) -> None:
    """A part from the middle, the end, two at once, one past the end; a download that broke off goes on."""
    (vfolder.root / "ranged").write_bytes(CONTENT)
    url = f"{dav_url(vfolder)}/ranged"
    for span, expected in (("1000-1999", CONTENT[1000:2000]), ("-100", CONTENT[-100:]), ("299999-", CONTENT[-1:])):
        run("curl", *LOGIN, "-r", span, "-o", "part", url, cwd=here)
        assert (here / "part").read_bytes() == expected
    both = run("curl", *LOGIN, "-i", "-r", "0-9,299990-299999", "-o", "both", url, cwd=here) + (
        (here / "both").read_bytes().decode("latin-1")
    )
    assert "206" in both and "multipart/byteranges" in both
    assert CONTENT[:10] in (here / "both").read_bytes() and CONTENT[-10:] in (here / "both").read_bytes()
    done = subprocess.run(
        ["curl", *LOGIN, "-r", "300000-", *TELL, url], cwd=here, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout.split()[0]) == (22, "416")
    (here / "part").write_bytes(CONTENT[:100_000])
    run("curl", *LOGIN, "-C", "-", "-o", "part", url, cwd=here)
    assert (here / "part").read_bytes() == CONTENT


def test_times(vfolder: VFolderOfAlice, here: Path) -> None:
    """``-R`` keeps the time, ``-z`` fetches only what is newer."""
    (vfolder.root / "timed").write_bytes(b"x")
    os.utime(vfolder.root / "timed", (1_000_000_000, 1_000_000_000))
    url = f"{dav_url(vfolder)}/timed"
    run("curl", *LOGIN, "-R", "-o", "timed", url, cwd=here)
    assert (here / "timed").stat().st_mtime == 1_000_000_000
    assert run("curl", *LOGIN, *TELL, "-z", "timed", url, cwd=here).split()[0] == "304"


def test_several_on_one_connection(vfolder: VFolderOfAlice, here: Path) -> None:
    """Uploads and downloads one after the other without a new connection, refusals in between."""
    url = dav_url(vfolder)
    names = [f"many-{number}" for number in range(5)]
    arguments: list[str] = []
    for name in (names[0], "missing/x", *names[1:]):
        arguments += ["-T", "local", f"{url}/{name}", "-o", "/dev/null"]
    said = run("curl", "-sS", "-u", ":".join(ALICE), "-w", "%{http_code} %{num_connects}\\n", *arguments, cwd=here)
    statuses = [line.split()[0] for line in said.splitlines()]
    assert statuses == ["201", "409", "201", "201", "201", "201"]
    assert sum(int(line.split()[1]) for line in said.splitlines()) <= 2, "the refusal may cost the connection, no more"
    assert all((vfolder.root / name).read_bytes() == CONTENT for name in names)

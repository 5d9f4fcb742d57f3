"""The program, with volumes from its file and from a real etcd."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mounting.conftest import Site
from tests.support.etcd import Etcd
from tests.support.process import eventually

PASSWORD = "correct horse battery staple"
_MAIN = "from vfgateway.cli.main import main; main()"


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """With two volumes, one of them described badly; it demands a login."""
    with Etcd(tmp_path_factory.mktemp("etcd") / "data") as etcd:
        etcd.put(
            {
                "/site/volumes/shard-1/mount/at": "requested",
                "/site/volumes/shard-1/mount/fstype": "tmpfs",
                "/site/volumes/shard-1/mount/path": "shard",
                "/site/volumes/shard-1/mount/options": "size=1m",
                "/site/volumes/half/mount/path": "nothing else",
                "/site/volumesque/other/mount/path": "of somebody else",
            }
        )
        etcd.demand_login(PASSWORD)
        yield etcd


@pytest.fixture
def file(site: Site, etcd: Etcd) -> Path:
    """What is to be mounted."""
    (site.folder / "password").write_text(PASSWORD)
    (site.folder / "password").chmod(0o600)
    file = site.folder / "mounts.toml"
    file.write_text(
        f"""
root = "mnt"
state = "state"
fstypes = ["tmpfs"]
every = 0.2
[etcd]
endpoints = ["http://127.0.0.1:1", "{etcd.url}"]
prefix = "/site"
username = "root"
password_file = "password"
[[volumes]]
name = "samples"
mount = {{ at = "startup", fstype = "tmpfs", path = "samples", options = "size=1m" }}
"""
    )
    return file


def vfgateway(file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-c", _MAIN, "mount", "--mounts", str(file), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@contextmanager
def supervised(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """While the supervisor runs."""
    command = [sys.executable, "-c", _MAIN, "mount", "--mounts", str(file), "supervise"]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_by_the_command(site: Site, file: Path) -> None:
    """Taken, listed and given back, with exit codes that say what is wrong."""
    taken = vfgateway(file, "take", "shard-1", "--for", "kernel-7")
    assert (taken.stdout, taken.stderr, taken.returncode) == (f"{site.settings.root}/shard-1\n", "", 0)
    rows = json.loads(vfgateway(file, "list", "--json").stdout)
    assert {row["name"]: (row["at"], row["mounted"], row["users"]) for row in rows} == {
        "samples": ("startup", False, []),
        "shard-1": ("requested", True, ["kernel-7"]),
    }
    assert vfgateway(file, "give-back", "shard-1", "--for", "kernel-7").returncode == 0
    assert site.mounted() == []
    missing = vfgateway(file, "take", "half", "--for", "kernel-7")
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "no volume is called 'half'" in missing.stderr


def test_without_etcd(site: Site, file: Path) -> None:
    """It says so; no password is in what it says."""
    file.write_text(file.read_text().replace("[etcd]\nendpoints = [", "[etcd]\nendpoints = []\n#"))
    failed = vfgateway(file, "list")
    assert failed.returncode == 5
    assert "etcd" in failed.stderr
    (site.folder / "password").write_text("wrong")
    assert PASSWORD not in failed.stderr


def test_killed_and_started_again(site: Site, file: Path) -> None:
    """What is mounted stays while nobody supervises; the next one finds it, mounts what is missing and unmounts what nobody uses."""
    with supervised(file) as process:
        eventually(lambda: site.mounted() == ["samples"], "what is at startup is mounted")
        assert vfgateway(file, "take", "shard-1", "--for", "kernel-7").returncode == 0
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert site.mounted() == ["samples", "shard-1"]
    (site.settings.root / "shard-1/file").write_text("kept")
    subprocess.run(["umount", site.settings.root / "samples"], check=True)
    with supervised(file):
        eventually(lambda: site.mounted() == ["samples", "shard-1"], "what went meanwhile is mounted again")
        assert (site.settings.root / "shard-1/file").read_text() == "kept"
        (site.settings.state / "shard-1/users/kernel-7").unlink()  # as if it had died between its two steps
        eventually(lambda: site.mounted() == ["samples"], "what nobody uses is unmounted")


def test_an_outage_changes_nothing(site: Site, file: Path) -> None:
    """While etcd does not answer, what it had described stays mounted."""
    assert vfgateway(file, "take", "shard-1", "--for", "kernel-7").returncode == 0
    text = file.read_text()
    file.write_text(text.replace("endpoints = [", 'endpoints = ["http://127.0.0.1:1"]\n#'))
    with supervised(file) as process:
        (site.settings.state / "shard-1/users/kernel-7").unlink()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        assert site.mounted() == ["shard-1"]
        file.write_text(text)
        eventually(lambda: site.mounted() == ["samples"], "it goes on with what etcd says")

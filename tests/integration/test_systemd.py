"""What systemd is told, as it hears it; and units that it takes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.process import PATIENCE, GatewayProcess, Site, eventually

ETC = Path(__file__).parents[2] / "etc"


class Systemd:
    """Its ear."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(PATIENCE)
        self.path = path

    def hear(self) -> dict[str, str]:
        """The next message."""
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())

    def hear_of(self, key: str) -> dict[str, str]:
        """The next message about ``key``."""
        while key not in (told := self.hear()):
            pass
        return told

    def hear_all(self) -> list[dict[str, str]]:
        """What was said and not heard yet."""
        self._socket.setblocking(False)
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(self.hear())
        self._socket.settimeout(PATIENCE)
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    """Listens while gateways are started."""
    ear = Systemd(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(ear.path))
    monkeypatch.setenv("WATCHDOG_USEC", "600000")
    yield ear
    ear.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_the_life_of_a_service_is_told(tmp_path: Path, systemd: Systemd, workers: int) -> None:
    """Ready once it serves, alive as long as the reactor turns, reloading and ready again, stopping; by the main process alone."""
    gateway = GatewayProcess(Site(tmp_path / "site", workers=workers))
    with gateway:
        ready = systemd.hear_of("READY")
        assert ready["MAINPID"] == str(gateway.pid)
        assert "client" in ready["STATUS"]
        for _ in range(3):
            systemd.hear_of("WATCHDOG")
        os.kill(gateway.pid, signal.SIGHUP)
        assert (
            int(systemd.hear_of("RELOADING")["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        )
        assert systemd.hear_of("READY")["MAINPID"] == str(gateway.pid)
        children = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()
        for child in children:
            assert b"NOTIFY_SOCKET" not in Path(f"/proc/{child}/environ").read_bytes()
        _is_silent_while_it_hangs(gateway, systemd)
    systemd.hear_of("STOPPING")


def _is_silent_while_it_hangs(gateway: GatewayProcess, systemd: Systemd) -> None:
    """Whatever holds it up; and heard of again when it goes on."""
    os.kill(gateway.pid, signal.SIGSTOP)
    try:
        eventually(lambda: _is_stopped(gateway.pid), "the process stands still")
        systemd.hear_all()
        assert systemd.hear_all() == []
    finally:
        os.kill(gateway.pid, signal.SIGCONT)
    systemd.hear_of("WATCHDOG")


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_start_that_fails_is_never_ready(tmp_path: Path, systemd: Systemd) -> None:
    """systemd then knows by the exit status."""
    site = Site(tmp_path / "site")
    site.data_dir.mkdir(mode=0o700)
    site.database.write_bytes(b"no database, and long enough to be looked at" * 100)
    with pytest.raises(AssertionError), GatewayProcess(site):
        raise AssertionError("it is ready")
    assert not [told for told in systemd.hear_all() if "READY" in told]


@pytest.mark.parametrize(
    "unit",
    [
        "vfgateway.service",
        "vfgateway-privileged.service",
        "vfgateway-mounts.service",
        "vfgateway-client.socket",
        "vfgateway-manager.socket",
    ],
)
def test_systemd_takes_the_units(tmp_path: Path, unit: str) -> None:
    """It knows every key; what they start is put where they expect it."""
    folder = tmp_path / "units"
    folder.mkdir()
    for each in ETC.glob("vfgateway*.s*"):
        text = (
            each.read_text()
            .replace("/opt/vfgateway/bin/twistd", "/bin/true")
            .replace("/opt/vfgateway/bin/vfgateway", "/bin/true")
            .replace("/opt/vfgateway/bin/python", "/bin/true")
        )
        (folder / each.name).write_text(text)
    command = ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", str(folder / unit)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, env=os.environ | {"SYSTEMD_UNIT_PATH": f"{folder}:"}
    )
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if str(folder) in line or "Unknown" in line], done.stderr

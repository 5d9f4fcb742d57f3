"""The first minutes of a newcomer, as the README has them: twistd in an empty folder, the command, curl."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from tests.support.process import PATIENCE, eventually, free_port

BIN = Path(sys.executable).parent
PASSWORDS = {"alice": "correct horse battery staple", "bob": "tr0ub4dor & 3"}


class Newcomer:
    """Somebody in a folder with a gateway that runs; its addresses are those that it printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client, self.manager, self.webdav = (f"http://127.0.0.1:{free_port()}" for _ in range(3))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """``twistd vfgateway`` with the sample configuration, which is the default, on ports that are free here."""
        ports = [url.rpartition(":")[2] for url in (self.client, self.manager, self.webdav)]
        text = (Path(__file__).parents[2] / "etc/vfgateway.toml").read_text()
        for name, port in zip(("6021", "6022", "6023", "6024"), (*ports, str(free_port())), strict=True):
            assert name in text
            text = text.replace(name, port)
        (self.folder / "vfgateway.toml").write_text(text)
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [str(BIN / "twistd"), "--nodaemon", "--pidfile=", "vfgateway"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        eventually(lambda: "is running" in self.printed or self._process.poll() is not None, "it starts")  # type: ignore[union-attr]
        assert self._process.poll() is None, self.printed

    def stop(self) -> None:
        """Ctrl-C."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGINT)
            self._process.wait(PATIENCE)

    @property
    def printed(self) -> str:
        return (self.folder / "output").read_text()

    def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command in that folder."""
        environ = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(self.folder), "LANG": "C.UTF-8"}
        return subprocess.run(
            command, cwd=self.folder, env=environ, input=stdin, capture_output=True, text=True, timeout=PATIENCE
        )

    def vfgateway(self, line: str, stdin: str = "") -> str:
        """``vfgateway ...``, which has to succeed; what it prints."""
        done = self.run("vfgateway", *shlex.split(line), stdin=stdin)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout

    def curl(self, who: str, *arguments: str) -> str:
        """curl as the README has it, with the password; the status."""
        login = ["-u", f"{who}:{PASSWORDS[who]}"] if who else []
        done = self.run("curl", "-sS", "-w", "%{http_code}", *login, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout[-3:]

    def shown(self, vfolder: str) -> dict[str, object]:
        """``vfolder show --json``."""
        answer: dict[str, object] = json.loads(self.vfgateway(f"vfolder show {vfolder} --json"))
        return answer

    def orchestrator(self, path: str, body: dict[str, str]) -> None:
        """The orchestrator's own call."""
        secret = (self.folder / "var/manager.secret").read_text().strip()
        headers = {"X-BackendAI-Storage-Auth-Token": secret}
        answer = requests.post(self.manager + path, json=body, headers=headers, timeout=PATIENCE)
        assert answer.ok, answer.text


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """Who has followed the README up to the first vfolder, and shared it."""
    one = Newcomer(tmp_path_factory.mktemp("newcomer"))
    one.start()
    try:
        for name, password in PASSWORDS.items():
            one.vfgateway(f"user add {name} --password-stdin", stdin=f"{password}\n")
        one.vfgateway("vfolder create alice/data --volume local --quota 10MiB")
        one.vfgateway("grant add alice/data --user bob --permission ro")
        (one.folder / "big.iso").write_bytes(os.urandom(3 << 20))
        yield one
    finally:
        one.stop()


def files(one: Newcomer, path: str) -> str:
    """The address of a file, for whoever logs in."""
    return f"{one.client}/vfgateway/v1/files/{path}"


def same(one: Newcomer, name: str) -> bool:
    """Whether what was fetched is what was sent."""
    return (one.folder / name).read_bytes() == (one.folder / "big.iso").read_bytes()


def test_the_start_tells_where_everything_is(newcomer: Newcomer) -> None:
    """Each front end with its URL."""
    assert newcomer.client in newcomer.printed
    assert newcomer.manager in newcomer.printed


def test_a_file_goes_in_and_out_with_curl(newcomer: Newcomer) -> None:
    """Whole, and by the rest after a cut."""
    assert newcomer.curl("alice", "-T", "big.iso", files(newcomer, "data/big.iso")) in ("201", "204")
    assert newcomer.curl("alice", "-o", "whole.iso", files(newcomer, "data/big.iso")) == "200"
    assert same(newcomer, "whole.iso")
    (newcomer.folder / "cut.iso").write_bytes((newcomer.folder / "big.iso").read_bytes()[: 1 << 20])
    assert newcomer.curl("alice", "-C", "-", "-o", "cut.iso", files(newcomer, "data/big.iso")) == "206"
    assert same(newcomer, "cut.iso")


def test_who_may_read_may_not_write(newcomer: Newcomer) -> None:
    """Bob sees Alice's vfolder under its name; nobody else sees anything."""
    newcomer.curl("alice", "-T", "big.iso", files(newcomer, "data/shared.iso"))
    assert newcomer.curl("bob", "-o", "bobs.iso", files(newcomer, "data/shared.iso")) == "200"
    assert same(newcomer, "bobs.iso")
    assert newcomer.curl("bob", "-T", "big.iso", files(newcomer, "data/bobs.iso")) == "403"
    assert newcomer.curl("", files(newcomer, "data/shared.iso")) == "401"
    assert newcomer.curl("alice", files(newcomer, "data/bobs.iso")) == "404"


def test_what_is_used_can_be_seen(newcomer: Newcomer) -> None:
    """With everything that a program wants to know; and the limit is one."""
    newcomer.vfgateway("vfolder create alice/counted --quota 4MiB")
    newcomer.curl("alice", "-T", "big.iso", files(newcomer, "counted/big.iso"))
    shown = newcomer.shown("alice/counted")
    expected = {
        "name": "counted",
        "owner": "alice",
        "volume": "local",
        "permission": "rwd",
        "used_bytes": 3 << 20,
        "used_files": 1,
        "limit_bytes": 4 << 20,
        "limit_files": None,
    }
    assert {key: shown[key] for key in expected} == expected
    assert re.fullmatch(r"user:[0-9a-f-]{36}/[0-9a-f]{32}", str(shown["id"]))
    assert newcomer.curl("alice", "-T", "big.iso", files(newcomer, "counted/again.iso")) == "507"
    assert newcomer.shown("alice/counted")["used_bytes"] == 3 << 20


def test_a_vfolder_of_the_orchestrator_becomes_one_of_a_person(newcomer: Newcomer) -> None:
    """It came with an identifier only."""
    vfid = f"user:{uuid4()}/{uuid4().hex}"
    newcomer.orchestrator("/folder/create", {"volume": "local", "vfid": vfid})
    digits = vfid.rpartition("/")[2]
    assert newcomer.curl("alice", "-T", "big.iso", files(newcomer, f"{digits}/big.iso")) == "404"
    newcomer.vfgateway(f"vfolder edit {digits} --name job-42 --owner alice")
    assert newcomer.shown("alice/job-42")["id"] == vfid
    assert newcomer.curl("alice", "-T", "big.iso", files(newcomer, "job-42/big.iso")) in ("201", "204")


def printed_curl(newcomer: Newcomer, line: str) -> Sequence[str]:
    """The ready command that ``vfgateway token`` shows beside the URL."""
    done = newcomer.run("vfgateway", *shlex.split(line))
    assert done.returncode == 0, done.stderr
    command = shlex.split(done.stderr[done.stderr.index("curl ") :])
    assert command[-1] == done.stdout.strip()
    return command


def test_a_token_lets_in_who_has_no_account(newcomer: Newcomer) -> None:
    """The printed lines work as they are: up, down, and everything as one zip."""
    up = printed_curl(newcomer, "token upload alice/data 'sub dir/big.iso' --file big.iso")
    assert newcomer.run(*up).returncode == 0
    down = printed_curl(newcomer, "token download alice/data 'sub dir/big.iso'")
    (newcomer.folder / "elsewhere").mkdir()
    assert newcomer.run("sh", "-c", f"cd elsewhere && {shlex.join(down)}").returncode == 0
    assert same(newcomer, "elsewhere/big.iso")
    archive = printed_curl(newcomer, "token archive alice/data 'sub dir'")
    assert newcomer.run(*archive).returncode == 0
    listed = newcomer.run(sys.executable, "-m", "zipfile", "-l", "sub dir.zip")
    assert "big.iso" in listed.stdout


def test_an_upload_under_way_is_seen_and_cancelled(newcomer: Newcomer) -> None:
    """What it held back is free again."""
    newcomer.vfgateway("vfolder create alice/incoming --quota 4MiB")
    newcomer.vfgateway("token upload alice/incoming half.iso --size 3MiB")
    (upload,) = json.loads(newcomer.vfgateway("upload list alice/incoming --json"))
    assert (upload["path"], upload["offset"], upload["size"]) == ("half.iso", 0, 3 << 20)
    assert newcomer.curl("alice", "-T", "big.iso", files(newcomer, "incoming/big.iso")) == "507"
    newcomer.vfgateway(f"upload cancel {upload['id']}")
    assert newcomer.curl("alice", "-T", "big.iso", files(newcomer, "incoming/big.iso")) in ("201", "204")


def test_a_clone_is_a_task_that_can_be_watched(newcomer: Newcomer) -> None:
    """While it runs and afterwards."""
    newcomer.vfgateway("vfolder create alice/original")
    newcomer.curl("alice", "-T", "big.iso", files(newcomer, "original/big.iso"))
    told = newcomer.vfgateway("vfolder clone alice/original bob/copy --no-wait")
    task = told.split()[-1]
    assert json.loads(newcomer.vfgateway(f"task watch {task} --json"))["state"] == "done"
    assert json.loads(newcomer.vfgateway(f"task show {task} --json"))["name"] == "clone_vfolder"
    assert task in newcomer.vfgateway("task list")
    assert newcomer.curl("bob", "-o", "copied.iso", files(newcomer, "copy/big.iso")) == "200"
    assert same(newcomer, "copied.iso")


def test_volume_and_doctor_are_content(newcomer: Newcomer) -> None:
    """Nothing is wrong with a gateway that was just set up."""
    assert "local\tvfs\thealthy" in newcomer.vfgateway("volume list")
    done = newcomer.run("vfgateway", "doctor")
    assert done.returncode == 0, done.stdout
    assert "WRONG" not in done.stdout


def test_only_the_account_of_the_gateway_gets_in(newcomer: Newcomer) -> None:
    """The socket lies where others cannot even look."""
    assert (newcomer.folder / "var").stat().st_mode & 0o077 == 0
    assert (newcomer.folder / "var/manager.sock").stat().st_mode & 0o077 == 0

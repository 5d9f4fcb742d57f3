"""The log of a real gateway: lines for machines, files that are moved away, levels that change, a Loki that comes and goes."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import run
from tests.support.process import ALICE, SECRET, GatewayProcess, Site, eventually, free_port


class Receiver:
    """What Loki's push route looks like, on a port of its own.

    :ivar lines: all that was pushed, with the labels of their streams
    :ivar status: what it answers
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.lines: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.headers: list[Mapping[str, str]] = []
        self.status = 204
        self.asked = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen, until the end of the block."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.asked += 1
                receiver.headers.append(dict(self.headers.items()))
                if self.path == "/loki/api/v1/push" and receiver.status == 204:
                    for stream in body["streams"]:
                        for stamp, line in stream["values"]:
                            assert stamp.isdigit()
                            receiver.lines.append((stream["stream"], json.loads(line)))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def tells(self, path: str) -> bool:
        """Whether a request for that path has arrived."""
        return any(path in str(line.get("path")) for _, line in self.lines)


class LoggingSite(Site):
    """A site whose log goes into a file and to Loki."""

    def __init__(self, folder: Path, loki_port: int, workers: int) -> None:
        self.log = folder / "gateway.log"
        self.loki_port = loki_port
        super().__init__(folder, workers=workers)

    def _configuration(self, volumes: Mapping[str, Mapping[str, object]]) -> str:
        loki = f'[log.loki]\nurl = "http://127.0.0.1:{self.loki_port}"\nuser = "pusher"\npassword = "of-the-tests"\ntenant = "cluster"\nlabels = {{ site = "here" }}\n'
        return super()._configuration(volumes) + f'[log]\nfile = "{self.log}"\n' + loki

    def lines(self, path: Path | None = None) -> list[dict[str, Any]]:
        """The log; every line of it has to be JSON."""
        path = path or self.log
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def receiver() -> Receiver:
    return Receiver(free_port())


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> Iterator[tuple[GatewayProcess, LoggingSite]]:
    site = LoggingSite(tmp_path_factory.mktemp("logs") / "site", receiver.port, workers=2)
    with GatewayProcess(site) as process:
        site.populate()
        yield process, site


def test_loki_gets_the_log_also_what_was_told_while_it_was_away(
    gateway: tuple[GatewayProcess, LoggingSite], receiver: Receiver
) -> None:
    """Nothing listens, then it answers with an error, then it works: all lines arrive once, of both processes, with labels and login."""
    _, site = gateway
    for number in range(20):
        site.http.get(f"{site.client_url}/vfgateway/v1/files/data/away-{number}", auth=ALICE, timeout=60)
    receiver.status = 503
    with receiver.listening():
        eventually(lambda: receiver.asked, "it is tried again")
        assert not receiver.lines
        receiver.status = 204
        eventually(lambda: all(receiver.tells(f"/away-{number}") for number in range(20)), "all lines arrive")
    arrived = [str(line.get("path")) for _, line in receiver.lines]
    assert all(sum(path.endswith(f"/away-{number}") for path in arrived) == 1 for number in range(20))
    labels, _ = receiver.lines[0]
    assert {"job": "vfgateway", "site": "here"}.items() <= labels.items()
    assert receiver.headers[0]["x-scope-orgid".title()] == "cluster"
    assert receiver.headers[0]["Authorization"].startswith("Basic ")


def test_a_request_is_one_line_of_json(gateway: tuple[GatewayProcess, LoggingSite]) -> None:
    """With who, what, the vfolder, its backend, and the identifier that the client was told. No secret in it."""
    _, site = gateway
    answer = site.http.put(f"{site.client_url}/vfgateway/v1/files/data/one", data=b"x", auth=ALICE, timeout=60)
    assert answer.status_code == 201
    wanted = answer.headers["X-Request-Id"]

    def told() -> list[dict[str, Any]]:
        return [each for each in site.lines() if each.get("request_id") == wanted and each["message"] == "request"]

    eventually(told, "it is told")
    (line,) = told()
    shown = site.manager("GET", "/vfgateway/v1/vfolders/resolve?vfolder=alice/data")["id"]
    facts = {
        "operation": "PUT",
        "user": "alice",
        "vfolder_id": shown,
        "volume": "local",
        "backend": "vfs",
        "status": 201,
    }
    assert facts.items() <= line.items()
    assert line["level"] == "info"
    assert line["time"].endswith("Z")
    assert ALICE[1] not in site.log.read_text()
    assert SECRET not in site.log.read_text()


def test_a_task_tells_whose_request_it_belongs_to(gateway: tuple[GatewayProcess, LoggingSite]) -> None:
    """The identifier of the request is on the lines of the work that it began, in whichever process that runs."""
    _, site = gateway
    site.manager("POST", "/vfgateway/v1/vfolders", {"owner": "alice", "name": "gone", "volume": "local"})
    vfid = site.manager("GET", "/vfgateway/v1/vfolders/resolve?vfolder=alice/gone")["id"]
    asked = site.call_manager("POST", "/folder/delete", {"volume": "local", "vfid": vfid})
    wanted = asked.headers["X-Request-Id"]

    def told() -> bool:
        lines = [line for line in site.lines() if line.get("request_id") == wanted]
        return any(line.get("operation") == "delete_vfolder" for line in lines)

    eventually(told, "the task's lines have it")


def test_a_file_that_was_moved_away_gets_nothing_more(gateway: tuple[GatewayProcess, LoggingSite]) -> None:
    """``SIGUSR1``, as logrotate sends it, opens a new one; no line is lost."""
    process, site = gateway
    moved = site.log.with_suffix(".1")
    site.log.rename(moved)
    os.kill(process.pid, signal.SIGUSR1)
    eventually(site.log.exists, "there is a new file")
    size = moved.stat().st_size
    site.http.get(f"{site.client_url}/vfgateway/v1/files/data/after-the-move", auth=ALICE, timeout=60)
    eventually(lambda: "after-the-move" in site.log.read_text(), "it goes on in the new file")
    assert moved.stat().st_size == size


def test_levels_change_while_it_runs(gateway: tuple[GatewayProcess, LoggingSite]) -> None:
    """In every process, for one namespace alone, and back."""
    _, site = gateway

    def quiet() -> bool:
        before = len(site.lines())
        for _ in range(8):
            site.http.get(f"{site.client_url}/", timeout=60, headers={"Connection": "close"})
        run("--config", str(site.config), "log", "level")
        return not [line for line in site.lines()[before:] if line.get("front_end") == "client"]

    assert run("--config", str(site.config), "log", "level", "vfgateway.http", "error").exit_code == 0
    eventually(quiet, "requests are not told any more")
    shown = json.loads(run("--config", str(site.config), "log", "level", "--json").stdout)
    assert {"namespace": "vfgateway.http", "configured": None, "changed": "error"} in shown
    assert run("--config", str(site.config), "log", "level", "vfgateway.http", "default").exit_code == 0
    eventually(lambda: not quiet(), "they are told again")
    assert run("--config", str(site.config), "log", "level", "vfgateway.http", "loud").exit_code == 2


def test_what_would_change_is_told_before_it_does(gateway: tuple[GatewayProcess, LoggingSite]) -> None:
    """``config diff`` names the keys without their secrets; a reload with what cannot be used changes nothing; one that can be used does."""
    process, site = gateway
    good = site.config.read_text()
    assert json.loads(run("--config", str(site.config), "config", "diff", "--json").stdout) == []
    site.config.write_text(
        good.replace("[gateway]", '[gateway]\ntrusted_proxies = ["10.0.0.0/8"]').replace(SECRET, "another-one")
    )
    rows = json.loads(run("--config", str(site.config), "config", "diff", "--json").stdout)
    assert [row["key"] for row in rows] == ["frontends.manager.secret", "gateway.trusted_proxies"]
    assert "another-one" not in json.dumps(rows)
    assert run("--config", str(site.config), "config", "diff", "--exit-code").exit_code == 1
    assert run("--config", str(site.config), "config", "check").exit_code == 0
    site.config.write_text(good.replace("trusted_proxies", "").replace("workers =", "wrokers ="))
    wrong = run("--config", str(site.config), "config", "check")
    assert wrong.exit_code == 1
    assert "gateway.wrokers" in wrong.output
    site.config.write_text(good.replace("[gateway]", "[gateway]\ngrace = 11"))
    os.kill(process.pid, signal.SIGHUP)
    eventually(lambda: "the new configuration is in force" in site.log.read_text(), "it reloads")
    assert json.loads(run("--config", str(site.config), "config", "diff", "--json").stdout) == []


@pytest.mark.parametrize("supervised", [False, True])
def test_one_process_hangs_up(tmp_path: Path, supervised: bool) -> None:
    """Under a supervisor it reloads; alone it says that it cannot, what would change, and goes on serving."""
    site = Site(tmp_path / "site")
    text = site.config.read_text().replace("[gateway]", f"[gateway]\nsupervised = {str(supervised).lower()}")
    site.config.write_text(text)
    with GatewayProcess(site) as process:
        site.config.write_text(text.replace("[gateway]", "[gateway]\ngrace = 11"))
        os.kill(process.pid, signal.SIGHUP)
        told = "the new configuration is in force: 1 workers" if supervised else "different by now: gateway.grace"
        eventually(lambda: told in process.output, "it is told")
        eventually(site.ready, "it answers")
        # As a careless logrotate sends it, to all processes: there is no file to be opened anew, and nobody ends.
        eventually(lambda: len(serving(process.pid)) == 1 + supervised, "those of before the reload are gone")
        before = serving(process.pid)
        for each in before:
            os.kill(each, signal.SIGUSR1)
        eventually(site.ready, "it answers")
        assert serving(process.pid) == before


def serving(process: int) -> list[int]:
    """It, and those that it started."""
    return [process, *map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]

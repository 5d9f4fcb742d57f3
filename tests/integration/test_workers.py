"""Several processes over one set of sockets, as an administrator and the clients see them."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.support.process import ALICE, PATIENCE, TWISTD, GatewayProcess, Site, VFolderOfAlice, eventually

WORKERS = 3
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}


@contextmanager
def running(folder: Path) -> Iterator[tuple[GatewayProcess, VFolderOfAlice]]:
    """A gateway of several processes, with a vfolder."""
    site = Site(folder, workers=WORKERS)
    with GatewayProcess(site) as gateway:
        gateway.all_there()
        yield gateway, site.populate()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, VFolderOfAlice]]:
    """For tests that leave all processes as they are, or as many."""
    with running(tmp_path_factory.mktemp("workers") / "site") as both:
        yield both


def workers(gateway: GatewayProcess) -> set[int]:
    """The processes that serve."""
    children = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()
    return {int(pid) for pid in children}


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def sockets(pid: int) -> set[str]:
    """The inodes of all sockets that a process holds."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue
        inodes.add(target.removeprefix("socket:[").rstrip("]"))
    return inodes


def accepted(port: int) -> list[list[str]]:
    """What the kernel knows of the connections of ``port``."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"]


def connections(pid: int, port: int) -> int:
    """How many accepted connections of ``port`` a process holds."""
    inodes = sockets(pid)
    return sum(row[9] in inodes for row in accepted(port))


def connected(gateway: GatewayProcess, apart_from: int | None = None) -> tuple[http.client.HTTPConnection, int]:
    """A connection, and the worker that has it: another one than ``apart_from``. Whoever does not come to it tries again, holding what it has."""
    port = gateway.site.client_port
    tried: list[http.client.HTTPConnection] = []
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", "/")
        connection.getresponse().read()
        end = f":{connection.sock.getsockname()[1]:04X}"
        (inode,) = [row[9] for row in accepted(port) if row[2].endswith(end)]
        (pid,) = [pid for pid in workers(gateway) if inode in sockets(pid)]
        if pid != apart_from:
            for other in tried:
                other.close()
            return connection, pid
        tried.append(connection)
        assert len(tried) < 200, "one worker gets all connections"


def test_every_worker_gets_its_share(shared: tuple[GatewayProcess, VFolderOfAlice]) -> None:
    """Of connections that stay open; all of them answer."""
    gateway, _ = shared
    port = gateway.site.client_port
    held = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(60)]
    try:
        for connection in held:
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        ends = {f"{connection.sock.getsockname()[1]:04X}" for connection in held}
        ours = {row[9] for row in accepted(port) if row[2].rpartition(":")[2] in ends}
        spread = Counter({pid: len(ours & set(sockets(pid))) for pid in workers(gateway)})
        assert sum(spread.values()) == len(held)
        assert min(spread.values()) >= 3, spread
    finally:
        for connection in held:
            connection.close()


def test_an_upload_goes_on_in_whichever_worker_is_left(shared: tuple[GatewayProcess, VFolderOfAlice]) -> None:
    """Each piece over a connection of its own, and a worker killed after every other one. Nothing is lost, and all come back."""
    gateway, folder = shared
    content = os.urandom(300_000)
    url = folder.upload_url("big.bin", len(content))
    step = 50_000
    for number, at in enumerate(range(0, len(content), step)):
        offset = requests.head(url, headers=TUS, timeout=PATIENCE).headers["Upload-Offset"]
        assert int(offset) == at
        headers = {**BYTES, "Upload-Offset": offset, "Connection": "close"}
        answer = requests.patch(url, data=content[at : at + step], headers=headers, timeout=PATIENCE)
        assert answer.status_code == 204, answer.text
        if number % 2:
            victim = min(workers(gateway))
            os.kill(victim, signal.SIGKILL)
            eventually(lambda gone=victim: not lives(gone), "the worker is gone")  # type: ignore[misc]
    assert folder.get("big.bin") == content
    eventually(lambda: len(workers(gateway)) == WORKERS, "all workers are back")
    assert folder.charged[0] >= len(content)
    assert not folder.stages


@pytest.mark.parametrize("how", ["cut", "dead"])
def test_a_broken_upload_goes_on_in_another_worker(shared: tuple[GatewayProcess, VFolderOfAlice], how: str) -> None:
    """A client whose line breaks in the middle of a body, noticed by the worker that it came to or not, asks another worker at once, is
    told all that was sent, and can go on there."""
    gateway, folder = shared
    content, sent = os.urandom(3_000_000), 700_001
    target = folder.upload_url(f"{how}.bin", len(content)).removeprefix(folder.site.client_url)
    line, first = connected(gateway)
    other, _ = connected(gateway, apart_from=first)
    with closing(line), closing(other):
        fields = {**BYTES, "Upload-Offset": "0", "Content-Length": str(len(content))}
        line.putrequest("PATCH", target)
        for name, value in fields.items():
            line.putheader(name, value)
        line.endheaders(content[:sent])
        eventually(lambda: any(stage.stat().st_size for stage in folder.stages), "the first worker stores what comes")
        if how == "cut":
            line.close()
        other.request("HEAD", target, headers=TUS)
        answer = other.getresponse()
        answer.read()
        assert (answer.status, answer.headers["Upload-Offset"]) == (200, str(sent))
        other.request("PATCH", target, content[sent:], {**BYTES, "Upload-Offset": str(sent)})
        answer = other.getresponse()
        assert answer.status == 204, answer.read()
    assert folder.get(f"{how}.bin") == content


def test_whoever_is_asked_tells_the_sum(shared: tuple[GatewayProcess, VFolderOfAlice]) -> None:
    """Counters of all workers together; a scraper never sees them jump back and forth."""
    gateway, _ = shared
    site = gateway.site

    def asked() -> float:
        headers = {"X-BackendAI-Storage-Auth-Token": "the-orchestrator-of-the-tests"}
        text = requests.get(f"{site.manager_url}/metrics", headers=headers, timeout=PATIENCE).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(
            sample.value
            for sample in samples
            if sample.name == "backendai_api_request_count_total" and sample.labels["endpoint"] == "/status"
        )

    before = asked()
    for _ in range(30):
        assert requests.get(f"{site.manager_url}/status", timeout=PATIENCE).ok
    assert asked() - before == 30
    assert {asked() - before for _ in range(10)} == {30}


def test_a_new_configuration_refuses_nobody(tmp_path: Path) -> None:
    """A volume is added under load: every request succeeds, and a download that was under way ends whole, in a worker of old."""
    with running(tmp_path / "site") as (gateway, folder):
        site = gateway.site
        content = os.urandom(24 << 20)
        (folder.root / "large").write_bytes(content)
        old = workers(gateway)
        slow = requests.get(folder.download_url("large"), stream=True, timeout=PATIENCE)
        pieces = slow.iter_content(1 << 16)
        got = bytearray(next(pieces))

        failures: list[str] = []
        over = threading.Event()
        served = 0

        def ask() -> None:
            nonlocal served
            while not over.is_set():
                try:
                    status = requests.get(f"{site.client_url}/", timeout=PATIENCE).status_code
                    served += status == 200
                    if status != 200:
                        failures.append(str(status))
                except requests.RequestException as error:
                    failures.append(repr(error))

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            more = f'[volumes.second]\nbackend = "vfs"\npath = "{tmp_path / "second"}"\n'
            site.config.write_text(site.config.read_text().replace("workers", "grace = 120\nworkers") + more)
            os.kill(gateway.pid, signal.SIGHUP)
            eventually(lambda: "the new configuration is in force" in gateway.output, "the reload ends")
            listed = site.manager("GET", "/vfgateway/v1/volumes")["volumes"]
            assert {volume["name"] for volume in listed} == {"local", "second"}
            eventually(lambda: sum(map(lives, old)) <= 1, "workers with nothing to do end")
            reached = served
            eventually(lambda: served > reached + 20, "requests go on")
            for piece in pieces:
                got += piece
        finally:
            over.set()
            asking.join()
        assert bytes(got) == content
        assert not failures
        eventually(lambda: not any(map(lives, old)), "the last one ends with its download")
        eventually(lambda: len(workers(gateway)) == WORKERS, "only the new ones are left")


def test_a_reload_ends_when_nobody_comes_to_the_old_ones(tmp_path: Path) -> None:
    """The new configuration is said to be in force once every worker of old has let go of its sockets, and not before."""
    with running(tmp_path / "site") as (gateway, _):
        slow, *others = workers(gateway)
        told = "the new configuration is in force"
        os.kill(slow, signal.SIGSTOP)
        try:
            os.kill(gateway.pid, signal.SIGHUP)
            eventually(lambda: not any(map(lives, others)), "those that are told to end, end")
            assert told not in gateway.output
        finally:
            os.kill(slow, signal.SIGCONT)
        eventually(lambda: told in gateway.output, "the reload ends")


def test_a_broken_configuration_changes_nothing(tmp_path: Path) -> None:
    """The mistake is in the log, and everybody works on."""
    with running(tmp_path / "site") as (gateway, folder):
        before = workers(gateway)
        text = gateway.site.config.read_text()
        gateway.site.config.write_text(text + "\n[gatway]\n")
        os.kill(gateway.pid, signal.SIGHUP)
        line = text.count("\n") + 2
        told = f"the configuration was not changed: {gateway.site.config}:{line}: gatway: there is no such key"
        eventually(lambda: told in gateway.output, "it is told")
        assert workers(gateway) == before
        assert folder.put("file", b"content").status_code == 201


def test_no_worker_outlives_its_supervisor(tmp_path: Path) -> None:
    """However it ends; otherwise the next start would find the ports taken."""
    with running(tmp_path / "site") as (gateway, _):
        left = workers(gateway)
        gateway.kill()
        eventually(lambda: not any(map(lives, left)), "the workers end")
        gateway.start()


def test_a_stop_ends_everything_and_is_a_success(tmp_path: Path) -> None:
    """Transfers get the time that they have elsewhere."""
    with running(tmp_path / "site") as (gateway, folder):
        everybody = workers(gateway)
        assert folder.put("file", b"content").status_code == 201
        assert gateway.stop() == -signal.SIGTERM  # as twistd tells it, one process or several
        assert not any(map(lives, everybody))


def test_mistakes_that_only_a_worker_can_find_end_the_start(tmp_path: Path) -> None:
    """With a status and a sentence."""
    site = Site(tmp_path / "site", workers=WORKERS)
    site.config.write_text(
        site.config.read_text().replace("[gateway]\n", '[gateway]\ndatabase = "sqlite:////proc/no/such.db"\n')
    )
    command = [str(TWISTD), "--nodaemon", "--pidfile=", "vfgateway"]
    ended = subprocess.run(command, cwd=site.folder, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 1
    assert "the first worker ended before it was ready" in ended.stderr


def test_a_daemon_has_one_log(tmp_path: Path) -> None:
    """What workers log goes where the administrator sent it."""
    site = Site(tmp_path / "site", workers=2)
    pidfile = site.folder / "pid"
    command = [str(TWISTD), "--pidfile", str(pidfile), "--logfile", str(site.folder / "log"), "vfgateway"]
    subprocess.run(command, cwd=site.folder, check=True, timeout=PATIENCE)
    eventually(site.ready, "the daemon answers")
    pid = int(pidfile.read_text())
    try:
        folder = site.populate()
        assert folder.put("file", b"content").status_code == 201
        eventually(lambda: "PUT /vfgateway/v1/files/data/file 201" in (site.folder / "log").read_text(), "it is logged")
    finally:
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not lives(pid), "the daemon ends")


def test_sockets_of_a_service_manager_are_shared_too(tmp_path: Path) -> None:
    """systemd opened them; they stay open through a reload."""
    site = Site(tmp_path / "site", workers=2)
    text = site.config.read_text().replace(
        f'"tcp:{site.client_port}:interface=127.0.0.1"', '"systemd:domain=INET:index=0"'
    )
    site.config.write_text(text)
    # The shell moves the socket to where systemd would have put it.
    with (
        socket.create_server(("127.0.0.1", site.client_port)) as listening,
        (site.folder / "output").open("wb") as output,
    ):
        number = listening.fileno()
        script = f'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=client exec "{TWISTD}" --nodaemon --pidfile= vfgateway 3<&{number} {number}<&-'
        if number == 3:
            script = script.removesuffix(" 3<&3 3<&-")
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=site.folder,
            pass_fds=[number],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    try:
        eventually(lambda: process.poll() is not None or site.ready(), "the gateway gets ready")
        folder = site.populate()
        assert folder.put("file", b"content").status_code == 201
        process.send_signal(signal.SIGHUP)
        told = site.folder / "output"
        eventually(lambda: "the new configuration is in force" in told.read_text(), "the reload ends")
        assert folder.get("file") == b"content"
        answer = requests.get(folder.url("file"), auth=ALICE, timeout=PATIENCE)
        assert answer.content == b"content"
    finally:
        process.terminate()
        process.wait(PATIENCE)

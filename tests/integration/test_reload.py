"""A gateway that is changed while people use it: nobody's request fails, and secrets and keys go over from the old to the new ones."""

from __future__ import annotations

import http.client
import os
import select
import signal
import subprocess
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.support.process import (
    ALICE,
    PATIENCE,
    SECRET,
    TOKEN_SECRET,
    GatewayProcess,
    VFolderOfAlice,
    eventually,
    free_port,
)
from tests.support.sftp import SftpSite, run

LOGIN = {"Authorization": "Basic " + b64encode(":".join(ALICE).encode()).decode()}


class KeptAlive:
    """An HTTP client that keeps its connection for as long as the server does. It repeats nothing, but a request that met the server's good-bye on a
    connection that had been used before, as browsers and curl do (RFC 9112 section 9.3.1)."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None
        self._used = False

    def ask(self, method: str, path: str, body: bytes | None = None) -> int:
        """The status of the answer."""
        if self._connection is None or self._closed():
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
            self._used = False
        used, self._used = self._used, True
        try:
            self._connection.request(method, path, body, LOGIN)
            answer = self._connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if not used:
                raise
            self._connection = None
            return self.ask(method, path, body)
        answer.read()
        return answer.status

    def _closed(self) -> bool:
        """The server has said good-bye before we asked for anything."""
        assert self._connection is not None
        socket = self._connection.sock
        return socket is None or bool(select.select([socket], [], [], 0)[0])


class Load:
    """People at work, one thread each: what went wrong, and how often each got something done."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.done: Counter[str] = Counter()
        self._over: dict[str, threading.Event] = {}
        self._threads: dict[str, threading.Thread] = {}

    def add(self, name: str, work: Callable[[int], object]) -> None:
        """Do it again and again; what it returns is what was wrong."""
        over = self._over[name] = threading.Event()

        def go_on() -> None:
            number = 0
            while not over.wait(0.05):  # people take a breath
                number += 1
                try:
                    wrong = work(number)
                except Exception as error:
                    wrong = repr(error)
                if wrong:
                    self.failures.append(f"{name} {number}: {wrong}")
                self.done[name] += 1

        self._threads[name] = threading.Thread(target=go_on, name=name)
        self._threads[name].start()

    def end(self, *names: str) -> None:
        """Have those go home, or all."""
        for name in names or tuple(self._threads):
            self._over[name].set()
            self._threads.pop(name).join()

    def goes_on(self) -> None:
        """Everybody gets something done from now on."""
        before = Counter(self.done)
        eventually(lambda: all(self.done[name] > before[name] + 1 for name in self._threads), "everybody goes on")


class ChangingSite(SftpSite):
    """A site with every front end, whose configuration is written anew."""

    def __init__(self, folder: Path) -> None:
        self.webdav_port, self.other_port = free_port(), free_port()
        super().__init__(folder, gateway="supervised = true\ngrace = 30", workers=1)
        text = (
            self.config.read_text()
            .replace(f'"{TOKEN_SECRET}"', '"X"')
            .replace('token_secret = "X"', 'token_secret_file = "token"')
        )
        text = text.replace(f'secret = "{SECRET}"', 'secret_file = "manager"')
        self.config.write_text(text + f'[frontends.webdav]\nendpoint = "tcp:{self.webdav_port}:interface=127.0.0.1"\n')
        self.write("token", TOKEN_SECRET)
        self.write("manager", SECRET)

    def write(self, name: str, *lines: str) -> None:
        """A file of secrets."""
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, ChangingSite, VFolderOfAlice]]:
    """A gateway in use."""
    site = ChangingSite(tmp_path_factory.mktemp("reload") / "site")
    with GatewayProcess(site) as process:
        data = site.populate()
        site.admit_key()
        yield process, site, data


def reload(process: GatewayProcess, change: Callable[[str], str] | None = None) -> None:
    """Change the configuration, and wait until that is in force for all who come from then on."""
    site = process.site
    if change is not None:
        before = site.config.read_text()
        after = change(before)
        assert after != before
        site.config.write_text(after)
    old = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    told = process.output.count("the new configuration is in force")
    os.kill(process.pid, signal.SIGHUP)
    eventually(lambda: process.output.count("the new configuration is in force") > told, "the reload ends")
    eventually(lambda: not any(accepts(pid, site.client_port) for pid in old), "those of old accept nobody")


def accepts(pid: str, port: int) -> bool:
    """Whether a process listens there."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}
    try:
        return any(str(each.readlink()) in sockets for each in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it ends, or a descriptor was closed meanwhile
        return Path(f"/proc/{pid}").exists()


def people(load: Load, site: ChangingSite, data: VFolderOfAlice) -> None:
    """Those who work all the time."""
    kept, dav = KeptAlive(site.client_port), KeptAlive(site.webdav_port)
    path = f"/vfgateway/v1/files/{data.name}"

    def over_one_connection(number: int) -> object:
        content = b"%d" % number
        put = kept.ask("PUT", f"{path}/kept", content)
        return (put not in (201, 204) and put) or ((data.root / "kept").read_bytes() != content and "lost")

    def over_new_connections(number: int) -> object:
        status = KeptAlive(site.client_port).ask("GET", f"{path}/there")
        return status != 200 and status

    def over_webdav(number: int) -> object:
        statuses = (dav.ask("PUT", f"/{data.name}/dav", b"x" * number), dav.ask("PROPFIND", f"/{data.name}/dav"))
        return statuses not in ((201, 207), (204, 207)) and statuses

    def over_sftp(number: int) -> object:
        done = site.sftp(
            f"put {site.config} {data.name}/by-sftp\nget {data.name}/by-sftp {site.folder}/got", check=False
        )
        return done.returncode and done.stderr

    load.add("kept alive", over_one_connection)
    load.add("new connections", over_new_connections)
    load.add("sftp", over_sftp)
    load.add("webdav", over_webdav)


def test_volumes_front_ends_and_listeners_come_change_and_go(
    running: tuple[GatewayProcess, ChangingSite, VFolderOfAlice], tmp_path: Path
) -> None:
    """While four people work, none of whom notices. Whoever used the front end that goes has gone home."""
    process, site, data = running
    (data.root / "there").write_bytes(b"there")
    second = f'[volumes.second]\nbackend = "vfs"\npath = "{tmp_path / "second"}"\nfile_mode = "0640"\n'
    one = f'"tcp:{site.client_port}:interface=127.0.0.1"'
    both = f'[{one}, "tcp:{site.other_port}:interface=127.0.0.1"]'
    original = site.config.read_text()
    load = Load()
    people(load, site, data)
    try:
        load.goes_on()
        reload(process, lambda text: text.replace(one, both) + second)
        load.goes_on()
        assert requests.get(f"http://127.0.0.1:{site.other_port}/", timeout=PATIENCE).ok
        made = site.manager(
            "POST", "/vfgateway/v1/vfolders", {"name": "elsewhere", "volume": "second", "owner": "alice"}
        )
        assert made["volume"] == "second"
        url = f"{site.client_url}/vfgateway/v1/files/elsewhere"
        assert requests.put(f"{url}/file", b"1", auth=ALICE, timeout=PATIENCE).status_code == 201
        load.end("webdav")
        assert load.done["webdav"]
        webdav = original[original.index("[frontends.webdav]") :]
        reload(process, lambda text: text.replace('"0640"', '"0600"').replace(webdav, ""))
        with pytest.raises(ConnectionRefusedError):
            KeptAlive(site.webdav_port).ask("GET", "/")
        assert requests.put(f"{url}/other", b"1", auth=ALICE, timeout=PATIENCE).status_code == 201
        modes = {each.name: each.stat().st_mode & 0o777 for each in (tmp_path / "second").rglob("*") if each.is_file()}
        assert (modes["file"], modes["other"]) == (0o640, 0o600)
        load.goes_on()
        reload(process, lambda text: original)
        load.goes_on()
    finally:
        load.end()
        site.config.write_text(original)
    assert load.failures == []
    assert KeptAlive(site.webdav_port).ask("PROPFIND", f"/{data.name}/there") == 207
    assert {each["name"] for each in site.manager("GET", "/vfgateway/v1/volumes")["volumes"]} == {"local"}
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{site.other_port}/", timeout=PATIENCE)
    assert requests.get(f"{url}/file", auth=ALICE, timeout=PATIENCE).status_code == 503


def test_secrets_and_host_keys_go_over_to_new_ones(
    running: tuple[GatewayProcess, ChangingSite, VFolderOfAlice], tmp_path: Path
) -> None:
    """First the new ones are good beside the old ones, then alone; clients of SSH have learned the new key by then."""
    process, site, data = running
    (data.root / "there").write_bytes(b"there")
    keys, known = site.data_dir / "hostkeys", tmp_path / "known_hosts"
    learning = [f"-oUserKnownHostsFile={known}", "-oUpdateHostKeys=yes", "-oHostKeyAlgorithms=ssh-ed25519"]

    def logs_in(how: str) -> bool:
        options = [*learning, f"-oStrictHostKeyChecking={how}"]
        return (
            run(
                ["sftp", *options, *site.ssh_options(), "-b", "-", "alice@127.0.0.1"], check=False, text="ls"
            ).returncode
            == 0
        )

    def manages(secret: str) -> bool:
        headers = {"X-BackendAI-Storage-Auth-Token": secret}
        return requests.get(f"{site.manager_url}/volumes", headers=headers, timeout=PATIENCE).ok

    def fetches(url: str) -> bool:
        return requests.get(url, timeout=PATIENCE).ok

    old = data.download_url("there")
    assert logs_in("accept-new")
    new_token, new_secret = "t" * 40, "m" * 40
    site.write("token", new_token, TOKEN_SECRET)
    site.write("manager", new_secret, SECRET)
    coming = keys / "ssh_host_ed25519_key.next"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", coming], check=True)
    reload(process)
    assert fetches(old) and manages(SECRET) and manages(new_secret)
    new = data.download_url("there")
    assert fetches(new)
    assert logs_in("yes")
    assert coming.with_suffix(".next.pub").read_text().split()[1] in known.read_text()

    site.write("token", new_token)
    site.write("manager", new_secret)
    coming.rename(keys / "ssh_host_ed25519_key")
    try:
        reload(process)
        assert not fetches(old) and fetches(new)
        assert manages(new_secret) and not manages(SECRET)
        assert logs_in("yes")
    finally:
        site.write("token", TOKEN_SECRET)
        site.write("manager", SECRET)
        reload(process)

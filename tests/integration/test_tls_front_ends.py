"""TLS that the gateway speaks itself on the front ends of people and of managers; and managers that have to show a certificate."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.process import PATIENCE, SECRET, TWISTD, eventually, free_port
from tests.support.tls import certificate

COMMAND = str(Path(sys.executable).parent / "vfgateway")


def pem(file: Path) -> Path:
    """A new certificate that signs itself, with its key."""
    file.write_bytes(certificate.__wrapped__().dumpPEM())
    file.chmod(0o600)
    return file


class Secured:
    """A gateway whose front ends speak TLS, by their tables and by an endpoint that does, under a supervisor that binds for its worker; and
    what it takes to reach it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server, self.caller, self.stranger = (
            pem(folder / f"{name}.pem") for name in ("server", "caller", "stranger")
        )
        (folder / "managers.pem").write_bytes(self.caller.read_bytes())
        (folder / "secret").write_text(SECRET)
        (folder / "secret").chmod(0o600)
        self.client_port, self.manager_port, self.inside_port, self.drive_port = (free_port() for _ in range(4))
        self.config = folder / "vfgateway.toml"
        self.config.write_text(
            "[gateway]\nsupervised = true\n"
            f'[frontends.webdav]\nendpoint = "ssl:{self.drive_port}:privateKey={self.server}:interface=127.0.0.1"\n'
            f'[frontends.client]\nendpoint = "tcp:{self.client_port}:interface=127.0.0.1"\ncertificate = "server.pem"\n'
            f'[frontends.manager]\nendpoint = "tcp:{self.manager_port}:interface=127.0.0.1"\ncertificate = "server.pem"\n'
            'client_ca = "managers.pem"\nsecret_file = "secret"\n'
            f'monitoring_endpoint = "tcp:{self.inside_port}:interface=127.0.0.1"\n'
            '[volumes.local]\nbackend = "memory"\n[authenticators.accounts]\n'
        )

    def context(self, shown: Path | None = None) -> ssl.SSLContext:
        """A client that trusts the server, and shows a certificate."""
        context = ssl.create_default_context(cafile=self.server)
        if shown is not None:
            context.load_cert_chain(shown)
        return context

    def status(self, port: int, path: str, shown: Path | None = None) -> int:
        """What is answered."""
        with httpx.Client(verify=self.context(shown), trust_env=False, timeout=PATIENCE) as http:
            return http.get(f"https://127.0.0.1:{port}{path}").status_code

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command, over the network."""
        options = ["--url", f"https://127.0.0.1:{self.manager_port}", "--secret-file", str(self.folder / "secret")]
        trust = ["--ca-file", str(self.server)]
        return subprocess.run([COMMAND, *options, *trust, *arguments], capture_output=True, text=True, timeout=PATIENCE)

    @property
    def answers(self) -> bool:
        try:
            return self.status(self.manager_port, "/readyz", self.caller) == 200
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """One for all tests here."""
    made = Secured(tmp_path_factory.mktemp("secured"))
    command = [str(TWISTD), "--nodaemon", "--pidfile=", "vfgateway", "--config", str(made.config)]
    with (made.folder / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=made.folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            eventually(lambda: process.poll() is not None or made.answers, "the gateway gets ready")
            assert process.poll() is None, (made.folder / "output").read_text()
            yield made
        finally:
            process.terminate()
            process.wait(PATIENCE)


def test_an_endpoint_that_speaks_tls_is_bound_for_the_worker(secured: Secured) -> None:
    """Its own certificate is shown, and the worker answers."""
    assert secured.status(secured.drive_port, "/") == 401


def test_people_need_no_certificate(secured: Secured) -> None:
    """Their front end speaks TLS, and asks for none."""
    assert secured.status(secured.client_port, "/") == 200


@pytest.mark.parametrize("shown", [None, "stranger"])
def test_managers_without_a_certificate_of_ours_get_no_answer(secured: Secured, shown: str | None) -> None:
    """Not even to whether it is well."""
    with pytest.raises(httpx.HTTPError):
        secured.status(secured.manager_port, "/livez", getattr(secured, shown) if shown else None)


def test_who_watches_from_the_inside_needs_nothing(secured: Secured) -> None:
    """Health and metrics without TLS, certificate or secret; and there is nothing else to be had there."""
    inside = f"http://127.0.0.1:{secured.inside_port}"
    with httpx.Client(trust_env=False, timeout=PATIENCE) as http:
        assert http.get(f"{inside}/readyz").json()["status"] == "ok"
        assert http.get(f"{inside}/livez").status_code == 200
        assert "vfgateway_volume_health" in http.get(f"{inside}/metrics").text
        shown = {"X-BackendAI-Storage-Auth-Token": SECRET}
        for path in ("/vfgateway/v1/users", "/volumes", "/openapi.json"):
            assert http.get(inside + path, headers=shown).status_code == 403
    assert secured.status(secured.manager_port, "/metrics", secured.caller) == 403


def test_the_secret_is_needed_all_the_same(secured: Secured) -> None:
    """The certificate opens the connection, no more."""
    assert secured.status(secured.manager_port, "/vfgateway/v1/users", secured.caller) == 403


def test_the_command_shows_its_certificate(secured: Secured) -> None:
    """And says plainly what is wrong without; through the socket it needs none."""
    done = secured.command("--certificate-file", str(secured.caller), "user", "list")
    assert done.returncode == 0, done.stderr
    assert secured.command("user", "list").returncode == 5
    assert (
        "cannot use the certificates"
        in secured.command("--certificate-file", str(secured.config), "user", "list").stderr
    )
    here = subprocess.run(
        [COMMAND, "--config", str(secured.config), "token", "download", "x", "y"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert here.returncode == 3, "the socket answers: there is no such vfolder"


def test_authorities_are_changed_while_it_runs(secured: Secured) -> None:
    """Who is not named any more does not get through any more, and whoever is now does; back again for the others here."""
    file = secured.folder / "managers.pem"
    before = file.read_bytes()
    try:
        _replace(file, secured.stranger.read_bytes())
        eventually(lambda: _gets_through(secured, secured.stranger), "the other authority is believed")
        assert not _gets_through(secured, secured.caller)
    finally:
        _replace(file, before)
        eventually(lambda: secured.answers, "the first authority is believed again")


def _replace(file: Path, content: bytes) -> None:
    new = file.with_suffix(".new")
    new.write_bytes(content)
    new.rename(file)


def _gets_through(secured: Secured, shown: Path) -> bool:
    try:
        return secured.status(secured.manager_port, "/livez", shown) == 200
    except httpx.HTTPError:
        return False


def test_authorities_without_a_certificate_of_its_own_are_refused(tmp_path: Path) -> None:
    """There would be nobody to ask callers for theirs."""
    config = tmp_path / "vfgateway.toml"
    config.write_text('[frontends.manager]\nclient_ca = "x.pem"\n')
    command = [str(TWISTD), "--nodaemon", "--pidfile=", "vfgateway", "--check", "--config", str(config)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert "client_ca needs certificate" in done.stderr

"""Logging in to a gateway of two processes by SFTP and WebDAV, with real clients: codes of an app, app passwords, guessing."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import paramiko
import pyotp
import pytest
import requests

from tests.support.process import GatewayProcess, eventually, free_port
from tests.support.sftp import OPTIONS, SftpSite, run

PASSWORD = "correct horse"
V1 = "/vfgateway/v1"


class LoginSite(SftpSite):
    """With WebDAV, and two processes."""

    def __init__(self, folder: Path) -> None:
        self.webdav_port = free_port()
        super().__init__(folder, options={"login_delay": "0.01"})

    def _configuration(self, volumes: Any) -> str:
        text = super()._configuration(volumes).replace("workers = 1", "workers = 2")
        return text + f'[frontends.webdav]\nendpoint = "tcp:{self.webdav_port}:interface=127.0.0.1"\n'

    def add(self, password: str = PASSWORD) -> str:
        """A user of the test's own."""
        name = f"u{uuid4().hex[:8]}"
        self.manager("POST", f"{V1}/users", {"name": name, "password": password})
        self.manager("POST", f"{V1}/vfolders", {"owner": name, "name": "data", "volume": "local"})
        return name

    def enrol(self, name: str) -> tuple[pyotp.TOTP, list[str]]:
        """Give somebody a second factor; the app and the recovery codes."""
        app = pyotp.TOTP(self.manager("POST", f"{V1}/users/{name}/second-factor")["secret"])
        answer = self.manager("POST", f"{V1}/users/{name}/second-factor/confirm", {"code": app.now()})
        return app, answer["recovery_codes"]

    def webdav(self, name: str, password: str, method: str = "PROPFIND") -> requests.Response:
        """One request, over a connection of its own, so that either process may answer."""
        url = f"http://127.0.0.1:{self.webdav_port}/data/"
        headers = {"Depth": "0", "Connection": "close"}
        return requests.request(method, url, auth=(name, password), headers=headers, timeout=20)

    def asked(self, name: str, answers: Path, log: Path) -> subprocess.CompletedProcess[str]:
        """OpenSSH's ``sftp``, which asks at a terminal: a program answers with the lines of a file, and notes the questions."""
        helper = answers.with_suffix(".sh")
        helper.write_text(f'#!/bin/sh\necho "$1" >> {log}\nhead -1 {answers}\nsed -i 1d {answers}\n')
        helper.chmod(0o700)
        options = [each for each in OPTIONS if "BatchMode" not in each]
        command = ["sftp", *options, "-oPreferredAuthentications=keyboard-interactive", "-oNumberOfPasswordPrompts=1"]
        command += [f"-oPort={self.sftp_port}", "-oIdentityFile=none", f"{name}@127.0.0.1"]
        environ = {
            "SSH_ASKPASS": str(helper),
            "SSH_ASKPASS_REQUIRE": "force",
            "DISPLAY": os.environ.get("DISPLAY", ":0"),
        }
        return run(command, check=False, text="ls data\n", environ=environ)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginSite]:
    site = LoginSite(tmp_path_factory.mktemp("logins"))
    with GatewayProcess(site):
        yield site


def transport(site: LoginSite) -> paramiko.Transport:
    made = paramiko.Transport(("127.0.0.1", site.sftp_port))
    made.start_client(timeout=20)
    return made


def test_openssh_asks_for_the_code(site: LoginSite, tmp_path: Path) -> None:
    """After the password, in the same dialogue; a used code is refused."""
    name = site.add()
    app, _ = site.enrol(name)
    code = app.at(time.time() + 30)
    answers, log = tmp_path / "answers", tmp_path / "log"
    for good in (True, False):
        answers.write_text(f"{PASSWORD}\n{code}\n")
        done = site.asked(name, answers, log)
        assert (done.returncode == 0) == good, done.stderr
    questions = log.read_text()
    assert "Password:" in questions
    assert "Code of the second factor:" in questions


def test_a_password_alone_is_refused_and_it_is_said_what_helps(site: LoginSite) -> None:
    """By SFTP's password method and by WebDAV; a recovery code helps, and so does an app password."""
    name = site.add()
    assert site.webdav(name, PASSWORD).status_code == 207
    _, codes = site.enrol(name)
    refused = site.webdav(name, PASSWORD)
    assert refused.status_code == 401
    assert "app password" in refused.text
    assert "app password" not in site.webdav(name, "wrong").text
    ssh = transport(site)
    with pytest.raises(paramiko.AuthenticationException):
        ssh.auth_password(name, PASSWORD, fallback=False)
    assert "app password" in (ssh.get_banner() or b"").decode()
    words = iter([PASSWORD, codes[0]])
    ssh.auth_interactive(name, lambda title, instructions, prompts: [next(words) for _ in prompts])
    assert ssh.is_authenticated()
    ssh.close()
    key = site.manager("POST", f"{V1}/users/{name}/keys", {"kind": "app_password"})["secret"]
    assert site.webdav(name, key).status_code == 207
    with transport(site) as ssh:
        ssh.auth_password(name, key, fallback=False)
        assert ssh.is_authenticated()


def test_an_app_password_for_one_thing(site: LoginSite) -> None:
    """One that reads by WebDAV opens nothing else, and neither does it to write."""
    name = site.add()
    body = {"kind": "app_password", "protocols": ["webdav"], "vfolders": [f"{name}/data"], "permission": "ro"}
    key = site.manager("POST", f"{V1}/users/{name}/keys", body)["secret"]
    assert site.webdav(name, key).status_code == 207
    made = requests.request(
        "MKCOL",
        f"http://127.0.0.1:{site.webdav_port}/data/new",
        auth=(name, key),
        timeout=20,
    )
    assert made.status_code == 403
    with transport(site) as ssh, pytest.raises(paramiko.AuthenticationException):
        ssh.auth_password(name, key, fallback=False)
    shown = site.manager("GET", f"{V1}/users/{name}/keys")["keys"]
    site.manager("DELETE", f"{V1}/users/{name}/keys/{shown[0]['id']}")
    assert site.webdav(name, key).status_code == 401


def test_guessing_at_one_door_closes_the_others(site: LoginSite) -> None:
    """In both processes; until an administrator lifts it. Somebody else comes in from the same place."""
    name, other = site.add(), site.add()
    statuses = [site.webdav(name, f"wrong {number}").status_code for number in range(5)]
    assert statuses == [401] * 5
    guesses = (site.webdav(name, f"more {number}") for number in itertools.count())
    long_enough = "one has to wait so long that the rest is over before, on a slow machine, too"
    eventually(lambda: int(next(guesses).headers.get("retry-after", 0)) >= 4, long_enough)
    late = site.webdav(name, PASSWORD)
    assert late.status_code == 429
    assert int(late.headers["retry-after"]) >= 1
    with transport(site) as ssh, pytest.raises(paramiko.AuthenticationException):
        ssh.auth_password(name, PASSWORD, fallback=False)
    assert site.webdav(other, PASSWORD).status_code == 207
    found = [each for each in site.manager("GET", f"{V1}/lockouts")["lockouts"] if each["name"] == name]
    assert [(each["kind"], each["address"]) for each in found] == [("login", "127.0.0.1")]
    assert site.manager("POST", f"{V1}/lockouts/lift", {"name": name})["lifted"] >= 1
    eventually(lambda: site.webdav(name, PASSWORD).status_code == 207, "both processes let the right password in")


def test_asking_anew_gives_no_new_chances(site: LoginSite) -> None:
    """Paramiko asks for the service again before each method: the connection ends all the same."""
    name = site.add()
    with transport(site) as ssh:
        for count in range(20):
            with pytest.raises((paramiko.SSHException, EOFError)):
                ssh.auth_password(name, f"wrong {count}", fallback=False)
            if not ssh.is_active():
                break
    assert count < 10

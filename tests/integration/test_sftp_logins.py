"""All the ways in, by the clients that people use: keys of every kind, several for a user, for a while or from somewhere; passwords and prompts."""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.process import ALICE, GatewayProcess
from tests.support.sftp import OPTIONS, SftpSite, run


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A running gateway."""
    site = SftpSite(tmp_path_factory.mktemp("sftp"), options={"login_delay": "0.01"})
    with GatewayProcess(site) as process:
        site.populate()
        yield process


@pytest.fixture
def site(process: GatewayProcess) -> SftpSite:
    """Its site."""
    assert isinstance(process.site, SftpSite)
    return process.site


def admit(site: SftpSite, line: str) -> str:
    """Add a key of alice's; where it can be removed again."""
    identity = site.manager("GET", "/vfgateway/v1/users")["users"][0]["id"]
    where = f"/vfgateway/v1/users/{identity}/keys"
    return f"{where}/{site.manager('POST', where, {'kind': 'public_key', 'public_key': line})['id']}"


def made(folder: Path, *options: str) -> Path:
    """A new key pair."""
    key = folder / f"key-{len(list(folder.iterdir()))}"
    run(["ssh-keygen", "-q", "-N", "", "-C", "a comment", *options, "-f", key])
    return key


def let_in(site: SftpSite, *keys: Path) -> bool:
    """Whether OpenSSH comes in with these keys, tried in this order."""
    identities = [f"-oIdentityFile={key}" for key in keys]
    command = ["sftp", *OPTIONS, *identities, f"-oPort={site.sftp_port}", "-b", "-", "alice@127.0.0.1"]
    return run(command, text="pwd\n", check=False).returncode == 0


@pytest.mark.parametrize(
    "options",
    [
        ["-t", "ed25519"],
        ["-t", "ecdsa", "-b", "256"],
        ["-t", "ecdsa", "-b", "384"],
        ["-t", "ecdsa", "-b", "521"],
        ["-t", "rsa", "-b", "2048"],
    ],
    ids="-".join,
)
def test_keys_of_every_kind(site: SftpSite, tmp_path: Path, options: list[str]) -> None:
    """Each leads in as long as the account has it."""
    key = made(tmp_path, *options)
    assert not let_in(site, key)
    where = admit(site, key.with_suffix(".pub").read_text())
    assert let_in(site, key)
    site.manager("DELETE", where)
    assert not let_in(site, key)


def test_several_keys_for_one_user(site: SftpSite, tmp_path: Path) -> None:
    """One good anywhere, one that has expired, one that will, one for another place: each is judged by itself, and a client may offer the others
    first."""
    always, expired, lasting, elsewhere, here = [made(tmp_path, "-t", "ed25519") for _ in range(5)]
    tomorrow = time.strftime("%Y%m%d%H%M", time.gmtime(time.time() + 86400))
    options = {
        always: "",
        expired: 'expiry-time="202001010000" ',
        lasting: f'restrict,expiry-time="{tomorrow}" ',
        elsewhere: 'from="10.0.0.0/8,2001:db8::/32" ',
        here: 'from="127.0.0.0/8,!127.0.0.9" ',
    }
    for key, option in options.items():
        admit(site, option + key.with_suffix(".pub").read_text())
    assert [let_in(site, key) for key in options] == [True, False, True, False, True]
    assert let_in(site, expired, elsewhere, always)


class _Token(paramiko.PKey):  # type: ignore[misc]
    """A FIDO token as OpenSSH speaks to one, in software.

    :param touched: whether somebody has confirmed the login
    """

    def __init__(self, name: str, touched: bool = True) -> None:
        self.name, self.touched = name, touched
        self._key: Any = (
            ed25519.Ed25519PrivateKey.generate() if "ed25519" in name else ec.generate_private_key(ec.SECP256R1())
        )

    def get_name(self) -> str:
        return self.name

    def asbytes(self) -> bytes:
        message = paramiko.Message()
        message.add_string(self.name)
        if "ed25519" in self.name:
            message.add_string(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        else:
            message.add_string("nistp256")
            message.add_string(self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
        message.add_string("ssh:")
        return bytes(message.asbytes())

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> paramiko.Message:
        tail = struct.pack(">BI", int(self.touched), 7)
        signed = hashlib.sha256(b"ssh:").digest() + tail + hashlib.sha256(data).digest()
        if "ed25519" in self.name:
            inner = self._key.sign(signed)
        else:
            numbers = paramiko.Message()
            for number in decode_dss_signature(self._key.sign(signed, ec.ECDSA(SHA256()))):
                numbers.add_mpint(number)
            inner = numbers.asbytes()
        message = paramiko.Message()
        message.add_string(self.name)
        message.add_string(inner)
        message.add_bytes(tail)
        return message


@pytest.mark.parametrize("name", ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"])
def test_keys_in_tokens(site: SftpSite, name: str) -> None:
    """They sign for who touches them, and for nobody else."""
    token = _Token(name)
    admit(site, f"{name} {token.get_base64()} of a token")

    def comes_in(key: paramiko.PKey) -> bool:
        transport = paramiko.Transport(("127.0.0.1", site.sftp_port))
        try:
            transport.connect(username="alice", pkey=key)
            return bool(transport.is_authenticated())
        except paramiko.AuthenticationException:
            return False
        finally:
            transport.close()

    assert comes_in(token)
    token.touched = False
    assert not comes_in(token)
    assert not comes_in(_Token(name))


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
def test_openssh_asks_for_the_password(process: GatewayProcess, site: SftpSite, tmp_path: Path, method: str) -> None:
    """By the method as by the prompt; told as what it was."""
    asking = tmp_path / "ask"
    options = [*OPTIONS[:-2], "-oBatchMode=no", "-oPubkeyAuthentication=no", "-oNumberOfPasswordPrompts=1"]
    command = ["sftp", *options, f"-oPreferredAuthentications={method}", f"-oPort={site.sftp_port}", "alice@127.0.0.1"]
    for password, good in ((ALICE[1], True), ("wrong", False)):
        asking.write_text(f"#!/bin/sh\necho '{password}'\n")
        asking.chmod(0o700)
        done = run(
            command, text="pwd\n", environ={"SSH_ASKPASS": str(asking), "SSH_ASKPASS_REQUIRE": "force"}, check=False
        )
        assert ("/" in done.stdout.split()) is good, done.stderr
    assert f"login: user=alice address=127.0.0.1 protocol=sftp method={method}" in process.output
    assert f"login_failed: user=alice address=127.0.0.1 protocol=sftp method={method}" in process.output


def test_putty_and_its_relatives(site: SftpSite, tmp_path: Path) -> None:
    """psftp and pscp, which speak as WinSCP and FileZilla do: host key, login by prompt, transfers both ways, resuming, both protocols of scp."""
    content = hashlib.shake_256(b"putty").digest(2_000_001)
    (tmp_path / "big").write_bytes(content)
    (tmp_path / "half").write_bytes(content[:700_001])
    public = site.data_dir / "hostkeys/ssh_host_ed25519_key.pub"
    fingerprint = run(["ssh-keygen", "-lf", public]).stdout.split()[1]
    login = ["-batch", "-P", str(site.sftp_port), "-pw", ALICE[1], "-hostkey", fingerprint]
    home = {"HOME": str(tmp_path)}
    script = tmp_path / "script"
    script.write_text(
        "cd data\nmkdir d\nput half d/x\nreput big d/x\nmv d/x y\nchmod 600 y\nls\nget y back\nreget y half\nput -r tree\nrmdir d\nmkdir sftp\nmkdir scp\n"
    )
    (tmp_path / "tree/a b").mkdir(parents=True)
    (tmp_path / "tree/a b/f").write_text("f")
    command: list[str | Path] = ["psftp", *login, "alice@127.0.0.1", "-bc", "-b", script]
    said = run(command, cwd=tmp_path, environ=home).stdout
    assert "-rw-------" in said
    assert (tmp_path / "back").read_bytes() == (tmp_path / "half").read_bytes() == content
    for kind in ("-sftp", "-scp"):
        back = tmp_path / kind
        back.mkdir()
        run(["pscp", kind, *login, "-r", "-p", "tree", f"alice@127.0.0.1:data/{kind[1:]}"], cwd=tmp_path, environ=home)
        run(
            ["pscp", kind, "-unsafe", *login, "-r", f"alice@127.0.0.1:data/{kind[1:]}/*", back],
            cwd=tmp_path,
            environ=home,
        )
        assert (back / "tree/a b/f").read_text() == "f"


def test_nothing_else_is_to_be_had(site: SftpSite, tmp_path: Path) -> None:
    """No shell, no terminal, no forwarding in either direction, no other subsystem: each with a word that says why, as far as clients show it."""
    site.admit_key()
    options = [word for word in site.ssh_options() if "LogLevel" not in word]
    there = "alice@127.0.0.1"
    shell = run(["ssh", *options, "-T", there], check=False)
    assert (shell.returncode, shell.stdout) == (1, "This service is for SFTP; there is no shell.\n")
    assert "PTY allocation request failed" in run(["ssh", *options, "-tt", there], check=False).stderr
    tunnel = run(["ssh", *options, "-W", "127.0.0.1:1", there], check=False)
    assert "administratively prohibited: this service is for SFTP; nothing is forwarded" in tunnel.stderr
    back = run(
        ["ssh", *options, "-N", "-oExitOnForwardFailure=yes", "-R", "127.0.0.1:0:127.0.0.1:1", there], check=False
    )
    assert "remote port forwarding failed" in back.stderr
    assert "subsystem request failed" in run(["ssh", *options, "-s", there, "netconf"], check=False).stderr
    command = run(["ssh", *options, there, "rm -rf /"], check=False)
    assert command.returncode == 127
    assert command.stderr.endswith("\nrm: not here; this service is for SFTP\n")

"""What is agreed upon before the first file: algorithms as an auditor sees them, keys of today, of tomorrow, and new ones at any time."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import paramiko
import pytest

from tests.protocols.sftp.client import string, take
from tests.support.process import ALICE, GatewayProcess
from tests.support.sftp import OPTIONS, SftpSite, run

SSH_AUDIT = Path(sys.executable).parent / "ssh-audit"
IGNORE, KEXINIT, KEX_INIT, KEX_REPLY, UNIMPLEMENTED = 2, 20, 30, 31, 3
HYBRID = "mlkem768x25519-sha256"
CONTENT = os.urandom(2 << 20)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpSite]:
    """A running gateway whose user alice has a key."""
    site = SftpSite(tmp_path_factory.mktemp("sftp"))
    with GatewayProcess(site):
        site.populate()
        site.admit_key()
        yield site


def test_an_audit_finds_no_failure(site: SftpSite) -> None:
    """ssh-audit's JSON names no algorithm as failing, no vulnerability, and recommends to remove or change nothing; what it warns of is
    what older clients need: a key exchange without a part that quantum computers cannot break, and MACs over the plain packet."""
    done = run([SSH_AUDIT, "--json", "--skip-rate-test", "-p", str(site.sftp_port), "127.0.0.1"], check=False)
    told = json.loads(done.stdout)
    assert done.returncode in (0, 2), done.stdout  # good, or with warnings
    algorithms = [each for kind in ("kex", "key", "enc", "mac") for each in told[kind]]
    assert len(algorithms) > 8
    assert [each for each in algorithms if "fail" in each["notes"]] == []
    assert told["cves"] == []
    assert not told["recommendations"].get("critical")
    warned = {each["algorithm"] for each in algorithms if "warn" in each["notes"]}
    assert warned <= {"curve25519-sha256", "curve25519-sha256@libssh.org", "hmac-sha2-256", "hmac-sha2-512"}
    assert told["kex"][0]["algorithm"] == HYBRID
    assert all(each.get("keysize", 3072) >= 3072 for each in told["key"])


# --- key exchange ---


def test_a_hybrid_exchange_with_asyncssh(site: SftpSite, tmp_path: Path) -> None:
    """ML-KEM-768 beside X25519 (draft-ietf-sshm-mlkem-hybrid-kex), also when keys are exchanged again and again."""
    (tmp_path / "there").write_bytes(CONTENT)

    async def transfer() -> None:
        login = {"username": ALICE[0], "password": ALICE[1], "known_hosts": None, "client_keys": None}
        only = {"kex_algs": [HYBRID], "rekey_bytes": 300_000}
        async with asyncssh.connect("127.0.0.1", site.sftp_port, config=None, **login, **only) as connection:
            async with connection.start_sftp_client() as sftp:
                await sftp.put(str(tmp_path / "there"), "/data/hybrid")
                await sftp.get("/data/hybrid", str(tmp_path / "back"))

    asyncio.run(transfer())
    assert (tmp_path / "back").read_bytes() == CONTENT


def test_a_hybrid_exchange_with_paramiko(site: SftpSite) -> None:
    """Another implementation agrees about the shared secret."""
    transport = paramiko.Transport(("127.0.0.1", site.sftp_port))
    try:
        transport.get_security_options().kex = (HYBRID,)
        transport.connect(username=ALICE[0], password=ALICE[1])
        sftp = paramiko.SFTPClient.from_transport(transport)
        assert sftp is not None
        assert "data" in sftp.listdir("/")
    finally:
        transport.close()


@pytest.mark.parametrize("share", [b"", bytes(32), bytes(1184 + 32), b"\xff" * (1184 + 32), bytes(1184 + 31)])
def test_a_share_that_is_none_ends_the_exchange(site: SftpSite, share: bytes) -> None:
    """Of the wrong length, of no order, or out of range: no reply, and nobody else notices."""
    with _Plain(site.sftp_port, HYBRID) as client:
        client.send(KEX_INIT, string(share))
        assert client.ends()
    assert site.sftp("pwd").returncode == 0


@pytest.mark.parametrize("kex", ["curve25519-sha256", "curve25519-sha256@libssh.org"])
@pytest.mark.parametrize("limit", ["none", "256K"])
def test_openssh_and_every_other_exchange(site: SftpSite, tmp_path: Path, kex: str, limit: str) -> None:
    """Once, or after every quarter of a megabyte."""
    (tmp_path / "there").write_bytes(CONTENT)
    options = [f"-oKexAlgorithms={kex}", *([] if limit == "none" else [f"-oRekeyLimit={limit}"])]
    site.sftp(f"put {tmp_path}/there data/f\nget data/f {tmp_path}/back", *options)
    assert (tmp_path / "back").read_bytes() == CONTENT


# --- strict key exchange (Terrapin, CVE-2023-48795) ---


class _Plain:
    """A client before encryption: it sends what it likes."""

    def __init__(self, port: int, kex: str, before: bytes = b"") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._file = self._socket.makefile("rb")
        assert self._file.readline().startswith(b"SSH-2.0-vfgateway")
        self._socket.sendall(b"SSH-2.0-test\r\n" + before)
        lists = [kex, "ssh-ed25519", *["aes128-gcm@openssh.com"] * 2, *["hmac-sha2-256"] * 2, *["none"] * 2, "", ""]
        self.send(KEXINIT, os.urandom(16) + b"".join(string(each.encode()) for each in lists) + bytes(5))
        kind, rest = self.receive()
        assert kind == KEXINIT
        self.offered = take(rest[16:])[0].decode().split(",")

    def send(self, kind: int, body: bytes) -> None:
        """One packet."""
        self._socket.sendall(packet(kind, body))

    def receive(self) -> tuple[int, bytes]:
        """The next packet."""
        (length,) = struct.unpack(">I", self._file.read(4))
        data = self._file.read(length)
        return data[1], data[2 : length - data[0]]

    def ends(self) -> bool:
        """Whether nothing but a good-bye comes."""
        try:
            rest = self._file.read()
        except ConnectionResetError:
            return True
        return not rest or rest[5] == 1

    def __enter__(self) -> _Plain:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()


def packet(kind: int, body: bytes) -> bytes:
    """As it goes before there are keys."""
    pad = 16 - (6 + len(body)) % 8
    return struct.pack(">IBB", 2 + len(body) + pad, pad, kind) + body + bytes(pad)


STRICT = "curve25519-sha256,kex-strict-c-v00@openssh.com"
BASE_POINT = b"\x09" + bytes(31)


def test_nothing_can_be_slipped_into_a_strict_exchange(site: SftpSite) -> None:
    """A message that would be ignored otherwise, and would shift the count of packets, ends the connection; before the exchange, too."""
    for kind in (IGNORE, UNIMPLEMENTED, 4):
        with _Plain(site.sftp_port, STRICT) as client:
            assert "kex-strict-s-v00@openssh.com" in client.offered
            client.send(kind, string(b"slipped in"))
            client.send(KEX_INIT, string(BASE_POINT))
            assert client.ends()
    with pytest.raises((AssertionError, struct.error, OSError, IndexError)):
        with _Plain(site.sftp_port, STRICT, before=packet(IGNORE, string(b"before"))) as client:
            client.send(KEX_INIT, string(BASE_POINT))
            assert client.receive()[0] == KEX_REPLY


def test_clients_that_are_not_strict_are_served(site: SftpSite) -> None:
    """As RFC 4253 section 7.1 has it: with them, such a message is ignored; and the same exchange without one succeeds when strict."""
    with _Plain(site.sftp_port, "curve25519-sha256") as client:
        client.send(IGNORE, string(b"as the RFC allows"))
        client.send(KEX_INIT, string(BASE_POINT))
        assert client.receive()[0] == KEX_REPLY
    with _Plain(site.sftp_port, STRICT) as client:
        client.send(KEX_INIT, string(BASE_POINT))
        assert client.receive()[0] == KEX_REPLY


def test_openssh_is_strict_with_us_and_counts_anew(site: SftpSite, tmp_path: Path) -> None:
    """Its own words say so, for the first keys and for those after."""
    (tmp_path / "there").write_bytes(CONTENT)
    said = site.sftp(f"put {tmp_path}/there data/f\nget data/f {tmp_path}/back", "-vvv", "-oRekeyLimit=512K").stderr
    assert "will use strict KEX ordering" in said
    assert said.count("resetting send seqnr") >= 3
    assert said.count("resetting read seqnr") >= 3
    # Had we counted otherwise, not one packet would have come through.
    assert (tmp_path / "back").read_bytes() == CONTENT


# --- signatures ---


@pytest.mark.parametrize("algorithm", ["rsa-sha2-256", "rsa-sha2-512"])
def test_rsa_keys_sign_with_sha2(site: SftpSite, tmp_path: Path, algorithm: str) -> None:
    """Which the server tells by ``server-sig-algs``; never with SHA-1."""
    key = tmp_path / "key"
    run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", key])
    identity = site.manager("GET", "/vfgateway/v1/users")["users"][0]["id"]
    body = {"kind": "public_key", "public_key": key.with_suffix(".pub").read_text()}
    site.manager("POST", f"/vfgateway/v1/users/{identity}/keys", body)

    def login(accepted: str) -> tuple[int, str]:
        options = [*OPTIONS, f"-oIdentityFile={key}", f"-oPort={site.sftp_port}", "-v"]
        command = ["sftp", *options, f"-oPubkeyAcceptedAlgorithms={accepted}", "-b", "-", "alice@127.0.0.1"]
        done = run(command, text="pwd\n", check=False)
        return done.returncode, done.stderr

    status, said = login(algorithm)
    assert status == 0, said
    assert "server-sig-algs=<" in said
    assert algorithm in said.partition("server-sig-algs=<")[2].partition(">")[0].split(",")
    assert login("ssh-rsa")[0] != 0

"""The doctor looks around the gateway, too: each common mistake is told with its remedy, and none where there is none."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.test_doctor import WORKING
from tests.support.databases import lay_database
from vfgateway.cli import place, surroundings


def placed(folder: Path, text: str) -> place.Place:
    """A configuration as the command reads it."""
    file = folder / "vfgateway.toml"
    file.write_text(text)
    file.chmod(0o600)
    return place.find(file)


def details(findings: object) -> dict[str, tuple[bool, str]]:
    """By subject."""
    return {one.what: (one.ok, one.detail) for one in findings}  # type: ignore[attr-defined]


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the data directory and of each volume, before uploads find out."""
    found = os.statvfs(tmp_path)
    values = list(found)
    for index in (3, 4):  # f_bfree, f_bavail
        values[index] = 1
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(values))
    told = details(surroundings.disks(placed(tmp_path, WORKING)))
    assert {what: ok for what, (ok, _) in told.items()} == {"disk of data_dir": False, "disk of volume local": False}
    assert "make room" in told["disk of volume local"][1]


def test_a_lock_on_the_database_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With how to find whoever holds it; nothing of the sort without."""
    monkeypatch.setattr(surroundings, "PATIENCE", 0.1)
    lay_database(tmp_path / "var/vfgateway.db")
    there = placed(tmp_path, WORKING)
    with closing(sqlite3.connect(tmp_path / "var/vfgateway.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ok, detail = details(surroundings.database(there))["database's lock"]
        assert not ok
        assert "fuser" in detail
    assert details(surroundings.database(there))["database's lock"][0]


def test_a_database_on_a_network_file_system_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite would lose it sooner or later."""
    lay_database(tmp_path / "var/vfgateway.db")
    monkeypatch.setattr(surroundings, "_file_system", lambda path: "nfs4")
    assert "PostgreSQL" in details(surroundings.database(placed(tmp_path, WORKING)))["database's disk"][1]


def test_a_clock_that_went_back_is_told(tmp_path: Path) -> None:
    """By the files that are there already."""
    there = placed(tmp_path, WORKING)
    assert surroundings.clock(there).ok
    lay_database(tmp_path / "var/vfgateway.db")
    os.utime(tmp_path / "var/vfgateway.db", (time.time() + 7200,) * 2)
    assert "120 minutes" in surroundings.clock(there).detail


def test_hosts_without_an_address_are_told(tmp_path: Path) -> None:
    """Wherever the configuration names them."""
    text = WORKING + '[authenticators.ldap]\nurl = "ldaps://ldap.invalid"\n[events.redis]\nurl = "redis://127.0.0.1"\n'
    found = details(surroundings.names(placed(tmp_path, text)))
    assert not found["host ldap.invalid"][0]
    assert "authenticators.ldap.url" in found["host ldap.invalid"][1]
    assert found["host 127.0.0.1"][0]


@pytest.mark.parametrize(
    ("names", "begins", "ends", "told"),
    [
        (["files.example.org"], -1, 90, ""),
        (["*.example.org"], -1, 90, ""),
        (["other.example.org"], -1, 90, "people come to files.example.org"),
        (["files.example.org"], -90, -1, "ended on"),
        (["files.example.org"], -90, 3, "renew it"),
        (["files.example.org"], 1, 90, "is the clock right"),
        ([], -1, 90, "names no host"),
    ],
)
def test_certificates_that_clients_would_refuse_are_told(
    tmp_path: Path, names: list[str], begins: int, ends: int, told: str
) -> None:
    """By their time and by the name under which people come."""
    (tmp_path / "server.pem").write_bytes(certificate(names, timedelta(days=begins), timedelta(days=ends)))
    text = '[frontends.client]\ncertificate = "server.pem"\n[frontends.manager]\nclient_url = "https://files.example.org"\n'
    ok, detail = details(surroundings.certificates(placed(tmp_path, text)))["certificate of client"]
    assert ok == (not told)
    assert told in detail


def certificate(names: list[str], begins: timedelta, ends: timedelta) -> bytes:
    """One that signs itself, good from ``begins`` to ``ends`` from now."""
    from datetime import UTC, datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now + begins).not_valid_after(now + ends)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        (
            '[frontends.client]\nendpoint = "tcp:6021:interface=127.0.0.1"\n'
            '[frontends.manager]\nendpoint = "unix:/x"\nclient_url = "https://files.example.org"\n',
            "proxies",
            "trusted_proxies",
        ),
        ('[frontends.webdav]\nendpoint = "tcp:6023"\n', "TLS of webdav", "certificate"),
        (
            '[frontends.webdav]\nendpoint = ["unix:/x", "tcp6:6023:interface=\\\\:\\\\:"]\n',
            "TLS of webdav",
            "certificate",
        ),
    ],
)
def test_what_is_open_that_should_not_be_is_told(tmp_path: Path, text: str, what: str, remedy: str) -> None:
    """And is in order once the remedy was taken."""
    ok, detail = details(surroundings.openness(placed(tmp_path, text)))[what]
    assert not ok
    assert remedy in detail
    mended = '[gateway]\ntrusted_proxies = ["127.0.0.1"]\n' + text
    assert details(surroundings.openness(placed(tmp_path, mended))) == {}


def test_secrets_that_everybody_can_read_are_told(tmp_path: Path) -> None:
    """In files of their own, and in the configuration."""
    secret = tmp_path / "manager.secret"
    secret.write_text("x")
    secret.chmod(0o644)
    text = '[frontends.manager]\nsecret_file = "manager.secret"\n[authenticators.ldap]\nbind_password = "x"\n'
    there = placed(tmp_path, text)
    assert f"chmod o= {secret}" in details(surroundings.secrets(there))["secret frontends.manager.secret_file"][1]
    (tmp_path / "vfgateway.toml").chmod(0o644)
    assert "vfgateway.toml" in details(surroundings.secrets(there))["secret authenticators.ldap.bind_password"][1]


def test_a_volume_that_is_not_mounted_is_told(tmp_path: Path) -> None:
    """As /etc/fstab wants it."""
    table = tmp_path / "fstab"
    table.write_text(f"# comment\nnas:/export {tmp_path}/nas nfs4 defaults 0 0\nproc /proc proc defaults 0 0\n")
    there = placed(tmp_path, f'[volumes.nas]\npath = "{tmp_path}/nas/vfolders"\n[volumes.other]\npath = "/proc/x"\n')
    found = details(surroundings.mounts(there, table))
    assert list(found) == ["mount of volume nas"]
    assert f"mount {tmp_path}/nas" in found["mount of volume nas"][1]


def test_missing_capabilities_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the process that runs."""
    there = placed(
        tmp_path, '[volumes.local]\npath = "x"\nowner = "principal"\n[volumes.mine]\npath = "y"\nowner = "service"\n'
    )
    real = Path.read_text

    def status(self: Path, *args: object) -> str:
        return "Uid:\t990\t990\t990\t990\nCapEff:\t0000000000000000\n" if self.name == "status" else real(self)

    monkeypatch.setattr(Path, "read_text", status)
    found = details(surroundings.rights(there, 1))
    assert list(found) == ["capabilities for volume local"]
    assert "AmbientCapabilities" in found["capabilities for volume local"][1]

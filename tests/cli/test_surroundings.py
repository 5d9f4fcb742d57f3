"""What is around the gateway, in its finer points: what is told of names, times and addresses, and what is not. Each mistake by itself is
made in ``test_mistakes``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.test_doctor import placed
from tests.support.tls import issued
from vfgateway.cli import certificates, exposure, surroundings
from vfgateway.cli.place import Place
from vfgateway.findings import Finding


def looked(there: Place) -> list[Finding]:
    """What is told of TLS and proxies."""
    return [*exposure.proxies(there), *exposure.openness(there)]


def details(findings: object) -> dict[str, tuple[bool, str]]:
    """By subject."""
    return {one.what: (one.ok, one.detail) for one in findings}  # type: ignore[attr-defined]


def test_hosts_are_told_with_the_key_that_names_them(tmp_path: Path) -> None:
    """Wherever the configuration names them; addresses need no server of names."""
    text = '[authenticators.ldap]\nurl = "ldaps://ldap.invalid"\n[events.redis]\nurl = "redis://127.0.0.1"\n'
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
    (tmp_path / "server.pem").write_bytes(b"".join(issued(names, timedelta(days=begins), timedelta(days=ends))))
    text = '[frontends.client]\ncertificate = "server.pem"\n[frontends.manager]\nclient_url = "https://files.example.org"\n'
    ok, detail = details(certificates.look(placed(tmp_path, text)))["certificate of client"]
    assert ok == (not told)
    assert told in detail


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
    ok, detail = details(looked(placed(tmp_path, text)))[what]
    assert not ok
    assert remedy in detail
    mended = '[gateway]\ntrusted_proxies = ["127.0.0.1"]\n' + text
    assert details(looked(placed(tmp_path, mended))) == {}


def test_secrets_are_told_by_the_key_that_names_them(tmp_path: Path) -> None:
    """In files of their own, and in the configuration; never what they are."""
    secret = tmp_path / "manager.secret"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    text = '[frontends.manager]\nsecret_file = "manager.secret"\n[authenticators.ldap]\nbind_password = "swordfish"\n'
    there = placed(tmp_path, text)
    (tmp_path / "vfgateway.toml").chmod(0o644)
    found = list(exposure.secrets(there))
    told = [(each.what, each.detail) for each in found]
    assert ("secret frontends.manager.secret_file", f"everybody can read {secret}: chmod o= {secret}") in told
    assert any(what == "secret authenticators.ldap.bind_password" and "vfgateway.toml" in how for what, how in told)
    assert not any(word in how for _, how in told for word in ("hunter2", "swordfish"))

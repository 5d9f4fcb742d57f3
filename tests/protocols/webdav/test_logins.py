"""Where passwords are taken, and TLS."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread

from tests.support.site import answer_ok, listening
from tests.support.tls import certificate
from tests.support.webdav import basic, webdav
from vfgateway.errors import ConfigurationError
from vfgateway.protocols.web.forwarded import TrustedProxies
from vfgateway.protocols.web.tls import LOOK, ReloadingCertificate


def new_pem() -> bytes:
    """A certificate with its key, unlike any other."""
    pem: bytes = certificate.__wrapped__().dumpPEM()
    return pem


def shown_by(port: int) -> str:
    """The certificate that a server shows."""
    return ssl.get_server_certificate(("127.0.0.1", port)).strip()


async def test_passwords_only_where_nobody_listens(tmp_path: Path) -> None:
    """Through a trusted proxy that says it spoke TLS: yes. That says it did not: no, and no password is asked for."""
    async with webdav(tmp_path) as dav:
        dav.site.proxies = TrustedProxies(["127.0.0.1"])
        far: Any = {"X_Forwarded_For": "192.0.2.1"}
        assert (await dav.ask("GET", "/data/", X_Forwarded_Proto="https", **far)).status == 200
        refused = await dav.ask("GET", "/data/", X_Forwarded_Proto="http", **far)
        assert (refused.status, "www-authenticate" in refused.headers) == (403, False)
        assert (await dav.ask("OPTIONS", "/data/", X_Forwarded_Proto="http", **far)).status == 200
    plain = tmp_path / "plain"
    plain.mkdir()
    async with webdav(plain, {"allow_plain_login": True}) as dav:
        dav.site.proxies = TrustedProxies(["127.0.0.1"])
        assert (await dav.ask("GET", "/data/", X_Forwarded_Proto="http", **far)).status == 200


async def test_tls(tmp_path: Path) -> None:
    """With a certificate TLS is spoken, and passwords are taken."""
    pem = tmp_path / "tls.pem"
    pem.write_bytes(new_pem())
    async with webdav(tmp_path, {"certificate": str(pem)}) as dav:
        shown = await deferToThread(shown_by, dav.port)
        assert shown in pem.read_text()


async def test_tls_by_a_description(tmp_path: Path) -> None:
    """An endpoint that speaks TLS itself is as good: passwords are taken."""
    pem = tmp_path / "tls.pem"
    pem.write_bytes(new_pem())
    endpoint = f"ssl:0:privateKey={pem}:certKey={pem}:interface=127.0.0.1"
    async with webdav(tmp_path, {"endpoint": endpoint}) as dav:
        shown = await deferToThread(shown_by, dav.port)
        assert shown in pem.read_text()
        tls = ssl.create_default_context(cadata=shown)

        def ask() -> tuple[int, bytes]:
            connection = http.client.HTTPSConnection("127.0.0.1", dav.port, context=tls)
            connection.request("PUT", "/data/f", b"hello", {"Authorization": basic("alice")})
            answer = connection.getresponse()
            return answer.status, answer.read()

        assert await deferToThread(ask) == (201, b"")
        assert (dav.root / "f").read_bytes() == b"hello"


async def test_a_renewed_certificate(tmp_path: Path) -> None:
    """New connections get it without a restart; while it cannot be read, the old one serves."""
    pem, clock = tmp_path / "tls.pem", Clock()
    pem.write_bytes(new_pem())
    creator = ReloadingCertificate(pem, None, clock)
    creator.load()
    async with listening(answer_ok, creator) as port:
        first = await deferToThread(shown_by, port)
        pem.write_bytes(b"half of")
        clock.advance(LOOK + 1)
        assert await deferToThread(shown_by, port) == first
        pem.write_bytes(new_pem())
        clock.advance(LOOK + 1)
        second = await deferToThread(shown_by, port)
        assert second != first
        assert second in pem.read_text()


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_one_that_cannot_be_used(content: bytes | None, tmp_path: Path) -> None:
    """Told at start, by the name of the file."""
    if content is not None:
        (tmp_path / "tls.pem").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"tls\.pem"):
        ReloadingCertificate(tmp_path / "tls.pem", None, Clock()).load()

"""Digests that come with a PUT, and those that a reader asks for."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from tests.support.webdav import webdav

CONTENT = b"hello"


def b64(name: str, content: bytes = CONTENT) -> str:
    """A digest in Base64."""
    return base64.b64encode(hashlib.new(name, content).digest()).decode()


@pytest.mark.parametrize(
    ("field", "form", "name"),
    [
        ("Repr_Digest", "sha-256=:{}:", "sha256"),
        ("Content_Digest", "unknown=:eA==:, sha-512=:{}:", "sha512"),
        ("Digest", "SHA-256={}", "sha256"),
        ("Content_MD5", "{}", "md5"),
    ],
)
async def test_put(field: str, form: str, name: str, tmp_path: Path) -> None:
    """The right one is taken, a wrong one leaves nothing, one that is none is refused before the body."""
    async with webdav(tmp_path) as dav:
        assert (await dav.ask("PUT", "/data/a", CONTENT, **{field: form.format(b64(name))})).status == 201
        assert (await dav.ask("PUT", "/data/b", b"other", **{field: form.format(b64(name))})).status == 400
        assert (await dav.ask("PUT", "/data/b", CONTENT, **{field: form.format("eA==")})).status == 400
        assert not (dav.root / "b").exists()


async def test_on_request(tmp_path: Path) -> None:
    """Whoever wants one gets the kind it likes best, of the whole file, for a HEAD or a range too; others get none."""
    async with webdav(tmp_path) as dav:
        (dav.root / "f").write_bytes(CONTENT)
        assert "repr-digest" not in (await dav.ask("GET", "/data/f")).headers
        wanted = await dav.ask("GET", "/data/f", Want_Repr_Digest="sha-256=3, sha-512=9, crc=10", Range="bytes=0-1")
        assert (wanted.status, wanted.headers["repr-digest"]) == (206, f"sha-512=:{b64('sha512')}:")
        assert (await dav.ask("HEAD", "/data/f", Want_Digest="md5;q=0.3, SHA")).headers[
            "digest"
        ] == f"SHA={b64('sha1')}"
        assert "digest" not in (await dav.ask("HEAD", "/data/f", Want_Digest="sha;q=0")).headers

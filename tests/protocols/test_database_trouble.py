"""A database that takes no changes, as clients of each protocol see it: a plain error soon, and none any more when it is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.test_database_trouble import locked
from tests.support.client_api import client_api, problem
from tests.support.webdav import webdav
from vfgateway.errors import DatabaseUnavailable
from vfgateway.protocols.sftp import faults, wire
from vfgateway.services import database


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little, since a test waits as long as a request does."""
    monkeypatch.setattr(database, "PATIENCE", 0.2)


async def test_over_http(tmp_path: Path) -> None:
    """What is there can be read meanwhile."""
    async with client_api(tmp_path, limit_bytes=1000) as api:
        await api.let_people_in()
        assert (await api.files("PUT", "data/present", b"present")).status == 201
        with locked(api.gateway):
            answer = await api.files("PUT", "data/new", b"new")
            assert (answer.status, problem(answer)["detail"]) == (
                503,
                "the gateway's database is not available; try again later",
            )
            assert (await api.files("DELETE", "data/present")).status == 503
            assert (await api.files("GET", "data/present")).body == b"present"
        assert (await api.files("PUT", "data/new", b"new")).status == 201
        assert (await api.files("DELETE", "data/present")).status == 204


async def test_over_webdav(tmp_path: Path) -> None:
    """Likewise."""
    async with webdav(tmp_path, limit_bytes=1000) as dav:
        assert (await dav.ask("PUT", "/data/present", b"present")).status == 201
        with locked(dav.gateway):
            assert (await dav.ask("PUT", "/data/new", b"new")).status == 503
            assert (await dav.ask("MKCOL", "/data/dir")).status == 503
            assert (await dav.ask("MOVE", "/data/present", Destination="/data/moved")).status == 503
            assert (await dav.ask("GET", "/data/present")).body == b"present"
        assert (await dav.ask("MOVE", "/data/present", Destination="/data/moved")).status == 201
        assert (await dav.ask("PUT", "/data/new", b"new")).status == 201


def test_over_sftp() -> None:
    """A failure with the reason in words: version 3 has no code for it."""
    error = DatabaseUnavailable("database is locked")
    assert faults.code(error) == wire.FAILURE
    assert faults.text(error) == "the gateway's database is not available; try again later"

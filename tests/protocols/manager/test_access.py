"""Who may use the manager API."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.manager import HEADER, ManagerClient, Serving, over_socket, serving_manager
from vfgateway.protocols.manager.access import trusted_peer


@pytest.mark.parametrize("path", ["/volumes", "/no/such/route", "/openapi.json", "/metrics", "/vfgateway/v1/users"])
async def test_nothing_is_said_without_the_secret(shared: Serving, path: str) -> None:
    """Whoever shows no secret is refused before it is known whether the path exists."""
    stranger = ManagerClient(shared.client.url, None)
    problem = await stranger.refused("GET", path, None, 403)
    assert problem["title"] == "Forbidden (missing auth token)"
    assert problem["type"] == "https://api.backend.ai/probs/storage/forbidden"


@pytest.mark.parametrize("secret", ["wrong", "", "some-shared-secre", "some-shared-secret2", "\u00e9\u00ff"])
async def test_a_wrong_secret_is_refused(shared: Serving, secret: str) -> None:
    """Only the whole secret counts."""
    problem = await ManagerClient(shared.client.url, secret).refused("POST", "/folder/create", {}, 403)
    assert problem["title"] == "Forbidden (invalid auth token)"


@pytest.mark.parametrize("path", ["/", "/status", "/health", "/livez", "/readyz"])
async def test_signs_of_life_need_no_secret(shared: Serving, path: str) -> None:
    """Load balancers ask without one."""
    answer = await ManagerClient(shared.client.url, None).call("GET", path)
    assert answer.status == 200


async def test_a_secret_can_be_rotated(tmp_path: Path) -> None:
    """All values of the configured list open, the old one too."""
    async with serving_manager(tmp_path, secret=["new", "old"]) as serving:
        for secret in ("new", "old"):
            assert (await ManagerClient(serving.client.url, secret).call("GET", "/volumes")).status == 200


async def test_a_secret_may_hold_any_text(tmp_path: Path) -> None:
    """As UTF-8."""
    async with serving_manager(tmp_path, secret="gr\u00fc\u00df dich") as serving:
        assert (await ManagerClient(serving.client.url, "gr\u00fc\u00df dich").call("GET", "/volumes")).status == 200


async def test_refusals_are_counted(serving: Serving) -> None:
    """Somebody who guesses secrets shows in the metrics."""
    await ManagerClient(serving.client.url, "guess").refused("GET", "/volumes", None, 403)
    text = (await serving.client.call("GET", "/metrics")).body.decode()
    assert 'method="GET",operation="",status_code="403"} 1.0' in text


async def test_a_missing_secret_file_is_made(tmp_path: Path) -> None:
    """What is in the generated file opens, and nobody else can read it."""
    path = tmp_path / "manager.secret"
    async with serving_manager(tmp_path, secret_file=str(path)) as serving:
        client = ManagerClient(serving.client.url, path.read_text().strip())
        assert (await client.call("GET", "/volumes")).status == 200
        assert path.stat().st_mode & 0o077 == 0


async def test_an_administrators_key_opens(client: ManagerClient) -> None:
    """So that an audit names a person rather than the orchestrator."""
    await client.post("/vfgateway/v1/users", {"name": "ann", "administrator": True}, 201)
    key = await client.post("/vfgateway/v1/users/ann/keys", {"kind": "api_key"}, 201)
    person = ManagerClient(client.url, None)
    person.headers["Authorization"] = f"Bearer {key['secret']}"
    assert (await person.call("GET", "/volumes")).status == 200


async def test_a_users_key_does_not_open(client: ManagerClient) -> None:
    """The manager API is for administrators."""
    await client.post("/vfgateway/v1/users", {"name": "bob"}, 201)
    key = await client.post("/vfgateway/v1/users/bob/keys", {"kind": "api_key"}, 201)
    person = ManagerClient(client.url, None)
    person.headers["Authorization"] = f"Bearer {key['secret']}"
    await person.refused("GET", "/volumes", None, 403)
    person.headers["Authorization"] = "Bearer vfg_nonsense"
    await person.refused("GET", "/volumes", None, 403)


async def test_the_socket_knows_its_caller(serving: Serving) -> None:
    """The gateway's own account needs no secret on the socket, which only it and root can reach."""
    path = serving.service.socket
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert (await over_socket(path).call("GET", "/vfgateway/v1/users")).status == 200


async def test_the_network_does_not_know_its_caller(serving: Serving) -> None:
    """A caller over TCP is nobody, whichever headers it makes up."""
    stranger = ManagerClient(serving.client.url, None)
    stranger.headers.update({"X-Forwarded-For": "unix", "X-Real-IP": "127.0.0.1", "Forwarded": "for=unix"})
    await stranger.refused("GET", "/volumes", None, 403)


async def test_the_socket_can_be_done_without(tmp_path: Path) -> None:
    """``socket = false`` makes none."""
    async with serving_manager(tmp_path, socket=False) as serving:
        assert serving.service.socket is None
        assert not list(tmp_path.rglob("*.sock"))


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """A socket that a dead process left is no reason not to start."""
    path = tmp_path / "cli.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with serving_manager(tmp_path, socket=str(path)):
        assert (await over_socket(path).call("GET", "/volumes")).status == 200


def test_a_request_without_a_connection_has_no_peer() -> None:
    """A client that has gone meanwhile is nobody."""

    class Gone:
        channel = None

    assert trusted_peer(Gone()) is None


async def test_the_header_is_the_references(client: ManagerClient) -> None:
    """Managers show the secret under this name."""
    assert HEADER == "X-BackendAI-Storage-Auth-Token"

"""The front end as its administrator meets it: settings, secrets, sockets, and what is answered while nothing runs yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from tests.support.client_api import SECRET, client_api, problem
from tests.support.gateway import new_vfolder, running_gateway
from tests.support.site import Client
from tests.support.uploading import head
from vfgateway import plugins
from vfgateway.errors import ConfigurationError
from vfgateway.interfaces import IFrontEnd
from vfgateway.protocols.client.frontend import ClientFrontEnd
from vfgateway.protocols.client.settings import ClientSettings
from vfgateway.section import locate

ENDPOINT = "tcp:0:interface=127.0.0.1"


def settings(**table: Any) -> ClientSettings:
    """The table as read from a file."""
    return ClientSettings.model_validate({"endpoint": ENDPOINT, "token_secret": SECRET, **table})


def test_found_by_name() -> None:
    """``[frontends.client]`` is this plugin."""
    assert isinstance(plugins.find(IFrontEnd, "client", "frontends.client"), ClientFrontEnd)
    verifyObject(IFrontEnd, ClientFrontEnd())


def test_usual_settings() -> None:
    """What holds where nothing is said is what the reference has."""
    usual = settings()
    assert (usual.session_lifetime, usual.max_upload_size, usual.upload_lifetime) == (21_600, 107_374_182_400, 86_400)


def test_sizes_and_times() -> None:
    """Sizes and times are written as people write them."""
    made = settings(max_upload_size="5 GiB", session_lifetime="90m", upload_lifetime="2d", body_timeout=30)
    assert (made.max_upload_size, made.session_lifetime) == (5 << 30, 5400)
    assert (made.upload_lifetime, made.body_timeout) == (172_800, 30)


@pytest.mark.parametrize(
    "table",
    [
        {"max_upload_size": "much"},
        {"max_upload_size": 0},
        {"session_lifetime": "6 hours"},
        {"session_lifetime": 0},
        {"session_lifetime": True},
        {"cors_origins": ["example.org"]},
        {"public_url": "storage.example.org"},
        {"public_url": "https://storage.example.org/path"},
        {"token_secrets": "x"},
    ],
)
def test_mistakes(table: dict[str, Any]) -> None:
    """What cannot be meant is refused when it is read."""
    with pytest.raises(ValidationError):
        settings(**table)


async def test_secret_is_made(tmp_path: Path) -> None:
    """A secret's file that is missing is made, and the same is used the next time."""
    table = locate({"endpoint": ENDPOINT, "token_secret_file": "token.secret"}, tmp_path)
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        tokens = []
        for _ in range(2):
            service: Any = ClientFrontEnd().configure(table, gateway)
            service.startService()
            tokens.append(gateway.tokens.mint_download("mem", vfolder.id, "f"))
            await service.stopService()
        assert gateway.tokens.verify_download(tokens[0]).relpath == "f"
        assert (tmp_path / "token.secret").stat().st_mode & 0o077 == 0


async def test_port_that_is_taken(tmp_path: Path) -> None:
    """A socket that cannot be had stops the start, and says which."""
    async with client_api(tmp_path) as api:
        service: Any = ClientFrontEnd().configure(
            {"endpoint": f"tcp:{api.port}:interface=127.0.0.1", "token_secret": SECRET}, api.gateway
        )
        with pytest.raises(ConfigurationError, match=f"frontends.client.endpoint: cannot listen on tcp:{api.port}"):
            service.privilegedStartService()


async def test_while_the_gateway_is_not_ready(tmp_path: Path) -> None:
    """503 and when to try again."""
    async with client_api(tmp_path) as api:
        api.gateway.running = False
        answer = await api.ask("GET", "/")
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert "starting" in problem(answer)["msg"]
        api.gateway.running = True


async def test_stopping_lets_requests_finish(tmp_path: Path) -> None:
    """Idle connections are closed at once; an answer under way is completed; a request that was on its way is answered, once."""
    async with running_gateway(tmp_path) as gateway:
        service: Any = ClientFrontEnd().configure({"endpoint": ENDPOINT, "token_secret": SECRET}, gateway)
        service.startService()
        port = service.ports[0].getHost().port
        idle, busy, new = [await Client.open(port) for _ in range(3)]
        idle.send(head("GET", "/"))
        await idle.until(b"client-facing")
        busy.send(head("GET", "/"))
        await busy.until(b"client-facing")
        stopped = service.stopService()
        await idle.lost
        await busy.lost
        new.send(head("GET", "/"))
        await new.until(b"client-facing")
        await new.lost
        await stopped


async def test_log_has_no_tokens(tmp_path: Path) -> None:
    """Requests are logged without their queries, where tokens travel."""
    with capturedLogs() as events:
        async with client_api(tmp_path) as api:
            await api.download("missing")
            token = api.token("missing")[:40]
    written = "\n".join(f"{event} {formatEvent(event)}" for event in events)
    assert token not in written
    assert "/download" in written

"""The SFTP front end in this process, and clients in threads beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import paramiko
import pytest

from tests.support.process import ALICE
from vfgateway.protocols.sftp.frontend import SftpService
from vfgateway.protocols.sftp.settings import SftpSettings
from vfgateway.services.gateway import Gateway

type_serve = Callable[..., AbstractAsyncContextManager[SftpService]]


@pytest.fixture(scope="session")
def host_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Host keys for all tests: an RSA key takes a while."""
    return tmp_path_factory.mktemp("hostkeys")


@pytest.fixture
def serve(host_keys: Path) -> type_serve:
    """Starts the front end for a gateway; keyword arguments are fields of ``Limits``, the folder of its host keys, and ``grace``, without which it
    stops at once."""

    @asynccontextmanager
    async def serve(
        gateway: Gateway, grace: float = 0.0, keys: Path = host_keys, **limits: Any
    ) -> AsyncIterator[SftpService]:
        settings = SftpSettings(endpoint="tcp:0:interface=127.0.0.1", host_keys=keys, login_delay=0.01)
        service = SftpService(settings, gateway)
        service.grace = grace
        service.factory.limits = attrs.evolve(service.factory.limits, **limits)
        service.startService()
        try:
            yield service
        finally:
            await service.stopService()

    return serve


def port_of(service: SftpService) -> int:
    """Where it listens."""
    return int(service.ports[0].getHost().port)  # type: ignore[attr-defined]


def connected(port: int, user: str = ALICE[0]) -> paramiko.SSHClient:
    """A client of paramiko's, logged in with alice's password. Blocks."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", port, user, ALICE[1], allow_agent=False, look_for_keys=False, timeout=20)
    return client

"""A whole gateway for tests: real services and database, volumes in memory or on disk, started and stopped around a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from twisted.internet import reactor
from twisted.internet.task import Clock

from tests.support.databases import lay_database
from vfgateway import config
from vfgateway.assembly import make_authenticators
from vfgateway.backends.memory import MemoryVolume
from vfgateway.interfaces import IVolume
from vfgateway.model import Limits, QuotaScopeId, ScopeKind, VFolder, VFolderId
from vfgateway.principals import INTERNAL, ORCHESTRATOR, Origin
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession
from vfgateway.services.tokens import Tokens

#: The scope that :func:`new_vfolder` uses unless told otherwise.
ALICE = UUID("11111111-1111-4111-8111-111111111111")


@asynccontextmanager
async def running_gateway(
    tmp_path: Path, volumes: Sequence[IVolume] | None = None, configuration: str = "[authenticators.accounts]\n"
) -> AsyncIterator[Gateway]:
    """A started gateway with ``volumes`` (by default one in memory, called ``mem``) and its data under ``tmp_path``; its authenticators
    are those of ``configuration``."""
    settings = config.parse(configuration, tmp_path)
    lay_database(settings.gateway.data_dir / "vfgateway.db")
    gateway = Gateway(settings, reactor)
    if volumes is None:
        volumes = [MemoryVolume("mem", reactor)]
    gateway.install(volumes, list(make_authenticators(settings, gateway).values()))
    gateway.tokens = Tokens([b"0123456789abcdef0123456789abcdef"], reactor, 3600.0)
    try:
        await gateway.start()
        yield gateway
    finally:
        await gateway.stop()


def lockouts_clock(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock by which guessers wait from now on, and which goes on only where a test says so: the first waits are so short that they are over
    before a slow machine has looked at them."""
    clock = Clock()
    clock.advance(gateway.reactor.seconds())
    monkeypatch.setattr(gateway.lockouts, "_clock", clock)
    return clock


async def new_vfolder(gateway: Gateway, volume: str = "mem", owner: UUID = ALICE, **options: Any) -> VFolder:
    """A new, empty vfolder of ``owner``; ``options`` as of ``Lifecycle.create``."""
    vfid = VFolderId(QuotaScopeId(ScopeKind.USER, owner), uuid4())
    if "limit_bytes" in options:
        options["limits"] = Limits(bytes=options.pop("limit_bytes"))
    return await gateway.lifecycle.create(volume, vfid, **options)


async def orchestrator_in(gateway: Gateway, vfolder: VFolder, origin: Origin = INTERNAL) -> FolderSession:
    """The orchestrator's hands in ``vfolder``."""
    return await gateway.session(ORCHESTRATOR, origin).folder(vfolder.id, vfolder.volume)

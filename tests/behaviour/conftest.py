"""One gateway with every front end, and for each test a vfolder of its own, entered by each door."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from tests.behaviour.doors import DOORS, DavDoor, Door, EveryDoor
from tests.support.process import GatewayProcess, VFolderOfAlice


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EveryDoor]:
    """A gateway with all doors open, and alice's key admitted."""
    site = EveryDoor(tmp_path_factory.mktemp("doors") / "site")
    with GatewayProcess(site):
        site.populate(name="first")
        site.admit_key()
        yield site


@pytest.fixture
def data(site: EveryDoor, request: pytest.FixtureRequest) -> VFolderOfAlice:
    """A vfolder of the test's own."""
    return site.populate(name=f"b-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}")


@pytest.fixture(params=DOORS, ids=lambda kind: kind.name)
def door(site: EveryDoor, data: VFolderOfAlice, request: pytest.FixtureRequest) -> Iterator[Door]:
    """Alice's client in it: the test is run for each."""
    with request.param(site, data) as door:
        yield door


@pytest.fixture(params=[kind for kind in DOORS if kind.renames], ids=lambda kind: kind.name)
def file_door(site: EveryDoor, data: VFolderOfAlice, request: pytest.FixtureRequest) -> Iterator[Door]:
    """As ``door``, for those that do all that a file system does."""
    with request.param(site, data) as door:
        yield door


@pytest.fixture
def dav(site: EveryDoor, data: VFolderOfAlice) -> Iterator[DavDoor]:
    """WebDAV beside it, which can lock."""
    with DavDoor(site, data) as dav:
        yield dav

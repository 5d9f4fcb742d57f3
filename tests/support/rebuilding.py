"""A gateway that loses its database, whatever its vfolders lie on."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs

from tests.support.gateway import new_vfolder, running_gateway
from vfgateway.interfaces import IVolume
from vfgateway.model import Permission


async def check_rebuilding(tmp_path: Path, make: Callable[[], Awaitable[IVolume]]) -> None:
    """The registry is made again from what lies on a volume: name, owner, limit and grant of a vfolder.

    :param make: the volume, each time it is asked for; not started
    """
    volume = await make()
    async with running_gateway(tmp_path, [volume]) as gateway:
        alice, bob = [await gateway.accounts.create_user(name) for name in ("alice", "bob")]
        before = await new_vfolder(gateway, volume.name, alice.id, name="data", limit_bytes=1 << 20)
        await gateway.vfolders.grant(before.key, "user", bob.id, Permission.RO)
        assert await gateway.descriptions.write()
    shutil.rmtree(tmp_path / "var")
    async with running_gateway(tmp_path, [await make()]) as gateway:
        [done] = await gateway.rebuilding.rebuild(accounts=True)
        assert (done.entered, done.problem) == (True, "")
        after = await gateway.vfolders.resolve("alice/data")
        assert attrs.evolve(after, key=before.key, status=before.status) == before
        [grant] = await gateway.vfolders.grants(after.key)
        assert (grant.subject, grant.permission) == (bob.id, Permission.RO)

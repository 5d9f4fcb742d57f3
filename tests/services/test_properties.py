"""Dead properties of all that is in one directory: what is held of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection
from twisted.internet.defer import Deferred, gatherResults

from tests.support.gateway import new_vfolder, running_gateway
from vfgateway.paths import ROOT
from vfgateway.paths import parse_text as path
from vfgateway.services import properties
from vfgateway.services.properties import COST


async def test_no_more_is_held_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For one directory, and for all that are listed at once; what was given back can be held again."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)

        def mark(connection: Connection) -> None:
            for name in ("a", "b", "d/c"):
                properties.change(connection, vfolder.key, path(name), {"{x}y": "text"})

        await gateway.database.write(mark)
        told = {b"a": {"{x}y": "text"}, b"b": {"{x}y": "text"}}
        size = 2 * (COST + len("text"))
        held = gateway.properties.of_all_children
        monkeypatch.setattr(properties, "MOST_HELD", size)
        monkeypatch.setattr(properties, "MOST_HELD_IN_ALL", 2 * size)
        for _ in range(2):
            async with held(vfolder, ROOT) as first, held(vfolder, ROOT) as second, held(vfolder, ROOT) as third:
                assert (first, second, third) == (told, told, None)
            with pytest.raises(LookupError):
                async with held(vfolder, ROOT):
                    raise LookupError
        at_once = [held(vfolder, ROOT) for _ in range(3)]
        found = await gatherResults([Deferred.fromCoroutine(each.__aenter__()) for each in at_once])
        assert found == [told, told, None]
        for each in at_once:
            await each.__aexit__(None, None, None)
        async with held(vfolder, path("d")) as below:
            assert below == {b"d/c": {"{x}y": "text"}}
        monkeypatch.setattr(properties, "MOST_HELD", size - 1)
        async with held(vfolder, ROOT) as too_much:
            assert too_much is None

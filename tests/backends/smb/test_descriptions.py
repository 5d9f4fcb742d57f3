"""What is kept of vfolders on a share."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.backends.smb.conftest import type_make
from tests.conformance.harness import make_runtime, new_folder
from tests.support.rebuilding import check_rebuilding
from tests.support.samba import Samba
from vfgateway.backends.vfs import VfsSettings, VfsVolume
from vfgateway.interfaces import IVolume


async def test_the_registry_is_made_again(samba: Samba, make: type_make, tmp_path: Path) -> None:
    """Without the database, from the share alone."""
    path = f"volumes/{uuid4().hex}"

    async def again() -> IVolume:
        return await make(samba, start=False, path=path)

    await check_rebuilding(tmp_path, again)


async def test_of_any_length_and_for_either_backend(
    samba: Samba, make: type_make, driver: dict[str, Any], tmp_path: Path
) -> None:
    """A long one is whole; who serves the same directory as a disk has it, too, and the other way round."""
    volume = await make(samba, **driver)
    vfid = (await new_folder(volume)).tree.vfid
    text = b'"' + random.Random(3).randbytes(150_000).hex().encode() + b'"\n'
    await volume.describe(vfid, text)
    assert await volume.description(vfid) == text
    place = samba.share / volume.path.partition("/data/")[2]
    disk = VfsVolume("disk", VfsSettings(path=place, durability="none"), make_runtime(tmp_path))
    await disk.start()
    assert await disk.description(vfid) == text
    await disk.describe(vfid, b"{}")
    await disk.stop()
    assert await volume.description(vfid) == b"{}"
    assert vfid.scope is not None
    assert list((place / vfid.scope.uuid.hex / ".deleted").iterdir()) == []

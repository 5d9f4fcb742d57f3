"""Files that do not fit into 32 bits, or into one command."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tests.backends.smb.conftest import type_make
from tests.conformance.harness import READ, WRITE, Able, at, new_folder
from tests.support.samba import Samba
from vfgateway.model import ABSENT

GIB = 1 << 30
WORD = b"at the end"


def on_disk(samba: Samba, folder: Able) -> Path:
    """A vfolder's directory where the server has it."""
    return samba.share.joinpath(*folder.tree.place.root.split("\\"))


async def test_beyond_four_gib(samba: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """What is far inside is read and written where it is."""
    folder = await new_folder(await make(samba, **driver))
    place = on_disk(samba, folder) / "file"
    with place.open("wb") as sparse:
        sparse.seek(5 * GIB)
        sparse.write(WORD)
    assert (await folder.stat(at("file"))).size == 5 * GIB + len(WORD)
    file = await folder.open(at("file"), READ)
    assert await file.read(5 * GIB, 100) == WORD
    assert await file.read(4 * GIB - 5, 10) == bytes(10)
    await file.close()
    file = await folder.open(at("file"), WRITE)
    await file.write(4 * GIB + 3, [b"written"])
    await file.truncate(4 * GIB + 20)
    await file.close()
    with place.open("rb") as there:
        there.seek(4 * GIB)
        assert there.read() == bytes(3) + b"written" + bytes(10)


async def test_a_copy_of_many_commands(samba: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """More than the server copies at once, and none of its chunks whole at the end."""
    folder = await new_folder(await make(samba, **driver))
    content = random.Random(4).randbytes((17 << 20) + 12_345)
    (on_disk(samba, folder) / "file").write_bytes(content)
    await folder.copy_file(at("file"), folder, at("copy"), ABSENT)
    assert (on_disk(samba, folder) / "copy").read_bytes() == content

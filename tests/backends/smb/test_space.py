"""A share that is full."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.backends.smb.conftest import type_make
from tests.conformance.harness import WRITE_NEW, at, content_of, names_in, new_folder, put
from tests.support.mounts import small_tmpfs
from tests.support.samba import Samba
from vfgateway.errors import NoSpace
from vfgateway.model import ANY

SIZE = 8 << 20


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    """On a file system of its own."""
    folder = tmp_path_factory.mktemp("small")
    with (
        small_tmpfs(folder / "mounted", f"{SIZE}") as share,
        Samba(folder / "server", share=share) as samba,
    ):
        yield samba


async def test_tells_the_room(small: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """As the server's file system has it."""
    volume = await make(small, **driver)
    space = await volume.space()
    assert space.capacity == SIZE
    assert 0 < space.available <= SIZE - space.used


async def test_upload_that_does_not_fit(small: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """It is refused for want of room, the old file stays, and nothing is left: the next one that fits is stored."""
    volume = await make(small, **driver)
    folder = await new_folder(volume)
    await put(folder, "file", b"old")
    before = (await volume.space()).available
    piece = bytes(1 << 20)
    staged = await folder.stage(at("file"), None)
    with pytest.raises(NoSpace):
        for _ in range(2 * SIZE // len(piece)):
            await staged.append([piece])
        await staged.commit(at("file"), ANY)
    assert staged.size <= SIZE
    await staged.discard()
    assert await folder.stages() == []
    assert await names_in(folder) == ["file"]
    assert await content_of(folder, "file") == b"old"
    assert (await volume.space()).available == before
    await put(folder, "file", piece)
    assert await content_of(folder, "file") == piece


async def test_writing_in_place_where_nothing_fits(small: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """The write says so."""
    folder = await new_folder(await make(small, **driver))
    file = await folder.open(at("file"), WRITE_NEW)
    with pytest.raises(NoSpace):
        for number in range(2 * SIZE >> 20):
            await file.write(number << 20, [bytes(1 << 20)])
    await file.truncate(0)
    await file.close()

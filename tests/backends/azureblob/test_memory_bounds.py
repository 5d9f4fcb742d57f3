"""Memory stays bounded: what is read ahead, and what uploads hold."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.backends.azureblob.conftest import type_make
from tests.conformance.harness import at, new_folder
from vfgateway.backends.azureblob.reading import PIECE, PieceCache
from vfgateway.model import ABSENT, OpenMode

MIB = 1 << 20


async def test_many_readers_share_what_may_be_held(make: type_make) -> None:
    """However many read at once, and each gets its bytes; nothing is held of what nobody can ask for again."""
    volume = await make(read_cache=8 * MIB)
    folder = await new_folder(volume)
    content = bytes(range(256)) * (12 * MIB // 256) + b"end"
    staged = await folder.stage(at("file"), None)
    await staged.append([content])
    await staged.commit(at("file"), ABSENT)
    files = [await folder.open(at("file"), OpenMode.READ) for _ in range(4)]
    offsets = [0] * 4
    while min(offsets) < len(content):
        for number, file in enumerate(files):
            piece = await file.read(offsets[number], 3 * MIB)
            assert piece == content[offsets[number] : offsets[number] + 3 * MIB]
            offsets[number] += len(piece)
            assert volume.cache.held <= 8 * MIB
    assert await files[0].read(7 * MIB + 5, 10) == content[7 * MIB + 5 : 7 * MIB + 15]
    for file in files:
        await file.close()


async def test_uploads_share_what_may_be_held(make: type_make) -> None:
    """Beyond it they send smaller blocks, and what was sent is let go."""
    volume = await make(write_buffer=MIB, block_size=4 * MIB)
    folder = await new_folder(volume)
    stages = [await folder.stage(at(f"f{number}"), None) for number in range(6)]
    for _ in range(6):
        for stage in stages:
            await stage.append([bytes(300 << 10)])
            assert volume.buffers.held <= 3 * MIB
    for number, stage in enumerate(stages):
        assert (await stage.commit(at(f"f{number}"), ABSENT)).stat.size == 6 * (300 << 10)
    assert volume.buffers.held == 0


async def test_pieces_on_their_way_are_never_dropped() -> None:
    """When there is no room, the next one is simply not fetched ahead."""
    cache, answer = PieceCache(2 * PIECE), Deferred[bytes]()

    async def fetch() -> bytes:
        return await answer

    first = cache.begin(("c", "b", "e", 0), PIECE, fetch)
    second = cache.begin(("c", "b", "e", 1), PIECE, fetch)
    assert first is not None and second is not None
    assert cache.begin(("c", "b", "e", 2), PIECE, fetch) is None
    answer.callback(b"x")
    assert await first.get() == b"x"
    assert cache.get(("c", "b", "e", 0)) is first
    assert cache.begin(("c", "b", "e", 2), PIECE, fetch) is not None
    assert cache.get(("c", "b", "e", 1)) is None

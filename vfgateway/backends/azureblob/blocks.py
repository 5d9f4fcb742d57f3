"""What files in the making are made of: how long blocks are, what they are called, and what is held of them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import attrs

from vfgateway.backends.azureblob.container import Block

#: Bytes of the least block that is sent when many uploads share the room; doubled after each :data:`GROWS_AFTER` blocks.
LEAST_BLOCK = 256 << 10
GROWS_AFTER = 5_000


@attrs.define
class Buffers:
    """What uploads of one volume hold in memory together.

    :ivar limit: bytes after which they send what they have, in smaller blocks
    """

    limit: int
    held: int = 0

    @property
    def full(self) -> bool:
        return self.held > self.limit


@attrs.frozen
class BlockPlan:
    """How long blocks are.

    :ivar usual: bytes
    :ivar parallel: on their way at once
    """

    usual: int
    parallel: int

    def size(self, number: int, pressed: bool) -> int:
        """Of block ``number``; they grow, so that their greatest number is enough for terabytes."""
        if pressed:
            return min(LEAST_BLOCK << (number // GROWS_AFTER), self.usual * (1 + number // GROWS_AFTER))
        return self.usual * (1 + number // GROWS_AFTER)


@attrs.frozen
class BlockIds:
    """Names blocks: by a number that only grows, by where they belong, and by whose they are, so that one that comes late never takes the
    place of another one. All are of one length, as the storage wants it."""

    writer: str = attrs.Factory(lambda: uuid4().hex[:8])

    def make(self, number: int, offset: int) -> str:
        return f"{number:08d}{offset:016x}{self.writer}"

    @staticmethod
    def read(block: str) -> tuple[int, int]:
        """Number and offset; ``ValueError`` for one that is not ours."""
        return int(block[:8]), int(block[8:24], 16)


def in_a_row(blocks: Sequence[Block]) -> list[Block]:
    """Those from the first byte on without a gap; of several for one place the latest."""
    latest: dict[int, tuple[int, Block]] = {}
    for block in blocks:
        number, offset = BlockIds.read(block.id)
        if offset not in latest or latest[offset][0] < number:
            latest[offset] = number, block
    row: list[Block] = []
    at = 0
    while at in latest:
        row.append(latest[at][1])
        at += row[-1].size
    return row

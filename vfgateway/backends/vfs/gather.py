"""Gathered writes that cope with what ``pwritev`` does not promise."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from vfgateway.interfaces import type_chunk

#: Buffers of one call (``IOV_MAX``).
MOST_BUFFERS: Final = 1024


def write_all(descriptor: int, offset: int, chunks: Sequence[type_chunk]) -> Iterator[int]:
    """Write all chunks from ``offset`` on, yielding the bytes of each call: short writes go on where they stopped.

    Raises ``OSError`` where the storage takes no more; what was yielded before is written.
    """
    left = [view for view in (memoryview(chunk).cast("B") for chunk in chunks if len(chunk)) if view.nbytes]
    first = 0
    while first < len(left):
        written = os.pwritev(descriptor, list(islice(left, first, first + MOST_BUFFERS)), offset)
        yield written
        offset += written
        while first < len(left) and written >= left[first].nbytes:
            written -= left[first].nbytes
            first += 1
        if written:
            left[first] = left[first][written:]


def length_of(chunks: Sequence[type_chunk]) -> int:
    """Bytes of all chunks."""
    return sum(memoryview(chunk).nbytes for chunk in chunks)

"""A folder with very many files costs no more memory to count than one with few."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from vfgateway.backends.vfs.counter import Counter
from vfgateway.interfaces import IFolder
from vfgateway.model import DirEntry, FileStat, FileType, Usage
from vfgateway.paths import FolderPath
from vfgateway.services import trees
from vfgateway.treeusage import LOOSE, MOST, OTHERS

#: Bytes that counting may take, however much there is.
FLAT = 2 << 20


class Directory:
    """One with that many entries, made as they are asked for.

    :param kind: what they are
    """

    def __init__(self, count: int, kind: FileType) -> None:
        self._left = range(count)
        self._stat = FileStat(kind, 7 if kind is FileType.FILE else 0, 0o644, 0, 0, 0, 0, "e", 0, 1, None)

    async def read(self, limit: int) -> Sequence[DirEntry]:
        now, self._left = self._left[:limit], self._left[limit:]
        return [DirEntry(f"entry-{number}", self._stat) for number in now]

    async def close(self) -> None:
        """There is nothing to let go of."""


class Folder:
    """Storage that is walked by listing it. Directories below the top are empty."""

    def __init__(self, count: int, kind: FileType) -> None:
        self._count, self._kind = count, kind

    async def open_dir(self, path: FolderPath) -> Directory:
        return Directory(self._count if path.is_root else 0, self._kind)


async def test_many_files_in_one_directory() -> None:
    """Nothing is kept of them."""
    tracemalloc.start()
    try:
        counted = await trees.measure_by_folder(cast("IFolder", Folder(20_000, FileType.FILE)))
        assert tracemalloc.get_traced_memory()[1] < FLAT
    finally:
        tracemalloc.stop()
    assert counted.folders == {LOOSE: Usage(140_000, 20_000)}


async def test_many_directories_at_the_top() -> None:
    """A thousand have figures of their own, whatever their number."""
    counted = await trees.measure_by_folder(cast("IFolder", Folder(5 * MOST, FileType.DIRECTORY)))
    assert counted.total == Usage(0, 5 * MOST)
    assert len(counted.folders) == MOST + 1
    assert counted.folders[OTHERS] == Usage(0, 4 * MOST)


def test_what_is_told_by_a_process_beside_us(tmp_path: Path) -> None:
    """What it says is added up as it comes."""
    said = tmp_path / "said"
    block = b"1 5\n" * 100 + b"\0top-%d\0" + b"2 3\n" * 9_899
    said.write_bytes(b"".join(block % number for number in range(30)))
    counter = Counter(cast("Any", _Said(said)))
    tracemalloc.start()
    try:
        while counter.go_on(0.01):
            pass
        assert tracemalloc.get_traced_memory()[1] < FLAT
    finally:
        tracemalloc.stop()
        counter.close()
    assert counter.usage.total == Usage(30 * (100 * 5 + 9_899 * 3), 300_000)
    assert counter.usage.folders[LOOSE] == Usage(15_000, 3_000)
    assert counter.usage.folders[b"top-29"] == Usage(9_899 * 3, 9_900)
    assert len(counter.usage.folders) == 31


class _Said:
    """A process that has said all it has to say, in a file."""

    def __init__(self, said: Path) -> None:
        self.stdout = said.open("rb", buffering=0)

    def wait(self) -> int:
        return 0

    def poll(self) -> int:
        return 0

"""Files that are asked for again and again, in company."""

from __future__ import annotations

import mmap
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.backends.vfs.conftest import Disk, Turns
from tests.conformance.harness import at
from vfgateway.backends.vfs.near import KEPT, MOST_DIRECTORIES, SHARE, Near

#: Others ask in each turn, too.
in_company = pytest.mark.parametrize("turns", [True], indirect=True, ids=["in company"])


def again(disk: Disk, name: str) -> Callable[[], Any]:
    """What reads all of a file again."""
    path = at(name)
    stat = disk.folder.stat_now(path)
    found: Callable[[], Any] = disk.folder.reread_now(path, stat, (0, stat.size))
    return found


def open_below(root: Path) -> list[str]:
    """What this process has open there."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except FileNotFoundError:  # what lists the directory
            continue
    return sorted(each.removeprefix(str(root)) for each in found if each.startswith(str(root)))


@in_company
async def test_what_is_open_for_how_long(disk: Disk, turns: Turns) -> None:
    """A directory for one turn, once for all who ask; a file until the volume stops, at the latest."""
    (disk.root / "dir").mkdir()
    for name in ("one", "two"):
        (disk.root / "dir" / name).write_text(name)
    asked = [again(disk, "dir/one"), again(disk, "dir/two")]
    within: list[str] = []
    assert turns(*asked, lambda: within.extend(open_below(disk.root))) == [b"one", b"two", None]
    assert within == ["/dir", "/dir/one", "/dir/two"]
    assert open_below(disk.root) == ["/dir/one", "/dir/two"]
    assert turns(*asked) == [b"one", b"two"]
    assert open_below(disk.root) == ["/dir/one", "/dir/two"]
    (disk.root / "dir/one").unlink()
    assert turns(*asked) == [None, b"two"]
    await disk.volume.stop()
    assert open_below(disk.root) == []


@in_company
async def test_a_directory_that_moves(disk: Disk, turns: Turns) -> None:
    """What was below it is not found by the old path from the next turn on, though it is open still; and what is there now is."""
    (disk.root / "dir").mkdir()
    (disk.root / "dir/file").write_text("before")
    before = again(disk, "dir/file")
    assert turns(before, before) == [b"before"] * 2
    (disk.root / "dir").rename(disk.root / "elsewhere")
    assert turns(before) == [None]
    (disk.root / "dir").mkdir()
    (disk.root / "dir/file").write_text("behind")
    assert turns(before, again(disk, "dir/file")) == [None, b"behind"]


@in_company
async def test_a_file_that_is_written_to_through_a_mapping(disk: Disk, turns: Turns) -> None:
    """Which changes its bytes and not its times: they are told as they are."""
    with (disk.root / "file").open("w+b") as file:
        file.write(b"-" * 100)
        file.flush()
        with mmap.mmap(file.fileno(), 100) as mapped:
            mapped[0] = ord("0")
            asked = again(disk, "file")
            assert turns(asked)[0][:1] == b"0"
            for digit in b"12":
                mapped[0] = digit
                assert turns(asked)[0] in (None, bytes([digit]) + b"-" * 99)


def opened(path: Path) -> int:
    path.write_text("x")
    return os.open(path, os.O_RDONLY)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_files_are_let_go(tmp_path: Path) -> None:
    """After a second, whether or not somebody asks; the one that another took the place of, at once; and nothing twice."""
    clock = Clock()
    near = Near(clock)
    first, second = opened(tmp_path / "first"), opened(tmp_path / "second")
    near.keep(b"path", (1, 1), first)
    found = [near.file(b"path", inode) for inode in ((1, 1), (1, 2), (2, 1))]
    assert (found, near.file(b"other", (1, 1))) == ([first, -1, -1], -1)
    near.keep(b"path", (1, 2), second)
    assert (is_open(first), near.file(b"path", (1, 1)), near.file(b"path", (1, 2))) == (False, -1, second)
    clock.advance(KEPT)
    assert (is_open(second), near.file(b"path", (1, 2))) == (False, -1)
    third = opened(tmp_path / "third")
    near.keep(b"path", (1, 3), third)
    near.close()
    near.close()
    assert (is_open(third), clock.getDelayedCalls()) == (False, [])


@in_company
def test_not_too_many_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: Turns) -> None:
    """A share of the files that the process may open, and some directories in one turn."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (SHARE * 3, SHARE * 3))
    near = Near(Clock())
    kept = [opened(tmp_path / f"{number}") for number in range(4)]
    for number, descriptor in enumerate(kept):
        near.keep(b"%d" % number, (1, number), descriptor)
    assert [is_open(descriptor) for descriptor in kept] == [False, False, False, True]
    near.close()
    reached = turns(
        *(
            lambda name=b"%d" % number: near.directory(name, lambda: os.open(tmp_path, os.O_PATH))
            for number in range(MOST_DIRECTORIES + 1)
        )
    )
    assert reached[-1] == -1
    assert not any(map(is_open, reached[:-1]))

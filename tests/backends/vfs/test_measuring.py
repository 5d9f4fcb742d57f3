"""Counting a tree: in a thread, and by a process beside us, with the same result."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vfgateway.backends.vfs import counter, measuring
from vfgateway.backends.vfs.counter import Counter
from vfgateway.backends.vfs.measuring import Measuring
from vfgateway.backends.vfs.resolve import KernelResolver, Resolver, WalkResolver
from vfgateway.model import Usage


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files, files with several names, links out of it, things that are no files, names that are no text, and what is hidden."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"x" * 10_000)
    root = tmp_path / "tree"
    for number in range(40):
        deep = root / f"a{number % 4}" / f"b {number}\n"
        deep.mkdir(parents=True)
        for size in range(10):
            (deep / f"file-{size}").write_bytes(b"x" * size)
    (root / "again").hardlink_to(root / "a1/b 1\n/file-9")
    (root / "a2/again").hardlink_to(root / "a1/b 1\n/file-9")
    (root / "link").symlink_to(outside)
    (root / "a3/link").symlink_to("../a1")
    os.mkfifo(root / "fifo")
    Path(os.fsdecode(bytes(root) + b"/\xff\xfe")).mkdir()
    Path(os.fsdecode(bytes(root) + b"/\xff\xfe/\xfd")).write_bytes(b"yy")
    (root / ".upload").mkdir()
    (root / ".upload/staged").write_bytes(b"not counted")
    (root / "a0/.upload").write_bytes(b"counted")
    return root


#: 40 directories of ten files, those above, what else lies there.
WHOLE = Usage(40 * 45 + 2 + 7, 440 + 4 + 2 + 2 + 1 + 2 + 1)
#: By directory at the top, each with itself.
ENTRIES = {b"a0": 112, b"a1": 111, b"a2": 112, b"a3": 112, b"\xff\xfe": 2, b"": 3}
#: A file with a name in two of them is counted in that which is seen first: these have none.
BYTES = {b"a0": 457, b"a3": 450, b"\xff\xfe": 2}


@pytest.fixture
def top(tree: Path) -> Iterator[int]:
    """The tree, open."""
    number = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    yield number
    os.close(number)


def counted(top: int, resolver: Resolver | None = None) -> Usage:
    """All of it."""
    under_way = Measuring(resolver or KernelResolver(), ".upload")
    while under_way.go_on(top):
        pass
    under_way.close()
    shares = under_way.usage.folders
    assert sum(shares.values(), Usage()) == under_way.usage.total
    assert {name: share.files for name, share in shares.items()} == ENTRIES
    assert {name: shares[name].bytes for name in BYTES} == BYTES
    return under_way.usage.total


@pytest.mark.parametrize("resolver", [KernelResolver(), WalkResolver()])
def test_in_a_thread(top: int, resolver: Resolver) -> None:
    """Small trees are counted here."""
    assert counted(top, resolver) == WHOLE


def test_in_short_slices(top: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is interrupted."""
    monkeypatch.setattr(measuring, "SLICE", 0.0)
    monkeypatch.setattr(measuring, "BATCH", 3)
    assert counted(top) == WHOLE


def open_now() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("slice_of", [0.0, 10.0])
def test_deeper_than_is_held_open(top: int, monkeypatch: pytest.MonkeyPatch, slice_of: float) -> None:
    """What lies deep is found by its whole path, and nothing is left open."""
    monkeypatch.setattr(measuring, "DEEP", 1)
    monkeypatch.setattr(measuring, "SLICE", slice_of)
    before = open_now()
    assert counted(top) == WHOLE
    assert open_now() == before


def test_left_in_the_middle(top: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever goes away leaves nothing open."""
    monkeypatch.setattr(measuring, "SLICE", 0.0)
    before = open_now()
    for slices in range(1, 30):
        under_way = Measuring(KernelResolver(), ".upload")
        for _ in range(slices):
            under_way.go_on(top)
        under_way.close()
        assert open_now() == before


def test_beside_us(top: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large ones by another program, which says the same."""
    monkeypatch.setattr(measuring, "LARGE", 1)
    started: list[Counter] = []
    start = Counter.start

    def noted(top: int, hide: str | None, hidden: str) -> Counter | None:
        made = start(top, hide, hidden)
        assert made is not None
        started.append(made)
        return made

    monkeypatch.setattr(Counter, "start", noted)
    assert counted(top) == WHOLE
    assert [each.failed for each in started] == [False]


@pytest.mark.parametrize("program", [None, "/nonexistent/find", "/bin/false"])
def test_without_the_program(top: int, monkeypatch: pytest.MonkeyPatch, program: str | None) -> None:
    """Or with another one of that name, all is counted here."""
    monkeypatch.setattr(measuring, "LARGE", 1)
    monkeypatch.setattr(counter, "_program", lambda: program)
    assert counted(top) == WHOLE


def test_a_counter_that_is_killed(top: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a count is worth nothing: it begins anew, here."""
    monkeypatch.setattr(measuring, "LARGE", 1)
    start = Counter.start

    def killed(top: int, hide: str | None, hidden: str) -> Counter | None:
        made = start(top, hide, hidden)
        assert made is not None
        made._process.kill()
        made._process.wait()
        return made

    monkeypatch.setattr(Counter, "start", killed)
    assert counted(top) == WHOLE


def test_one_that_is_given_up_leaves_no_process(top: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor a descriptor."""
    monkeypatch.setattr(measuring, "LARGE", 1)
    before = open_now()
    under_way = Measuring(KernelResolver(), ".upload")
    assert under_way.go_on(top)
    assert under_way._counter is not None
    process: subprocess.Popen[bytes] = under_way._counter._process
    under_way.close()
    under_way.close()
    assert process.returncode is not None
    assert open_now() == before

"""Small files that are stored with one call: nothing of one that fails, its mode whatever the umask is, and what is synced where."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.backends.vfs.conftest import Disk, Opener, furnish
from tests.conformance.harness import at, put
from tests.support.disks import as_root, mounted
from vfgateway.backends.vfs import publish, syscalls, whole
from vfgateway.backends.vfs.journals import keeps_order
from vfgateway.errors import StorageFailure


def tree_of(root: Path) -> set[str]:
    """All that is there, stages included."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.name != ".upload"}


def refuse(*_: object, **__: object) -> None:
    """For a system call."""
    raise OSError(5, "refused")


@pytest.mark.parametrize("call", ["link_open", "write", "fchmod"])
async def test_nothing_is_left_of_what_fails(disk: Disk, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Neither under its name nor aside, wherever it ends."""
    before = os.umask(0o777)  # so that the mode has to be set
    monkeypatch.setattr(syscalls if call == "link_open" else os, call, refuse)
    try:
        assert await disk.folder.store_whole(at("new"), b"content") is None
    finally:
        os.umask(before)
    assert tree_of(disk.root) == set()


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EPERM])
async def test_kernels_that_name_no_open_file(disk: Disk, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Before Linux 6.10, or where a filter forbids it, there is another way to give one a name."""

    def refused(*_: object) -> int:
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(syscalls, "_linkat", refused)
    for content in (b"new", b"newer"):
        assert (await disk.folder.store_whole(at("file"), content)).stat.size == len(content)
        assert tree_of(disk.root) == {"file"}
        assert (disk.root / "file").read_bytes() == content


@pytest.mark.parametrize("alone", [True, False])
async def test_nothing_changes_where_a_file_cannot_be_replaced(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    """The file that was there stays, and nothing lies aside."""
    await put(disk.folder, "file", b"old")
    monkeypatch.setattr(whole, "replace" if alone else "replace_beside_others", refuse)
    assert await disk.folder.store_whole(at("file"), b"new", alone) is None
    assert tree_of(disk.root) == {"file"}
    assert (disk.root / "file").read_bytes() == b"old"


async def test_what_was_replaced_may_be_swept_up_by_others(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies aside for a moment, and nobody holds it: who looks for what is abandoned may take it away. The new file is there."""
    await put(disk.folder, "file", b"old")
    exchange = publish.replace_beside_others

    def then_swept(area: int, token: bytes, *others: Any) -> Any:
        replaced = exchange(area, token, *others)
        os.unlink(token, dir_fd=area)
        return replaced

    monkeypatch.setattr(whole, "replace_beside_others", then_swept)
    published = await disk.folder.store_whole(at("file"), b"newer", False)
    assert published.replaced.size == 3
    assert tree_of(disk.root) == {"file"}
    assert (disk.root / "file").read_bytes() == b"newer"


@pytest.mark.parametrize("features", ["has_journal", "^has_journal"])
async def test_one_sync_is_enough_only_with_a_journal(
    tmp_path: Path, make_volume: Opener, monkeypatch: pytest.MonkeyPatch, features: str
) -> None:
    """Elsewhere the file itself is synced before it has its name."""
    image, place = tmp_path / "image", tmp_path / "place"
    image.touch()
    os.truncate(image, 16 << 20)
    as_root("mkfs.ext4", "-q", "-F", "-O", features, str(image))
    with mounted(place, "-o", "loop", str(image)):
        assert keeps_order(place.stat().st_dev) == (features == "has_journal")
        disk = await furnish(make_volume(path=place / "volume", durability="sync"))
        calls: list[str] = []
        spied: list[tuple[Any, str]] = [(os, "fsync"), (syscalls, "write_out"), (syscalls, "link_open")]
        for module, name in spied:
            monkeypatch.setattr(module, name, spy(calls, name, getattr(module, name)))
        assert (await disk.folder.store_whole(at("file"), b"content")).stat.size == 7
        monkeypatch.undo()
        await disk.volume.stop()
        assert calls == ["write_out" if features == "has_journal" else "fsync", "link_open", "fsync"]


@pytest.mark.parametrize(
    "make",
    [["mkfs.ext4", "-q", "-F"], ["mkfs.xfs", "-q", "-f"], ["mkfs.ext4", "-q", "-F", "-O", "^has_journal"]],
    ids=["ext4", "xfs", "no journal"],
)
async def test_what_was_stored_survives_a_power_loss(tmp_path: Path, make_volume: Opener, make: list[str]) -> None:
    """New and replaced: in a copy of the disk that was made at once, and never saw what was not synced, each is whole."""
    image, left, place = tmp_path / "image", tmp_path / "left", tmp_path / "place"
    has_journal = "^has_journal" not in make
    image.touch()
    os.truncate(image, 320 << 20)
    as_root(*make, str(image))
    files = {f"dir/file-{number}": os.urandom(1 + 2500 * number) for number in range(28)}
    with mounted(place, "-o", "loop", str(image)):
        assert keeps_order(place.stat().st_dev) == has_journal
        disk = await furnish(make_volume(path=place / "volume", durability="sync"))
        await disk.folder.make_dir(at("dir"))
        for content in (bytes(100), *list(files.values())[:8]):
            assert await disk.folder.store_whole(at("dir/file-0"), content)
        for name, content in files.items():
            assert await disk.folder.store_whole(at(name), content)
        await disk.folder.make_dir(at("empty"))
        as_root("cp", "--sparse=always", str(image), str(left))
        await disk.volume.stop()
    if not has_journal:  # it is looked through, as after every such end
        as_root("sh", "-c", 'e2fsck -f -y "$1" || test $? -eq 1', "check", str(left))
    with mounted(place, "-o", "loop", str(left)):
        assert tree_of(disk.root) == {*files, "dir", "empty"}
        assert {name: (disk.root / name).read_bytes() for name in files} == files


def spy(calls: list[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, which notes that it was called."""

    def noted(*args: Any, **others: Any) -> Any:
        calls.append(name)
        return function(*args, **others)

    return noted


async def test_what_may_not_last_is_told(make_volume: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its name cannot be synced the file is there, and nobody is told that it is safe."""
    disk = await furnish(make_volume(durability="sync"))
    fsync = os.fsync

    def refuse_names(descriptor: int) -> None:
        if os.fstat(descriptor).st_nlink:
            refuse()
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_names)
    with pytest.raises(StorageFailure):
        await disk.folder.store_whole(at("file"), b"content")
    monkeypatch.undo()
    assert tree_of(disk.root) == {"file"}
    await disk.volume.stop()


def test_nothing_is_known_of_memory() -> None:
    """Nor of a device that is none."""
    assert not keeps_order(Path("/dev/shm").stat().st_dev)
    assert not keeps_order(0)

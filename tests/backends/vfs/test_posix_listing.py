"""Listings in the words of the kernel say what listings say."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tests.backends.vfs.conftest import Disk
from tests.conformance.harness import at
from vfgateway.model import DirEntry, FileStat, FileType
from vfgateway.paths import ROOT
from vfgateway.posix import IDENTITY, IPosixListing, type_file

type_batch = tuple[Sequence[type_file], Sequence[DirEntry]]


def untouched(stat: FileStat) -> FileStat:
    """Without the time at which a link was last read."""
    return stat._replace(atime_ns=0)


async def test_every_entry_once(disk: Disk) -> None:
    """Files as the kernel tells of them, with the identity that they have elsewhere; all others as ever; never an empty batch."""
    root = disk.root
    for number in range(5):
        (root / f"file-{number}").write_bytes(b"x" * number)
    (root / os.fsdecode(b"\xff\xfe")).touch()
    (root / "dir").mkdir()
    (root / "link").symlink_to("file-1")
    os.mkfifo(root / "fifo")
    (root / ".upload").mkdir(exist_ok=True)
    listing, plain = await disk.folder.open_dir(ROOT), await disk.folder.open_dir(ROOT)
    offered = IPosixListing.providedBy(listing)
    assert offered
    batches: list[type_batch] = []
    while (batch := await listing.read_posix(3, lambda files, others: (files, others))) is not None:
        batches.append(batch)
    known = {name: untouched(stat) for name, stat in await plain.read(100)}
    await listing.close()
    await plain.close()
    assert [len(files) + len(others) for files, others in batches] == [3, 3, 3]
    files = dict(file for found, _ in batches for file in found)
    others = {name: untouched(stat) for _, found in batches for name, stat in found}
    assert (len(files), others) == (6, {name: stat for name, stat in known.items() if name not in files})
    for name, told in files.items():
        facts = known[name]
        assert facts.type is FileType.FILE
        assert (told.st_size, told.st_mtime_ns, told.st_ctime_ns) == (facts.size, facts.mtime_ns, facts.ctime_ns)
        assert IDENTITY % (told.st_ino, told.st_ctime_ns, told.st_size) == facts.identity


async def test_what_vanishes_is_passed_over(disk: Disk) -> None:
    """The end is told as the end also where nothing is left of what was there."""
    await disk.folder.make_dir(at("dir"))
    for number in range(600):
        (disk.root / "dir" / f"{number}").touch()
    listing = await disk.folder.open_dir(at("dir"))
    first = await listing.read_posix(1, lambda files, _: [name for name, _ in files])
    for place in list((disk.root / "dir").iterdir()):
        place.unlink()
    rest: list[str] = []
    while (batch := await listing.read_posix(512, lambda files, _: [name for name, _ in files])) is not None:
        assert batch
        rest += batch
    assert len(first) == 1
    assert rest == []
    await listing.close()

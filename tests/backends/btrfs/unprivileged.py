"""A volume on Btrfs in the hands of nobody, from its start to the end of a vfolder with snapshots. Run as root, with the directory to work in."""

from __future__ import annotations

import codecs
import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.conformance.harness import content_of, make_runtime, new_vfid, put
from vfgateway.backends.btrfs import BtrfsSettings, BtrfsVolume
from vfgateway.model import Actor, FolderOptions

NOBODY = 65534


async def _live(place: Path) -> None:
    volume = BtrfsVolume("disk", BtrfsSettings(path=place / "volume"), make_runtime(place))
    await volume.start()
    vfid, clone = new_vfid(), new_vfid()
    await volume.create_folder(vfid, FolderOptions())
    await put(await volume.folder(vfid, Actor()), "file", b"content")
    for label in ("one", "two"):
        await volume.snapshot(vfid, label)
    assert await content_of(await volume.open_snapshot(vfid, "one"), "file") == b"content"
    await volume.clone_folder(vfid, clone)
    await volume.drop_snapshot(vfid, "one")
    assert [snapshot.label for snapshot in await volume.snapshots(vfid)] == ["two"]
    for each in (vfid, clone):
        await volume.delete_folder(each)
    assert list(await volume.folders()) == []
    left = [path.name for path in (place / "volume").rglob("*") if path.is_file()]
    assert set(left) == {"version.txt", ".kind"}, left
    await volume.stop()


def _ended(result: Failure | None) -> None:
    if result is None:
        print("done")
    else:
        result.printTraceback(sys.stderr)
    loop: Any = reactor
    loop.stop()


def main() -> None:
    """What is imported late has to be there before: nobody may read the modules of this Python."""
    codecs.lookup("ascii")
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    loop: Any = reactor
    loop.callWhenRunning(lambda: Deferred.fromCoroutine(_live(Path(sys.argv[1]))).addBoth(_ended))
    loop.run()


if __name__ == "__main__":
    main()

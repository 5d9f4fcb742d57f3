"""Files belong to people: owner, group and mode are what was configured, whatever the daemon's umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.vfs.conftest import Disk, Opener, furnish
from tests.conformance.harness import WRITE, WRITE_NEW, Able, at, new_vfid, put
from vfgateway.backends.vfs.ownership import Ownership
from vfgateway.errors import VolumeUnavailable
from vfgateway.model import ABSENT, Actor, Attrs, FolderOptions, OpenMode


@pytest.fixture(autouse=True, params=[0o000, 0o077, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test under different umasks."""
    before = os.umask(request.param)
    yield
    os.umask(before)


async def make_everything(disk: Disk) -> list[Path]:
    """One entry for each way in which a file or directory comes to be."""
    folder = disk.folder
    await put(folder, "published", b"1")
    await (await folder.open(at("opened"), WRITE_NEW)).close()
    await folder.copy_file(at("published"), folder, at("copied"), ABSENT)
    staged = await folder.stage(at("x"), None)
    await staged.close()
    joined = await folder.join(at("joined"), [staged.token])
    await joined.commit(at("joined"), ABSENT)
    assert folder.open_now(at("at hand"), WRITE_NEW | OpenMode.EXCLUSIVE).close_now()
    await folder.make_dir(at("dir"))
    return [disk.root / name for name in ("published", "opened", "copied", "joined", "at hand", "dir")]


def owner_of(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


async def test_modes(make_volume: Opener) -> None:
    """Modes are exactly the configured ones, the set-group bit of directories included."""
    disk = await furnish(make_volume(file_mode="0664", dir_mode="2771"))
    *files, directory = await make_everything(disk)
    assert {mode_of(path) for path in files} == {0o664}
    assert mode_of(directory) == mode_of(disk.root) == 0o2771
    await disk.volume.stop()


async def test_usual_modes(disk: Disk) -> None:
    """By default others get nothing, and groups are handed down."""
    *files, directory = await make_everything(disk)
    assert {mode_of(path) for path in files} == {0o640}
    assert mode_of(directory) == 0o2750


async def test_mode_of_a_vfolder(disk: Disk) -> None:
    """The mode that the orchestrator asks for is the mode, to the bit."""
    vfid = new_vfid()
    await disk.volume.create_folder(vfid, FolderOptions(mode=0o755))
    root = Path(await disk.volume.mount_path(vfid))
    assert mode_of(root) == 0o755
    for place in (root.parent, root.parent.parent, root.parent.parent.parent):
        assert mode_of(place) == 0o755


async def test_inherits(disk: Disk) -> None:
    """New files belong to whom the vfolder's root belongs to."""
    os.chown(disk.root, 1234, 2345)
    assert {owner_of(path) for path in await make_everything(disk)} == {(1234, 2345)}
    assert owner_of(disk.root / ".upload") == (1234, 2345)


async def test_new_vfolder_inherits(disk: Disk) -> None:
    """A new vfolder belongs to whom the volume's directory belongs to."""
    os.chown(disk.volume.path, 1234, 2345)
    vfid = new_vfid()
    await disk.volume.create_folder(vfid, FolderOptions())
    assert owner_of(Path(await disk.volume.mount_path(vfid))) == (1234, 2345)


async def test_service(make_volume: Opener) -> None:
    """With ``service`` files are the gateway's own."""
    disk = await furnish(make_volume(owner="service", dir_mode="0750"))
    os.chown(disk.root, 1234, 2345)
    assert {owner_of(path)[0] for path in await make_everything(disk)} == {os.geteuid()}
    await disk.volume.stop()


async def test_numbers(make_volume: Opener) -> None:
    """With numbers everything has that owner, new vfolders too."""
    disk = await furnish(make_volume(owner="1000:1001"))
    assert {owner_of(path) for path in [disk.root, *await make_everything(disk)]} == {(1000, 1001)}
    await disk.volume.stop()


def test_numbers_take_the_right_to_give_files_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which a service of its own user has as a capability; without it a volume is refused at start, rather than each file later."""
    wanted = Ownership((1000, 1001), 0o640, 0o2750)
    with monkeypatch.context() as account:
        account.setattr(os, "geteuid", lambda: 65534)
        wanted.check("disk")
    os.seteuid(65534)  # which takes the capability, too
    try:
        with pytest.raises(VolumeUnavailable, match="CAP_CHOWN"):
            wanted.check("disk")
        Ownership((65534, os.getegid()), 0o640, 0o2750).check("disk")
    finally:
        os.seteuid(0)


async def test_principal(make_volume: Opener) -> None:
    """With ``principal`` files belong to who acts, and where that is unknown to whom the vfolder belongs to."""
    disk = await furnish(make_volume(owner="principal"), Actor(uid=1111))
    os.chown(disk.root, 1234, 2345)
    assert {owner_of(path) for path in await make_everything(disk)} == {(1111, 2345)}
    await disk.volume.stop()


async def test_set_id_bits_go_when_a_file_is_written(disk: Disk) -> None:
    """A set-id program that somebody may write through the gateway loses its bits before the first byte."""
    program = disk.root / "program"
    program.write_bytes(b"#!")
    program.chmod(0o6755)
    file: Able = await disk.folder.open(at("program"), WRITE)
    await file.write(0, [b"##"])
    await file.close()
    assert mode_of(program) == 0o755


async def test_set_id_bits_are_not_handed_on(disk: Disk) -> None:
    """Neither a replacement nor a copy of a set-id program has its bits."""
    program = disk.root / "program"
    program.write_bytes(b"#!")
    program.chmod(0o6755)
    await disk.folder.copy_file(at("program"), disk.folder, at("copy"), ABSENT)
    await put(disk.folder, "program", b"new")
    assert mode_of(disk.root / "copy") == mode_of(program) == 0o755


async def test_directory_keeps_its_group_bit(disk: Disk) -> None:
    """A client's chmod of a directory leaves the bit that hands the group down."""
    await disk.folder.make_dir(at("dir"))
    await disk.folder.set_attrs(at("dir"), Attrs(mode=0o4700))
    assert mode_of(disk.root / "dir") == 0o2700

"""Absolute links that jobs leave work as they do in the job, and lead nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted

from tests.backends.vfs.conftest import Disk, Opener, furnish
from tests.backends.vfs.test_confinement import ROUNDS, swapping
from tests.conformance.harness import READ, WRITE, at, content_of, names_in, put
from vfgateway.backends.vfs.resolve import Resolver
from vfgateway.errors import GatewayError, LeavesFolder, NotFound
from vfgateway.model import ANY, Attrs, FileType


@pytest_twisted.async_yield_fixture
async def disk(make_volume: Opener, resolver: Resolver) -> AsyncIterator[Disk]:
    """A vfolder that jobs see in two places; with a neighbour whose name begins as its own, and a secret beside it."""
    disk = await furnish(make_volume(resolver))
    disk.folder.seen_by_jobs_at(["/home/work/data", "/mnt//vf/data/"])
    await disk.folder.make_dir(at("deep"))
    await disk.folder.make_dir(at("deep/er"))
    await put(disk.folder, "deep/er/file", b"content")
    (disk.root.parent / "secret").mkdir()
    (disk.root.parent / "secret/file").write_bytes(b"secret")
    yield disk
    await disk.volume.stop()


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/home/work/data/deep/er/file", "../deep/er/file"),
        ("//home/./work//data/deep/er/file", "../deep/er/file"),
        ("/mnt/vf/data/deep/er/file", "../deep/er/file"),
        ("/home/work/data/deep/er/../er/file", "../deep/er/../er/file"),
    ],
)
async def test_inside(disk: Disk, target: str, shown: str) -> None:
    """Shown as what works where clients see the vfolder; read at the end and on the way, through other links as well."""
    folder = disk.folder
    await folder.make_dir(at("links"))
    (disk.root / "links/link").symlink_to(target)
    (disk.root / "links/again").symlink_to("/home/work/data/links/link")
    (disk.root / "way").symlink_to("/home/work/data/links")
    for path in ("links/link", "way/link"):
        found = await folder.stat(at(path))
        assert (found.type, found.target) == (FileType.SYMLINK, shown)
    for path in ("links/link", "links/again", "way/again"):
        assert await content_of(folder, path) == b"content"
        assert (await folder.stat(at(path), follow=True)).type is FileType.FILE
    assert await names_in(folder, "way") == ["again", "link"]
    listing = await folder.open_dir(at("way"))
    assert {entry.name: entry.stat.target for entry in await listing.read(10)} == {
        "link": shown,
        "again": "../links/link",
    }
    await listing.close()


async def test_to_the_top(disk: Disk) -> None:
    """A link to the vfolder itself leads to its top, from everywhere."""
    folder = disk.folder
    (disk.root / "top").symlink_to("/home/work/data")
    (disk.root / "deep/er/top").symlink_to("/home/work/data/")
    assert (await folder.stat(at("top"))).target == "."
    assert (await folder.stat(at("deep/er/top"))).target == "../.."
    assert await content_of(folder, "deep/er/top/top/deep/er/file") == b"content"
    assert await names_in(folder, "top") == await names_in(folder, "")


@pytest.mark.parametrize(
    "target",
    [
        "/home/work",
        "/home/work/other/file",
        "/home/work/data2/file",
        "/home/work/data/../other/file",
        "/home/work/data/deep/../../../etc/passwd",
        "/home/work/data-old",
        "home/work/data/file",
        "/etc/passwd",
        "/",
    ],
)
async def test_elsewhere(disk: Disk, target: str) -> None:
    """What leads anywhere else is shown as it was written, and refused."""
    (disk.root / "link").symlink_to(target)
    assert (await disk.folder.stat(at("link"))).target == target
    inside = not target.startswith("/")
    for use in (disk.folder.open(at("link"), READ), disk.folder.stat(at("link"), follow=True)):
        with pytest.raises(NotFound if inside else LeavesFolder):
            await use


async def test_out_by_a_detour(disk: Disk) -> None:
    """A link that jobs may leave does not help one that leads out."""
    (disk.root / "in").symlink_to("/home/work/data/deep/out")
    (disk.root / "deep/out").symlink_to("../../secret")
    (disk.root / "up").symlink_to("/home/work/data/deep/top/../../secret/file")
    (disk.root / "deep/top").symlink_to("/home/work/data")
    for path in ("in", "in/file", "up"):
        with pytest.raises(LeavesFolder):
            await disk.folder.open(at(path), READ)


async def test_never_to_stages(disk: Disk) -> None:
    """Behind a link to where stages are kept is nothing."""
    stage = await disk.folder.stage(at("file"), None)
    (disk.root / "link").symlink_to(f"/home/work/data/.upload/{stage.token}")
    (disk.root / "all").symlink_to("/home/work/data/.upload")
    for path in ("link", "all", f"all/{stage.token}"):
        with pytest.raises(NotFound):
            await disk.folder.stat(at(path), follow=True)
    await stage.discard()


async def test_circles_end(disk: Disk) -> None:
    """As they do with relative links."""
    (disk.root / "a").symlink_to("/home/work/data/b")
    (disk.root / "b").symlink_to("/home/work/data/a")
    (disk.root / "self").symlink_to("/home/work/data/self/x")
    for path in ("a", "self"):
        with pytest.raises(LeavesFolder):
            await disk.folder.open(at(path), READ)


async def test_never_written_through(disk: Disk) -> None:
    """Neither at the end nor on the way; the link itself can be moved and removed, and stays what it is."""
    folder = disk.folder
    (disk.root / "link").symlink_to("/home/work/data/deep")
    (disk.root / "file").symlink_to("/home/work/data/deep/er/file")
    for change in (
        folder.make_dir(at("link/new")),
        folder.open(at("file"), WRITE),
        folder.remove(at("link/er/file"), ANY),
        put(folder, "link/new", b""),
    ):
        with pytest.raises(GatewayError):
            await change
    moved = await folder.rename(at("file"), at("deep/er/moved"), ANY)
    assert moved.stat is not None
    assert moved.stat.target == "../../deep/er/file"
    assert (await folder.set_attrs(at("deep/er/moved"), Attrs(mtime_ns=10**18))).target == "../../deep/er/file"
    assert str((disk.root / "deep/er/moved").readlink()) == "/home/work/data/deep/er/file"
    assert await content_of(folder, "deep/er/moved") == b"content"
    await folder.remove(at("link"), ANY)
    assert await names_in(folder, "deep") == ["er"]


async def test_names_that_are_no_text(disk: Disk) -> None:
    """Bytes of a target come through as they are."""
    name = b"\xff\xfe".decode("utf-8", "surrogateescape")
    (disk.root / name).write_bytes(b"odd")
    (disk.root / "deep/link").symlink_to(f"/home/work/data/{name}")
    assert (await disk.folder.stat(at("deep/link"))).target == f"../{name}"
    assert await content_of(disk.folder, "deep/link") == b"odd"


async def test_unknown_place(make_volume: Opener, resolver: Resolver) -> None:
    """Where nobody said how jobs see it, absolute links stay what they are."""
    disk = await furnish(make_volume(resolver))
    (disk.root / "link").symlink_to("/home/work/data")
    assert (await disk.folder.stat(at("link"))).target == "/home/work/data"
    with pytest.raises(LeavesFolder):
        await disk.folder.open_dir(at("link"))
    await disk.volume.stop()


async def test_a_race_on_the_way(disk: Disk) -> None:
    """While a directory behind such a link is exchanged for one that leads out, a reader gets the inside or an error."""
    (disk.root / "dir").mkdir()
    (disk.root / "dir/file").write_bytes(b"inside")
    (disk.root / "out").symlink_to("../secret")
    (disk.root / "job").symlink_to("/home/work/data/dir/file")
    seen: set[bytes] = set()
    with swapping(disk.root / "dir", disk.root / "out"):
        rounds = 0
        while rounds < ROUNDS or (not seen and rounds < 100 * ROUNDS):
            rounds += 1
            try:
                seen.add(await content_of(disk.folder, "job"))
            except GatewayError:
                continue
    assert seen == {b"inside"}

"""COPY and MOVE."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, gatherResults

from tests.support.gateway import new_vfolder
from tests.support.webdav import failed_members, webdav
from vfgateway.model import Limits, Permission


async def test_files(tmp_path: Path) -> None:
    """Made anew: 201; replaced: 204; not to be replaced: 412; the source stays after COPY and goes with MOVE."""
    async with webdav(tmp_path) as dav:
        (dav.root / "a").write_bytes(b"a")
        assert (await dav.ask("COPY", "/data/a", Destination="/data/b")).status == 201
        (dav.root / "a").write_bytes(b"new")
        assert (await dav.ask("COPY", "/data/a", Destination="/data/b", Overwrite="F")).status == 412
        assert (dav.root / "b").read_bytes() == b"a"
        assert (await dav.ask("COPY", "/data/a", Destination="/data/b")).status == 204
        assert (await dav.ask("MOVE", "/data/a", Destination="/data/b", Overwrite="F")).status == 412
        assert (await dav.ask("MOVE", "/data/a", Destination="/data/b", Overwrite="T")).status == 204
        assert (dav.root / "b").read_bytes() == b"new"
        assert not (dav.root / "a").exists()


async def test_trees(tmp_path: Path) -> None:
    """Whole, alone with Depth 0, in place of what was there, and with a file in place of a tree."""
    async with webdav(tmp_path) as dav:
        (dav.root / "d/e").mkdir(parents=True)
        (dav.root / "d/e/f").write_bytes(b"f")
        assert (await dav.ask("COPY", "/data/d/", Destination="/data/c/")).status == 201
        assert (dav.root / "c/e/f").read_bytes() == b"f"
        assert (await dav.ask("COPY", "/data/d/", Destination="/data/s", Depth="0")).status == 201
        assert list((dav.root / "s").iterdir()) == []
        (dav.root / "c/old").write_bytes(b"old")
        assert (await dav.ask("COPY", "/data/d", Destination="/data/c")).status == 204
        assert not (dav.root / "c/old").exists()
        assert (await dav.ask("MOVE", "/data/d", Destination="/data/c")).status == 204
        assert (dav.root / "c/e/f").exists() and not (dav.root / "d").exists()
        (dav.root / "file").write_bytes(b"x")
        assert (await dav.ask("MOVE", "/data/file", Destination="/data/c")).status == 204
        assert (dav.root / "c").read_bytes() == b"x"
        for method, depth in (("COPY", "1"), ("MOVE", "0"), ("MOVE", "1")):
            assert (await dav.ask(method, "/data/s", Destination="/data/t", Depth=depth)).status == 400
        remaining = await dav.folder.remaining()
        assert (remaining.used_bytes, remaining.used_files) == (1, 2) or remaining.limit_bytes is None


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
async def test_where_none_can_go(method: str, tmp_path: Path) -> None:
    """Onto itself, into itself, over what holds it, beside nothing, to another server, out of the vfolder: refused, and nothing changes."""
    async with webdav(tmp_path) as dav:
        (dav.root / "d/e").mkdir(parents=True)
        (dav.root / "d/e/f").write_bytes(b"f")
        host = f"127.0.0.1:{dav.port}"
        for source, destination, status in (
            ("/data/d", "/data/d", 403),
            ("/data/d", "/data/d/", 403),
            ("/data/d/e/f", f"http://{host}/data/d/e/f", 403),
            ("/data/d", "/data/d/e/new", 403),
            ("/data/d/e", "/data/d", 403),
            ("/data/d", "/data/missing/x", 409),
            ("/data/d", "http://elsewhere.example/data/x", 502),
            ("/data/d", "/data/../x", 400),
            ("/data/d", "/data/%2e%2e/x", 400),
            ("/data/d", "relative", 400),
            ("/data/d", "http://[/x", 400),
            ("/data/d", "/nowhere/x", 409),
            ("/data/d", "/data/", 403),
            ("/data/d", "/", 403),
            ("/data/missing", "/data/x", 404),
        ):
            assert (await dav.ask(method, source, Destination=destination, Host=host)).status == status, destination
        assert (await dav.ask(method, "/data/d")).status == 400
        assert [
            str(path.relative_to(dav.root)) for path in sorted(dav.root.rglob("*")) if ".upload" not in str(path)
        ] == [
            "d",
            "d/e",
            "d/e/f",
        ]


async def test_destinations_as_clients_write_them(tmp_path: Path) -> None:
    """Behind a proxy that ends TLS the scheme differs; some write a default port, KDE a scheme of its own, some escape more."""
    async with webdav(tmp_path) as dav:
        for destination in (
            "https://files.example.org/data/x%20y",
            "http://FILES.example.org:80/data/x y".replace(" ", "%20"),
            "webdav://alice@files.example.org/data/%78%20y",
            "/data/x%20y",
        ):
            (dav.root / "a").write_bytes(b"a")
            answer = await dav.ask("MOVE", "/data/a", Destination=destination, Host="files.example.org")
            assert answer.status in (201, 204), destination
            assert (dav.root / "x y").exists()


async def test_between_vfolders(tmp_path: Path) -> None:
    """A tree goes to another vfolder whole, or, where it does not fit, stays whole; limits hold on both sides."""
    async with webdav(tmp_path) as dav:
        (dav.root / "d").mkdir()
        for name in "abc":
            (dav.root / "d" / name).write_bytes(b"x" * 10)
        small = await new_vfolder(dav.gateway, "disk", name="small", limits=Limits(bytes=25))
        refused = await dav.ask("MOVE", "/data/d", Destination="/small/d")
        assert refused.status == 507
        assert len(list((dav.root / "d").iterdir())) == 3
        partly = await dav.ask("COPY", "/data/d", Destination="/small/d")
        assert list(failed_members(partly).values()) == [507]
        assert (await dav.gateway.quota.usage(small)).bytes == 20
        await new_vfolder(dav.gateway, "disk", name="large")
        assert (await dav.ask("MOVE", "/data/d", Destination="/large/d")).status == 201
        assert not (dav.root / "d").exists()
        assert (await dav.ask("GET", "/large/d/c")).body == b"x" * 10


async def test_rights(tmp_path: Path) -> None:
    """Reading suffices to copy from, not to copy to; moving out needs the right to delete."""
    async with webdav(tmp_path) as dav:
        (dav.root / "f").write_bytes(b"x")
        await dav.let_in("reader", Permission.RO)
        await dav.let_in("writer", Permission.RW)
        writer = await dav.gateway.accounts.user("writer")
        await new_vfolder(dav.gateway, "disk", writer.id, name="own")
        assert (await dav.ask("COPY", "/data/f", user="reader", Destination="/data/g")).status == 403
        assert (await dav.ask("COPY", "/data/f", user="writer", Destination="/own/f")).status == 201
        assert (await dav.ask("MOVE", "/data/f", user="writer", Destination="/own/g")).status == 403
        assert (await dav.ask("MOVE", "/data/f", user="writer", Destination="/data/g")).status == 201


async def test_two_moves_at_once(tmp_path: Path) -> None:
    """One wins, the other finds nothing; the file is in one place, whole."""
    async with webdav(tmp_path) as dav:
        for number in range(5):
            (dav.root / "f").write_bytes(b"%d" % number)
            asked = [
                Deferred.fromCoroutine(dav.ask("MOVE", "/data/f", Destination=f"/data/{target}")) for target in "ab"
            ]
            answers = await gatherResults(asked)
            assert sorted(answer.status for answer in answers)[-1] == 404
            there = [path for path in (dav.root / "a", dav.root / "b") if path.exists()]
            assert [path.read_bytes() for path in there] == [b"%d" % number]
            there[0].unlink()

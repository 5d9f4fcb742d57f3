"""COPY and MOVE."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from tests.support.gateway import new_vfolder, orchestrator_in
from tests.support.processes import turn
from tests.support.webdav import Dav, condition, failed_members, webdav
from vfgateway.backends.vfs.files import VfsFile
from vfgateway.model import Limits, Permission, Usage, VFolder
from vfgateway.paths import parse_text
from vfgateway.services import copying


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
    """A tree goes to another vfolder, the source's limit gets back what the target's is charged; nothing else lies anywhere."""
    async with webdav(tmp_path, limits=Limits(bytes=100, files=10)) as dav:
        (dav.root / "d/e").mkdir(parents=True)
        for name in ("d/a", "d/b", "d/e/c"):
            assert (await dav.ask("PUT", f"/data/{name}", b"x" * 10)).status == 201
        await dav.gateway.lifecycle.recount(dav.vfolder)
        large = await new_vfolder(dav.gateway, "disk", name="large", limits=Limits(bytes=30, files=5))
        assert (await dav.ask("COPY", "/data/d", Destination="/large/d", Depth="0")).status == 201
        assert await dav.gateway.quota.usage(large) == Usage(0, 1)
        assert (await dav.ask("MOVE", "/data/d", Destination="/large/d", Overwrite="F")).status == 412
        assert (await dav.ask("MOVE", "/data/d", Destination="/large/d")).status == 204
        assert not (dav.root / "d").exists()
        assert (await dav.ask("GET", "/large/d/e/c")).body == b"x" * 10
        assert await dav.gateway.quota.usage(dav.vfolder) == Usage(0, 0)
        assert await dav.gateway.quota.usage(large) == Usage(30, 5)
        assert (await dav.ask("PUT", "/data/back", b"x" * 100)).status == 201


async def test_what_does_not_fit_stays(tmp_path: Path) -> None:
    """Of a tree that is moved where it does not fit, each member is in one place; the answer names one that stayed, and the whole."""
    async with webdav(tmp_path) as dav:
        (dav.root / "d/e").mkdir(parents=True)
        for name in ("d/a", "d/b", "d/e/c"):
            (dav.root / name).write_bytes(b"x" * 10)
        await dav.gateway.lifecycle.recount(dav.vfolder)
        small = await new_vfolder(dav.gateway, "disk", name="small", limits=Limits(bytes=25))
        partly = failed_members(await dav.ask("COPY", "/data/d", Destination="/small/d"))
        assert list(partly.values()) == [507, 507] and "/small/d" in partly
        assert (await dav.gateway.quota.usage(small)).bytes == 20
        assert (await dav.ask("DELETE", "/small/d")).status == 204
        partly = failed_members(await dav.ask("MOVE", "/data/d", Destination="/small/d"))
        assert list(partly.values()) == [507, 507]
        small_root = await root_of(dav, small)
        here, there = ({path.name for path in root.rglob("*") if path.is_file()} for root in (dav.root, small_root))
        assert (len(here), len(there), here | there) == (1, 2, {"a", "b", "c"})
        assert (await dav.gateway.quota.usage(small)).bytes == 20
        assert (await dav.gateway.quota.usage(dav.vfolder)).bytes == 10


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
async def test_what_cannot_fit_replaces_nothing(method: str, tmp_path: Path) -> None:
    """A tree that would replace another is refused while that is still there; one that fits in its place, but not beside it, is not."""
    async with webdav(tmp_path) as dav:
        for name, size in (("large", 40), ("fitting", 25)):
            (dav.root / name / "sub").mkdir(parents=True)
            (dav.root / name / "sub/f").write_bytes(b"x" * size)
        await dav.gateway.lifecycle.recount(dav.vfolder)
        small = await new_vfolder(dav.gateway, "disk", name="small", limits=Limits(bytes=30, files=10))
        old = await root_of(dav, small) / "old"
        assert (await dav.ask("MKCOL", "/small/old")).status == 201
        assert (await dav.ask("PUT", "/small/old/f", b"x" * 20)).status == 201
        refused = await dav.ask(method, "/data/large", Destination="/small/old")
        assert (refused.status, condition(refused)) == (507, "quota-not-exceeded")
        assert [path.name for path in old.iterdir()] == ["f"]
        assert (dav.root / "large/sub/f").exists()
        assert (await dav.ask(method, "/data/fitting", Destination="/small/old")).status == 204
        assert (old / "sub/f").read_bytes() == b"x" * 25
        assert await dav.gateway.quota.usage(small) == Usage(25, 3)


async def test_locked_members_stay(tmp_path: Path) -> None:
    """On either side: they are named, all others go, and what they lie in stays with them."""
    async with webdav(tmp_path) as dav:
        await new_vfolder(dav.gateway, "disk", name="other")
        await dav.let_in("writer", Permission.RW)
        (dav.root / "d/e").mkdir(parents=True)
        (dav.root / "d/f").mkdir()
        for name in ("d/a", "d/e/b", "d/f/c"):
            (dav.root / name).write_bytes(b"x")
        assert (await dav.ask("LOCK", "/data/d/e/b", LOCK, user="writer")).status == 200
        answer = await dav.ask("MOVE", "/data/d", Destination="/other/d")
        assert failed_members(answer) == {"/data/d/e/b": 423}
        assert sorted(str(path.relative_to(dav.root)) for path in (dav.root / "d").rglob("*")) == ["d/e", "d/e/b"]
        assert (await dav.ask("GET", "/other/d/f/c")).status == 200
        assert (await dav.ask("GET", "/other/d/e/b")).status == 404
        single = await dav.ask("MOVE", "/data/d/e/b", Destination="/other/b")
        assert single.status == 423
        token = (await dav.ask("LOCK", "/other/n", LOCK)).headers["lock-token"]
        (dav.root / "n").write_bytes(b"n")
        assert (await dav.ask("MOVE", "/data/n", Destination="/other/n")).status == 423
        assert (dav.root / "n").exists()
        submitted = f"</other/n> ({token})"
        assert (await dav.ask("MOVE", "/data/n", Destination="/other/n", If=submitted)).status == 204
        assert (await dav.ask("GET", "/other/n")).body == b"n"


LOCK = (
    b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
)


async def test_moves_that_cross(tmp_path: Path) -> None:
    """Two trees change places at once; two clients move the same tree: each file is in one place afterwards, whole."""
    async with webdav(tmp_path) as dav:
        await new_vfolder(dav.gateway, "disk", name="other")
        for number in range(3):
            for name in ("x", "y"):
                assert (await dav.ask("PUT", f"/data/{name}", b"%d" % number)).status in (201, 204)
                assert (await dav.ask("PUT", f"/other/{name}", b"other")).status in (201, 204)
            crossing = (
                dav.ask("MOVE", "/data/x", Destination="/other/y"),
                dav.ask("MOVE", "/other/y", Destination="/data/x"),
            )
            answers = await gatherResults([Deferred.fromCoroutine(asked) for asked in crossing])
            assert all(answer.status in (201, 204, 404) for answer in answers)
            left = [(await dav.ask("GET", path)).status for path in ("/data/x", "/other/y")]
            assert sorted(left) == [200, 404]
        (dav.root / "d").mkdir()
        for number in range(30):
            (dav.root / "d" / str(number)).write_bytes(b"%d" % number)
        same = (dav.ask("MOVE", "/data/d", Destination=f"/other/{target}") for target in "pq")
        await gatherResults([Deferred.fromCoroutine(asked) for asked in same])
        found: dict[int, bytes] = {}
        for place in ("data/d", "other/p", "other/q"):
            for number in range(30):
                answer = await dav.ask("GET", f"/{place}/{number}")
                if answer.status == 200:
                    assert found.setdefault(number, answer.body) is answer.body, "a file is in two places"
        assert found == {number: b"%d" % number for number in range(30)}


async def moving_forty(dav: Dav) -> tuple[VFolder, Path, Path]:
    """A directory with forty files, and where it shall go."""
    other = await new_vfolder(dav.gateway, "disk", name="other")
    (dav.root / "d").mkdir()
    for number in range(40):
        (dav.root / "d" / str(number)).write_bytes(b"x")
    await dav.gateway.lifecycle.recount(dav.vfolder)
    return other, dav.root / "d", await root_of(dav, other) / "d"


async def root_of(dav: Dav, vfolder: VFolder) -> Path:
    """Where it lies on disk."""
    volume: Any = dav.gateway.volumes.get("disk")
    return Path(await volume.mount_path(vfolder.id))


async def test_a_client_that_leaves(tmp_path: Path) -> None:
    """In the middle of a move: it goes on to its end."""
    async with webdav(tmp_path) as dav:
        _, here, there = await moving_forty(dav)
        asking = Deferred.fromCoroutine(dav.ask("MOVE", "/data/d", Destination="/other/d"))
        while not (there.exists() and list(there.iterdir())):
            await turn()
        for channel in list(dav.site.channels):
            channel.transport.abortConnection()
        await asking.addErrback(lambda _: None)
        while here.exists():
            await turn()
        assert len(list(there.iterdir())) == 40


async def test_a_move_that_is_cancelled(tmp_path: Path) -> None:
    """Each member is in one place, and the figures are right."""
    async with webdav(tmp_path) as dav:
        other, here, there = await moving_forty(dav)
        into = await orchestrator_in(dav.gateway, other)
        moving = Deferred.fromCoroutine(copying.move(dav.folder, parse_text("d"), into, parse_text("d")))
        while not (there.exists() and list(there.iterdir())):
            await turn()
        moving.cancel()
        with pytest.raises(CancelledError):
            await moving
        names = [path.name for path in (*here.iterdir(), *there.iterdir())]
        assert sorted(names) == sorted(map(str, range(40)))
        for vfolder in (dav.vfolder, other):
            told = await dav.gateway.quota.usage(vfolder)
            assert await dav.gateway.lifecycle.recount(vfolder) == told


async def test_no_byte_of_a_copy_passes_through_the_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage copies by itself where it can, also to another vfolder on it."""
    async with webdav(tmp_path) as dav:
        other = await new_vfolder(dav.gateway, "disk", name="other")
        (dav.root / "d").mkdir()
        (dav.root / "d/f").write_bytes(b"x" * 100_000)
        read: list[object] = []
        monkeypatch.setattr(VfsFile, "read", lambda *arguments: read.append(arguments))
        assert (await dav.ask("COPY", "/data/d", Destination="/data/e")).status == 201
        assert (await dav.ask("COPY", "/data/d/f", Destination="/other/f")).status == 201
        assert read == []
        for path in (dav.root / "e/f", await root_of(dav, other) / "f"):
            assert path.read_bytes() == b"x" * 100_000


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


async def test_two_trees_to_one_place(tmp_path: Path) -> None:
    """Where both would replace what is there, one does; the other is refused, or replaces the first. Neither is torn, nor gone."""
    async with webdav(tmp_path) as dav:
        for _ in range(5):
            for name in "abt":
                (dav.root / name).mkdir()
                (dav.root / name / name).write_bytes(b"x")
            asked = [Deferred.fromCoroutine(dav.ask("MOVE", f"/data/{name}", Destination="/data/t")) for name in "ab"]
            statuses = [answer.status for answer in await gatherResults(asked)]
            assert set(statuses) <= {201, 204, 403, 409}
            (there,) = [path.name for path in (dav.root / "t").iterdir()]
            for name, status in zip("ab", statuses, strict=True):
                assert (dav.root / name).exists() is (status >= 400)
            assert statuses["ab".index(there)] < 300
            for name in "abt":
                shutil.rmtree(dav.root / name, ignore_errors=True)


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
@pytest.mark.parametrize("into", ["data", "other"])
async def test_two_that_must_not_overwrite(method: str, into: str, tmp_path: Path) -> None:
    """With ``Overwrite: F`` one of two that come at once gets the name; the other is refused, and nothing of either is lost."""
    async with webdav(tmp_path) as dav:
        root = dav.root if into == "data" else await root_of(dav, await new_vfolder(dav.gateway, "disk", name=into))
        for number in range(5):
            for name in "ab":
                (dav.root / name).write_bytes(name.encode())
            fields: dict[str, Any] = {"Destination": f"/{into}/target{number}", "Overwrite": "F"}
            asked = [Deferred.fromCoroutine(dav.ask(method, f"/data/{name}", **fields)) for name in "ab"]
            answers = await gatherResults(asked)
            assert sorted(answer.status for answer in answers) == [201, 412]
            winner = "ab"[answers[1].status == 201]
            assert (root / f"target{number}").read_bytes() == winner.encode()
            left = "ab" if method == "COPY" else "ab".replace(winner, "")
            assert {name for name in "ab" if (dav.root / name).exists()} == set(left)
        (dav.root / "c").mkdir()
        (dav.root / "c/f").write_bytes(b"x")
        for name in ("target0", "target1"):
            assert (await dav.ask(method, "/data/c", Destination=f"/{into}/{name}", Overwrite="F")).status == 412
        assert (dav.root / "c/f").exists()

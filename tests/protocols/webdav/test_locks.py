"""LOCK, UNLOCK and If."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.support.uploading import Answer
from tests.support.webdav import DAV, Dav, condition, failed_members, responses, webdav
from vfgateway.errors import Locked
from vfgateway.model import OpenMode, Permission
from vfgateway.paths import parse_text

INFO = (
    '<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:{}/></D:lockscope><D:locktype><D:write/></D:locktype>'
    "<D:owner><D:href>http://example.org/~me</D:href></D:owner></D:lockinfo>"
)


WRITES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("PUT", {}),
    ("DELETE", {}),
    ("MOVE", {"Destination": "/data/g"}),
    ("PROPPATCH", {}),
)


async def lock(dav: Dav, target: str, scope: str = "exclusive", **fields: Any) -> Answer:
    """Take a lock."""
    return await dav.ask("LOCK", target, INFO.format(scope).encode(), **fields)


async def locked(dav: Dav, target: str, scope: str = "exclusive", **fields: Any) -> str:
    """Take a lock; its token."""
    answer = await lock(dav, target, scope, **fields)
    assert answer.status in (200, 201), answer.body
    return answer.headers["lock-token"].strip("<>")


async def two_writers(dav: Dav) -> None:
    """Let Bob write too."""
    await dav.let_in("bob", Permission.RWD)


async def test_an_exclusive_lock(tmp_path: Path) -> None:
    """Others, and its holder without the token, change nothing; with it the holder does; UNLOCK ends it."""
    async with webdav(tmp_path) as dav:
        await two_writers(dav)
        (dav.root / "f").write_bytes(b"x")
        answer = await lock(dav, "/data/f", Timeout="Second-600")
        assert answer.status == 200
        active = etree.fromstring(answer.body).find(f"{DAV}lockdiscovery/{DAV}activelock")
        assert active is not None
        assert active.findtext(f"{DAV}owner/{DAV}href") == "http://example.org/~me"
        assert active.findtext(f"{DAV}timeout") == "Second-600"
        assert active.findtext(f"{DAV}lockroot/{DAV}href") == "/data/f"
        token = active.findtext(f"{DAV}locktoken/{DAV}href")
        assert answer.headers["lock-token"] == f"<{token}>"
        for method, fields in WRITES:
            body = b"<propertyupdate xmlns='DAV:'><set><prop><x/></prop></set></propertyupdate>"
            for user in ("alice", "bob"):
                refused = await dav.ask(method, "/data/f", body, user=user, **fields)
                assert (refused.status, condition(refused)) == (423, "lock-token-submitted"), method
                assert b"/data/f" in refused.body and b"alice" in refused.body
        stolen = await dav.ask("PUT", "/data/f", b"y", user="bob", If=f"(<{token}>)")
        assert stolen.status == 423
        assert (await dav.ask("PUT", "/data/f", b"y", If=f"(<{token}>)")).status == 204
        assert (await dav.ask("GET", "/data/f", user="bob")).body == b"y"
        assert (await lock(dav, "/data/f", user="bob")).status == 423
        assert (await dav.ask("UNLOCK", "/data/f", user="bob", Lock_Token=f"<{token}>")).status == 403
        assert (await dav.ask("UNLOCK", "/data/f", Lock_Token=f"<{token}>")).status == 204
        assert (await dav.ask("PUT", "/data/f", b"z", user="bob")).status == 204


async def test_unmapped(tmp_path: Path) -> None:
    """A lock where nothing is makes an empty file; where no collection is above, none."""
    async with webdav(tmp_path) as dav:
        await two_writers(dav)
        answer = await lock(dav, "/data/new")
        assert answer.status == 201
        assert (dav.root / "new").read_bytes() == b""
        assert (await dav.ask("PUT", "/data/new", b"x", user="bob")).status == 423
        assert (await lock(dav, "/data/none/new")).status == 409


async def test_shared(tmp_path: Path) -> None:
    """Several share; none of them alone may write without a token; an exclusive one does not fit beside them."""
    async with webdav(tmp_path) as dav:
        await two_writers(dav)
        (dav.root / "f").write_bytes(b"")
        mine = await locked(dav, "/data/f", "shared")
        await locked(dav, "/data/f", "shared", user="bob")
        assert (await lock(dav, "/data/f")).status == 423
        assert (await dav.ask("PUT", "/data/f", b"x")).status == 423
        assert (await dav.ask("PUT", "/data/f", b"x", If=f"(<{mine}>)")).status == 204
        found = responses(await dav.ask("PROPFIND", "/data/f", Depth="0"))["/data/f"][DAV + "lockdiscovery"][1]
        assert len(found) == 2


async def test_collections(tmp_path: Path) -> None:
    """Depth infinity covers all below; depth 0 covers the names in it, not what the members hold."""
    async with webdav(tmp_path) as dav:
        await two_writers(dav)
        for name in ("deep", "flat"):
            (dav.root / name).mkdir()
            (dav.root / name / "f").write_bytes(b"")
        deep = await locked(dav, "/data/deep")
        flat = await locked(dav, "/data/flat", Depth="0")
        assert (await dav.ask("PUT", "/data/deep/f", b"x", user="bob")).status == 423
        assert (await dav.ask("PUT", "/data/flat/f", b"x", user="bob")).status == 204
        for method, target, fields in (
            ("PUT", "/data/flat/new", {}),
            ("MKCOL", "/data/flat/new", {}),
            ("DELETE", "/data/flat/f", {}),
            ("MOVE", "/data/flat/f", {"Destination": "/data/out"}),
            ("COPY", "/data/flat/f", {"Destination": "/data/flat/g"}),
        ):
            assert (await dav.ask(method, target, b"" if method == "PUT" else None, user="bob", **fields)).status == 423
        assert (await dav.ask("PUT", "/data/deep/new", b"x", If=f"</data/deep> (<{deep}>)")).status == 201
        assert (await dav.ask("PUT", "/data/flat/new", b"x", If=f"</data/flat> (<{flat}>)")).status == 201
        listed = responses(await dav.ask("PROPFIND", "/data/deep", Depth="1"))
        assert all(len(entry[DAV + "lockdiscovery"][1]) == 1 for entry in listed.values())


async def test_a_locked_member(tmp_path: Path) -> None:
    """DELETE and MOVE of a tree with a file that somebody locked: told which, and nothing is lost."""
    async with webdav(tmp_path) as dav:
        await two_writers(dav)
        (dav.root / "d").mkdir()
        for name in "abc":
            (dav.root / "d" / name).write_bytes(b"x")
        await locked(dav, "/data/d/b")
        for method in ("DELETE", "MOVE"):
            answer = await dav.ask(method, "/data/d", user="bob", Destination="/data/e")
            assert failed_members(answer) == {"/data/d/b": 423}
        assert {path.name for path in (dav.root / "d").iterdir()} == set("abc")


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
async def test_a_locked_member_of_the_target(method: str, tmp_path: Path) -> None:
    """What would be replaced holds a file that somebody locked: told which, and both trees are as they were."""
    async with webdav(tmp_path) as dav:
        await two_writers(dav)
        for name in ("source", "target", "target/sub"):
            (dav.root / name).mkdir()
            (dav.root / name / "f").write_bytes(b"x")
        await locked(dav, "/data/target/sub/f")
        for target in ("/data/target", "/data/target/sub"):
            answer = await dav.ask(method, "/data/source", user="bob", Destination=target)
            assert failed_members(answer) == {"/data/target/sub/f": 423}
        refused = await dav.ask(method, "/data/source/f", user="bob", Destination="/data/target/sub/f")
        assert (refused.status, condition(refused)) == (423, "lock-token-submitted")
        assert all((dav.root / name / "f").exists() for name in ("source", "target", "target/sub"))


async def test_a_locked_source(tmp_path: Path) -> None:
    """MOVE of what somebody locked does not first remove what it would have replaced."""
    async with webdav(tmp_path) as dav:
        await two_writers(dav)
        for name in ("source", "target"):
            (dav.root / name).mkdir()
            (dav.root / name / "f").write_bytes(b"x")
        await locked(dav, "/data/source")
        refused = await dav.ask("MOVE", "/data/source", user="bob", Destination="/data/target")
        assert refused.status == 423
        assert (dav.root / "source/f").exists() and (dav.root / "target/f").exists()


async def test_a_lock_that_another_is_in_the_way_of(tmp_path: Path) -> None:
    """The one that is there is named by what it was taken on, with who has it and until when; where that is a member, the collection
    depends on it."""
    async with webdav(tmp_path) as dav:
        await two_writers(dav)
        (dav.root / "d/e").mkdir(parents=True)
        (dav.root / "d/e/f").write_bytes(b"x")
        await locked(dav, "/data/d/e")
        for target in ("/data/d/e", "/data/d/e/f", "/data/d/e/new"):
            for scope in ("exclusive", "shared"):
                refused = await lock(dav, target, scope, user="bob")
                assert (refused.status, condition(refused)) == (423, "no-conflicting-lock"), target
                hrefs = [element.text for element in etree.fromstring(refused.body).iter(f"{DAV}href")]
                assert hrefs == ["/data/d/e"]
                assert re.search(rb"locked by alice: d/e, until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", refused.body)
        for target in ("/data/d", "/data/"):
            partly = await lock(dav, target, user="bob")
            assert failed_members(partly) == {"/data/d/e": 423, target.rstrip("/"): 424}
            assert b"no-conflicting-lock" in partly.body
        assert not (dav.root / "d/e/new").exists()
        assert len(await dav.gateway.locks.list(dav.vfolder)) == 1
        assert (await lock(dav, "/data/d", user="bob", Depth="0")).status == 200


async def test_locks_end_with_their_files(tmp_path: Path) -> None:
    """DELETE and MOVE end locks on what goes; what takes its name later is free; copies are not locked."""
    async with webdav(tmp_path) as dav:
        await two_writers(dav)
        for name in "ab":
            (dav.root / name).write_bytes(b"x")
            token = await locked(dav, f"/data/{name}")
            held: Any = {"If": f"(<{token}>)"}
            assert (await dav.ask("COPY", f"/data/{name}", Destination=f"/data/copy-{name}", user="bob")).status == 201
            if name == "a":
                assert (await dav.ask("DELETE", "/data/a", **held)).status == 204
            else:
                assert (await dav.ask("MOVE", "/data/b", Destination="/data/c", **held)).status == 201
                assert (await dav.ask("PUT", "/data/c", b"y", user="bob")).status == 204
            assert (await dav.ask("PUT", f"/data/{name}", b"y", user="bob")).status == 201
            assert (await dav.ask("PUT", f"/data/copy-{name}", b"y", user="bob")).status == 204


async def test_refresh(tmp_path: Path) -> None:
    """LOCK without a body gives the lock named in If more time; a lost or strange one is 412."""
    async with webdav(tmp_path) as dav:
        await two_writers(dav)
        (dav.root / "d").mkdir()
        (dav.root / "d/f").write_bytes(b"")
        token = await locked(dav, "/data/d", Timeout="Second-10")
        again = await dav.ask("LOCK", "/data/d/f", If=f"(<{token}>)", Timeout="Infinite, Second-4100000000")
        assert again.status == 200
        assert b"Second-86400" in again.body
        assert (await dav.ask("LOCK", "/data/d", If=f"(<{token}>)", user="bob")).status == 412
        assert (await dav.ask("LOCK", "/data/d", If="(<opaquelocktoken:none>)")).status == 412
        assert (await dav.ask("LOCK", "/data/d")).status == 412


async def test_bad_requests(tmp_path: Path) -> None:
    """What is not right is told so, and locks nothing."""
    async with webdav(tmp_path) as dav:
        await dav.let_in("reader", Permission.RO)
        (dav.root / "f").write_bytes(b"")
        token = await locked(dav, "/data/f")
        assert (await dav.ask("UNLOCK", "/data/f")).status == 400
        assert (await dav.ask("UNLOCK", "/data/f", Lock_Token="<opaquelocktoken:x>")).status == 409
        (dav.root / "g").write_bytes(b"")
        assert (await dav.ask("UNLOCK", "/data/g", Lock_Token=f"<{token}>")).status == 409
        assert (await lock(dav, "/data/g", Depth="1")).status == 400
        assert (await lock(dav, "/data/g", user="reader")).status == 403
        assert (await lock(dav, "/")).status == 403
        assert (await dav.ask("LOCK", "/data/g", b"<other/>")).status == 400
        assert (await dav.ask("PUT", "/data/g", b"", If="nonsense")).status == 400
        assert (await dav.ask("PUT", "/data/g", b"x", If='(["other"])')).status == 412
        assert (await dav.ask("PUT", "/data/g", b"x", If='(Not ["other"])')).status == 204


@pytest.mark.parametrize("padding", [b"\0", b"\r\n\r\n", b"\xef\xbb\xbf"])
async def test_what_windows_sends(padding: bytes, tmp_path: Path) -> None:
    """A lock body with what Windows leaves around it, without Depth, is taken."""
    async with webdav(tmp_path) as dav:
        body = INFO.format("exclusive").encode()
        body = padding + body if padding.startswith(b"\xef") else body + padding
        assert (await dav.ask("LOCK", "/data/f", body)).status == 201


async def test_other_protocols_obey(tmp_path: Path) -> None:
    """What WebDAV has locked no other road changes, and each is told by whom: in place, by upload, by new names in a locked collection."""
    async with webdav(tmp_path) as dav:
        (dav.root / "d").mkdir()
        (dav.root / "f").write_bytes(b"x")
        await locked(dav, "/data/f")
        await locked(dav, "/data/d", Depth="0")
        with pytest.raises(Locked) as refusal:
            await dav.folder.upload(parse_text("f"), size=1)
        assert refusal.value.owner == "alice"
        with pytest.raises(Locked):
            await dav.folder.open(parse_text("f"), OpenMode.WRITE)
        with pytest.raises(Locked):
            await dav.folder.make_dir(parse_text("d/new"))
        with pytest.raises(Locked):
            await dav.folder.rename(parse_text("f"), parse_text("g"))


async def test_a_lock_that_is_broken(tmp_path: Path) -> None:
    """An administrator breaks a lock: whoever began to write under it does not publish any more."""
    async with webdav(tmp_path) as dav:
        (dav.root / "f").write_bytes(b"old")
        token = await locked(dav, "/data/f")
        assert (await dav.ask("PUT", "/data/f", b"x", If=f"(<{token}>)")).status == 204
        (found,) = await dav.gateway.locks.list(dav.vfolder)
        assert (found.owner, found.token) == ("alice", token)
        await dav.gateway.locks.break_lock(token)
        lost = await dav.ask("PUT", "/data/f", b"y", If=f"(<{token}>)")
        assert lost.status == 412
        assert (dav.root / "f").read_bytes() == b"x"

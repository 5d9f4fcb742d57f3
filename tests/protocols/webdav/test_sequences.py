"""What well-known clients send, in their order, written from public descriptions of their traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.uploading import Answer
from tests.support.webdav import DAV, Dav, responses, webdav
from vfgateway.model import Permission

WINDOWS: dict[str, Any] = {"User_Agent": "Microsoft-WebDAV-MiniRedir/10.0.22631", "Translate": "f"}
OFFICE: dict[str, Any] = {"User_Agent": "Microsoft Office Word 2014", "X_Office_Major_Version": "16", "Translate": "f"}
FINDER: dict[str, Any] = {"User_Agent": "WebDAVFS/3.0.0 (03008000) Darwin/22.6.0 (x86_64)"}
GVFS: dict[str, Any] = {"User_Agent": "gvfs/1.50.3"}

LOCK = (
    b'<?xml version="1.0" encoding="utf-8" ?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype><D:owner><D:href>DESKTOP\\alice</D:href></D:owner></D:lockinfo>"
)
TIMES = (
    b'<?xml version="1.0" encoding="utf-8" ?><D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:">'
    b"<D:set><D:prop><Z:Win32CreationTime>Mon, 10 Sep 2001 00:00:00 GMT</Z:Win32CreationTime>"
    b"<Z:Win32LastAccessTime>Mon, 10 Sep 2001 00:00:00 GMT</Z:Win32LastAccessTime>"
    b"<Z:Win32LastModifiedTime>Sun, 09 Sep 2001 01:46:40 GMT</Z:Win32LastModifiedTime>"
    b"<Z:Win32FileAttributes>00000020</Z:Win32FileAttributes></D:prop></D:set></D:propertyupdate>"
)


class Told:
    """One client: each request must get the status that it needs to go on."""

    def __init__(self, dav: Dav, habits: dict[str, Any], user: str = "alice") -> None:
        self._dav = dav
        self._habits = habits
        self._user = user

    async def __call__(self, status: int, method: str, target: str, body: bytes | None = None, **fields: Any) -> Answer:
        """Send one."""
        answer = await self._dav.ask(method, target, body, user=self._user, **{**self._habits, **fields})
        assert answer.status == status, (method, target, answer.status, answer.body)
        return answer


async def test_explorer_copies_a_file(tmp_path: Path) -> None:
    """Mount without a login first, look for the name, PUT of nothing, LOCK without Depth, times, PUT, times, UNLOCK."""
    async with webdav(tmp_path) as dav:
        assert (await dav.ask("OPTIONS", "/", user=None, **WINDOWS)).headers["ms-author-via"] == "DAV"
        refused = await dav.ask("PROPFIND", "/data", b"", user=None, Depth="0", **WINDOWS)
        assert (refused.status, "Basic" in refused.headers["www-authenticate"]) == (401, True)
        send = Told(dav, WINDOWS)
        await send(207, "PROPFIND", "/data", b"", Depth="0")
        await send(404, "PROPFIND", "/data/report.txt", b"", Depth="0")
        await send(404, "PROPFIND", "/data/desktop.ini", b"", Depth="0")
        await send(201, "PUT", "/data/report.txt", b"")
        answer = await send(200, "LOCK", "/data/report.txt", LOCK, Timeout="Second-3600")
        held = {"If": f"({answer.headers['lock-token']})"}
        told = await send(207, "PROPPATCH", "/data/report.txt", TIMES, **held)
        assert {status for status, _ in responses(told)["/data/report.txt"].values()} == {200}
        await send(200, "HEAD", "/data/report.txt")
        await send(204, "PUT", "/data/report.txt", b"content", **held)
        await send(207, "PROPPATCH", "/data/report.txt", TIMES, **held)
        await send(204, "UNLOCK", "/data/report.txt", Lock_Token=answer.headers["lock-token"])
        assert (dav.root / "report.txt").read_bytes() == b"content"
        assert (dav.root / "report.txt").stat().st_mtime == 1_000_000_000


async def test_explorer_works_in_a_folder(tmp_path: Path) -> None:
    """New folder, renamed; a file replaced, renamed to another case, dragged in; the folder deleted."""
    async with webdav(tmp_path) as dav:
        host = f"127.0.0.1:{dav.port}"
        send = Told(dav, {**WINDOWS, "Host": host})
        at = f"http://{host}/data"
        (dav.root / "plan.txt").write_bytes(b"old")
        await send(207, "PROPFIND", "/data", b"", Depth="1")
        await send(404, "PROPFIND", "/data/New%20folder", b"", Depth="0")
        await send(201, "MKCOL", "/data/New%20folder", b"")
        await send(207, "PROPFIND", "/data/New%20folder", b"", Depth="0")
        await send(207, "PROPPATCH", "/data/New%20folder", TIMES)
        await send(201, "MOVE", "/data/New%20folder", Destination=f"{at}/B%c3%bccher%20&%20mehr", Overwrite="F")
        held = await send(200, "LOCK", "/data/plan.txt", LOCK, Timeout="Second-3600")
        token = held.headers["lock-token"]
        await send(204, "PUT", "/data/plan.txt", b"new", If=f"({token})")
        await send(204, "UNLOCK", "/data/plan.txt", Lock_Token=token)
        await send(201, "MOVE", "/data/plan.txt", Destination=f"{at}/PLAN.txt", Overwrite="F")
        into = f"{at}/B%c3%bccher%20&%20mehr"
        await send(201, "MOVE", "/data/PLAN.txt", Destination=f"{into}/PLAN.txt", Overwrite="F")
        listed = responses(await send(207, "PROPFIND", "/data/B%c3%bccher%20&%20mehr", b"", Depth="1"))
        assert {href for href in listed if href.endswith("PLAN.txt")} == {"/data/B%C3%BCcher%20%26%20mehr/PLAN.txt"}
        await send(204, "DELETE", "/data/B%c3%bccher%20&%20mehr")
        assert [path.name for path in dav.root.iterdir() if path.name != ".upload"] == []


async def test_word_makes_a_file_and_a_colleague_opens_it(tmp_path: Path) -> None:
    """A lock where nothing is yet, then the content; whoever comes meanwhile is told by whom it is locked, reads, and gets it afterwards."""
    async with webdav(tmp_path) as dav:
        await dav.let_in("colleague", Permission.RWD)
        send, other = Told(dav, OFFICE), Told(dav, OFFICE, "colleague")
        assert (await dav.ask("OPTIONS", "/data/", user=None, **OFFICE)).headers["ms-author-via"] == "DAV"
        asked = await dav.ask("HEAD", "/data/new.docx", user=None, **OFFICE)
        assert (asked.status, "Basic" in asked.headers["www-authenticate"]) == (401, True)
        await send(404, "HEAD", "/data/new.docx")
        token = (await send(201, "LOCK", "/data/new.docx", LOCK, Timeout="Second-3600")).headers["lock-token"]
        await send(204, "PUT", "/data/new.docx", b"one", If=f"({token})")
        refused = await other(423, "LOCK", "/data/new.docx", LOCK, Timeout="Second-3600")
        assert b"locked by alice" in refused.body
        found = responses(await other(207, "PROPFIND", "/data/new.docx", b"", Depth="0"))["/data/new.docx"]
        owner = found[DAV + "lockdiscovery"][1].findtext(f"{DAV}activelock/{DAV}owner/{DAV}href")
        assert owner == "DESKTOP\\alice"
        assert (await other(200, "GET", "/data/new.docx")).body == b"one"
        await other(423, "PUT", "/data/new.docx", b"two")
        await send(204, "UNLOCK", "/data/new.docx", Lock_Token=token)
        token = (await other(200, "LOCK", "/data/new.docx", LOCK, Timeout="Second-3600")).headers["lock-token"]
        await other(204, "PUT", "/data/new.docx", b"two", If=f"(<{token.strip('<>')}>)")
        await other(204, "UNLOCK", "/data/new.docx", Lock_Token=token)
        assert (dav.root / "new.docx").read_bytes() == b"two"


async def test_word_saves(tmp_path: Path) -> None:
    """Open under a lock, save twice with a refresh in between, close; a colleague who may only read is told at once, and can read."""
    async with webdav(tmp_path) as dav:
        await dav.let_in("reader", Permission.RO)
        (dav.root / "plan.docx").write_bytes(b"old")
        send, reader = Told(dav, OFFICE), Told(dav, OFFICE, "reader")
        await send(200, "OPTIONS", "/data/")
        await send(200, "HEAD", "/data/plan.docx")
        answer = await send(200, "LOCK", "/data/plan.docx", LOCK, Timeout="Second-3600")
        token = answer.headers["lock-token"]
        await send(200, "GET", "/data/plan.docx")
        await reader(403, "LOCK", "/data/plan.docx", LOCK)
        await reader(200, "GET", "/data/plan.docx")
        await send(204, "PUT", "/data/plan.docx", b"one", If=f"({token})")
        await send(200, "LOCK", "/data/plan.docx", b"", If=f"({token})", Timeout="Second-3600")
        await send(207, "PROPFIND", "/data/plan.docx", b"", Depth="0")
        await send(204, "PUT", "/data/plan.docx", b"two", If=f"({token})")
        await send(204, "UNLOCK", "/data/plan.docx", Lock_Token=token)
        assert (dav.root / "plan.docx").read_bytes() == b"two"


async def test_word_saves_by_renaming(tmp_path: Path) -> None:
    """The dance with a temporary and an owner file, by somebody who may write but not delete what others made."""
    async with webdav(tmp_path) as dav:
        await dav.let_in("writer", Permission.RW)
        (dav.root / "plan.docx").write_bytes(b"old")
        send = Told(dav, OFFICE, "writer")
        await send(201, "PUT", "/data/~$plan.docx", b"writer")
        await send(201, "PUT", "/data/A1B2.tmp", b"new")
        await send(201, "MOVE", "/data/plan.docx", Destination="/data/C3D4.tmp", Overwrite="F")
        await send(201, "MOVE", "/data/A1B2.tmp", Destination="/data/plan.docx", Overwrite="F")
        await send(204, "DELETE", "/data/~$plan.docx")
        assert (dav.root / "plan.docx").read_bytes() == b"new"


async def test_finder_copies_a_file(tmp_path: Path) -> None:
    """Quota first, its own droppings, an empty PUT, LOCK, then the content in chunks whose length it tells in its own way."""
    async with webdav(tmp_path, limit_bytes=1000) as dav:
        send = Told(dav, FINDER)
        await send(200, "OPTIONS", "/data/")
        quota = (
            b'<D:propfind xmlns:D="DAV:"><D:prop><D:quota-available-bytes/><D:quota-used-bytes/></D:prop></D:propfind>'
        )
        found = responses(await send(207, "PROPFIND", "/data/", quota, Depth="0"))["/data/"]
        assert found[DAV + "quota-available-bytes"][1].text == "1000"
        for name in ("._photo.jpg", ".DS_Store", "photo.jpg"):
            await send(404, "PROPFIND", f"/data/{name}", b"", Depth="0")
            await send(201, "PUT", f"/data/{name}", b"")
            token = (await send(200, "LOCK", f"/data/{name}", LOCK, Depth="0", Timeout="Second-600")).headers[
                "lock-token"
            ]
            chunked = b"5\r\nhello\r\n0\r\n\r\n"
            fields: dict[str, Any] = {
                "Transfer_Encoding": "chunked",
                "X_Expected_Entity_Length": "5",
                "If": f"({token})",
            }
            await send(204, "PUT", f"/data/{name}", chunked, Content_Length=None, **fields)
            await send(207, "PROPFIND", f"/data/{name}", b"", Depth="0")
            await send(204, "UNLOCK", f"/data/{name}", Lock_Token=token)
            assert (dav.root / name).read_bytes() == b"hello"


async def test_finder_works_in_a_folder(tmp_path: Path) -> None:
    """An untitled folder, renamed; a file replaced under a lock and read back in pieces; a folder duplicated, and all of it removed."""
    async with webdav(tmp_path) as dav:
        host = f"127.0.0.1:{dav.port}"
        send = Told(dav, {**FINDER, "Host": host})
        (dav.root / "photo.jpg").write_bytes(b"old")
        await send(404, "PROPFIND", "/data/untitled%20folder", b"", Depth="0")
        await send(201, "MKCOL", "/data/untitled%20folder/")
        await send(404, "PROPFIND", "/data/._untitled%20folder", b"", Depth="0")
        destination = f"http://{host}/data/e%CC%81te%CC%81/"
        await send(201, "MOVE", "/data/untitled%20folder/", Destination=destination, Overwrite="F")
        assert (dav.root / "\u00e9t\u00e9").is_dir()
        locked = await send(200, "LOCK", "/data/photo.jpg", LOCK, Depth="0", Timeout="Second-600")
        token = locked.headers["lock-token"]
        chunked = b"3\r\nnew\r\n4\r\n one\r\n0\r\n\r\n"
        fields: dict[str, Any] = {"Transfer_Encoding": "chunked", "X_Expected_Entity_Length": "7", "If": f"({token})"}
        await send(204, "PUT", "/data/photo.jpg", chunked, Content_Length=None, **fields)
        refresh: dict[str, Any] = {"If": f"({token})", "Timeout": "Second-600"}
        await send(200, "LOCK", "/data/photo.jpg", b"", **refresh)
        await send(204, "UNLOCK", "/data/photo.jpg", Lock_Token=token)
        assert (await send(206, "GET", "/data/photo.jpg", Range="bytes=4-6")).body == b"one"
        await send(201, "MOVE", "/data/photo.jpg", Destination=f"{destination}photo.jpg", Overwrite="T")
        await send(404, "MOVE", "/data/._photo.jpg", Destination=f"{destination}._photo.jpg", Overwrite="T")
        copied = f"http://{host}/data/e%CC%81te%CC%81%20copy/"
        await send(201, "COPY", "/data/e%CC%81te%CC%81/", Destination=copied, Overwrite="F")
        listed = responses(await send(207, "PROPFIND", "/data/e%CC%81te%CC%81%20copy/", b"", Depth="1"))
        assert set(listed) == {"/data/%C3%A9t%C3%A9%20copy/", "/data/%C3%A9t%C3%A9%20copy/photo.jpg"}
        for name in ("e%CC%81te%CC%81", "e%CC%81te%CC%81%20copy"):
            await send(204, "DELETE", f"/data/{name}/")
        assert [path.name for path in dav.root.iterdir() if path.name != ".upload"] == []


async def test_gnome_files(tmp_path: Path) -> None:
    """Looks at every directory on the way, HEAD on collections, conditional PUT, rename by MOVE, trash by DELETE."""
    async with webdav(tmp_path) as dav:
        send = Told(dav, GVFS)
        await send(200, "OPTIONS", "/data/")
        await send(207, "PROPFIND", "/", b"", Depth="0")
        await send(207, "PROPFIND", "/data/", b"", Depth="1")
        await send(200, "HEAD", "/data/")
        made = await send(201, "PUT", "/data/note.txt", b"one", If_None_Match="*")
        await send(204, "PUT", "/data/note.txt", b"two", If_Match=made.headers["etag"])
        await send(412, "PUT", "/data/note.txt", b"three", If_Match=made.headers["etag"])
        await send(201, "MOVE", "/data/note.txt", Destination="/data/renamed.txt", Overwrite="F")
        await send(201, "COPY", "/data/renamed.txt", Destination="/data/copy.txt", Overwrite="F")
        await send(204, "DELETE", "/data/copy.txt")
        assert (dav.root / "renamed.txt").read_bytes() == b"two"


async def test_odd_methods(tmp_path: Path) -> None:
    """Methods from elsewhere are refused by name, and the session goes on."""
    async with webdav(tmp_path) as dav:
        for method, status in (("USERINFO", 501), ("REPORT", 400), ("SEARCH", 501), ("POST", 405), ("PATCH", 415)):
            assert (await dav.ask(method, "/data/", b"")).status == status
        assert (await dav.ask("GET", "/data/")).status == 200

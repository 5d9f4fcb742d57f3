"""Share links, as whoever has one uses them: with a browser, or with a script."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select, update

from tests.support.client_api import ClientApi, client_api, problem
from tests.support.people_api import Person
from tests.support.uploading import Answer
from vfgateway.services.sharing_tables import share_links

HTML: dict[str, Any] = {"Accept": "text/html,*/*"}


async def link(api: ClientApi, **options: object) -> tuple[str, str]:
    """A link of Alice's: where it leads, and its identifier."""
    made = await Person(api, "alice").do("POST", "/vfolders/data/links", options, status=201)
    return urlsplit(made["url"]).path, made["id"]


async def get(api: ClientApi, path: str, **fields: Any) -> Answer:
    """What a script gets."""
    return await api.ask("GET", path, **fields)


async def test_a_file_for_everybody(tmp_path: Path) -> None:
    """A browser is shown a page, which runs nothing of others; a script gets the file; ranges work; nothing of the secret is stored."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        (api.root / "f<b>.txt").write_bytes(b"hello")
        where, _ = await link(api, path="f<b>.txt", label="For <you>")
        page = await get(api, where, **HTML)
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"f&lt;b&gt;.txt" in page.body
        assert b"For &lt;you&gt;" in page.body
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.headers["referrer-policy"] == "no-referrer"
        got = await get(api, f"{where}?download=1", **HTML)
        assert (got.body, got.headers["cache-control"]) == (b"hello", "no-store")
        assert "attachment" in got.headers["content-disposition"]
        assert (await get(api, where)).body == b"hello"
        assert (await get(api, where, Range="bytes=1-2")).body == b"el"
        rows = await api.gateway.database.read(lambda connection: connection.execute(select(share_links)).all())
        assert where.rpartition("/")[2] not in str(rows)
        for wrong in ("/s/", "/s/nonsense", where[:-1], f"{where}/more", f"{where}x"):
            assert (await get(api, wrong)).status in (404, 405)


async def test_a_directory_as_a_zip(tmp_path: Path) -> None:
    """And nothing beside it, whatever is asked for."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        (api.root / "d/e").mkdir(parents=True)
        (api.root / "d/e/f").write_bytes(b"inside")
        (api.root / "secret").write_bytes(b"beside")
        where, _ = await link(api, path="d")
        names = zipfile.ZipFile(io.BytesIO((await get(api, where)).body)).namelist()
        assert "e/f" in names
        assert not [name for name in names if "secret" in name]
        for path in ("/../secret", "/%2e%2e/secret", "/secret"):
            assert (await get(api, where + path)).status in (400, 404, 405)


async def test_a_password(tmp_path: Path) -> None:
    """Is asked for by a page, kept as a hash, told by Basic or the form; guessing ends after a while."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        (api.root / "f").write_bytes(b"hello")
        where, _ = await link(api, path="f", password="open sesame")
        other, _ = await link(api, path="f", password="another one")
        assert (await get(api, where)).status == 401
        asked = await get(api, where, **HTML)
        assert (asked.status, b"<form" in asked.body) == (401, True)
        assert "www-authenticate" not in asked.headers
        wrong = await api.ask("POST", where, b"password=guess", **HTML)
        assert (wrong.status, b"not the password" in wrong.body) == (401, True)
        right = await api.ask("POST", where, b"password=open+sesame", **HTML)
        assert right.status == 303
        cookie = right.headers["set-cookie"]
        assert "open" not in cookie
        assert {"httponly", f"path={where}".lower()} <= {part.strip() for part in cookie.lower().split(";")}
        kept = cookie.partition(";")[0]
        assert (await get(api, where, Cookie=kept)).body == b"hello"
        assert (await get(api, other, Cookie=kept.partition("=")[0] + "=" + kept.partition("=")[2])).status == 401
        basic = "Basic OnNlc2FtZQ=="
        assert (await get(api, where, Authorization=basic)).status == 401
        forged = await api.ask("POST", where, b"password=open+sesame", Origin="https://evil.example")
        assert forged.status == 400
        stored = await api.gateway.database.read(
            lambda connection: connection.execute(select(share_links.c.password)).scalars().all()
        )
        assert all(each.startswith("$argon2id$") for each in stored)
        for _ in range(25):
            assert (await api.ask("POST", where, b"password=guess")).status == 401
        assert (await api.ask("POST", where, b"password=sesame")).status == 401


async def test_a_link_ends(tmp_path: Path) -> None:
    """By its date, when it was used up, when it is revoked, and with the rights that it rests on: all look alike from outside."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        (api.root / "f").write_bytes(b"hello")
        alice = Person(api, "alice")
        twice, _ = await link(api, path="f", most_uses=2)
        for _ in range(2):
            assert (await get(api, twice)).status == 200
        revoked, identity = await link(api, path="f")
        assert (await get(api, revoked)).status == 200
        await alice.do("DELETE", f"/vfolders/data/links/{identity}", status=204)
        expired, _ = await link(api, path="f", expires=api.gateway.reactor.seconds() + 3600)
        assert (await get(api, expired)).status == 200
        past = update(share_links).where(share_links.c.expires.is_not(None)).values(expires=1.0)
        await api.gateway.database.write(lambda connection: connection.execute(past).rowcount)
        resting, _ = await link(api, path="f")
        user, other = await api.gateway.accounts.user("alice"), await api.gateway.accounts.user("bob")
        await api.gateway.vfolders.update(api.vfolder.key, owner=other.id)
        answers = [await get(api, where) for where in (twice, revoked, expired, resting, "/s/never-was")]
        assert {answer.status for answer in answers} == {404}
        assert (
            len({re.sub(r'"request_id": "[^"]*"|"decision": "[^"]*"', "", answer.body.decode()) for answer in answers})
            == 1
        )
        await api.gateway.vfolders.update(api.vfolder.key, owner=user.id)
        assert (await get(api, resting)).status == 200
        await alice.do("DELETE", "/vfolders/data")
        assert (await get(api, resting)).status == 404


async def test_a_drop_box(tmp_path: Path) -> None:
    """Takes files, shows none, touches none that are there, and has no way out."""
    async with client_api(tmp_path, limit_bytes=1000) as api:
        await api.let_people_in()
        (api.root / "box").mkdir()
        (api.root / "box/there.txt").write_bytes(b"before")
        where, _ = await link(api, path="box", kind="upload", most_uses=4)
        page = await get(api, where, **HTML)
        assert b"there.txt" not in page.body
        nonce = re.search(rb'nonce="([^"]+)"', page.body)
        assert nonce is not None
        assert f"'nonce-{nonce[1].decode()}'" in page.headers["content-security-policy"]
        assert (await api.ask("PUT", f"{where}/new%20one", b"data")).status == 201
        assert (await api.ask("PUT", f"{where}/there.txt", b"mine")).status == 201
        assert (api.root / "box/there.txt").read_bytes() == b"before"
        assert (api.root / "box/there (2).txt").read_bytes() == b"mine"
        for name in ("../out", "%2e%2e/out", "a/b", "..", "%2Fetc"):
            assert (await api.ask("PUT", f"{where}/{name}", b"x")).status in (400, 404)
        assert not (api.root / "out").exists()
        full = await api.ask("PUT", f"{where}/large", b"x" * 2000)
        assert (full.status, problem(full)["resource"]) == (507, "bytes")
        assert (await api.ask("DELETE", f"{where}/new%20one")).status == 405
        listed = (await Person(api, "alice").do("GET", "/vfolders/data/links"))["links"]
        assert listed[0]["uses"] >= 3
        for _ in range(3):
            last = await api.ask("PUT", f"{where}/more", b"x")
        assert last.status == 404


async def test_who_makes_links(tmp_path: Path) -> None:
    """Only who administers a vfolder; a drop box is a directory; what does not exist has no link."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        (api.root / "f").write_bytes(b"x")
        alice = Person(api, "alice")
        grant = {"kind": "user", "subject": "bob", "permission": "rwd"}
        await alice.do("POST", "/vfolders/data/grants", grant, status=201)
        await Person(api, "bob").refused(403, "POST", "/vfolders/data/links", {"path": "f"})
        await alice.refused(409, "POST", "/vfolders/data/links", {"path": "f", "kind": "upload"})
        await alice.refused(404, "POST", "/vfolders/data/links", {"path": "none"})
        await alice.refused(404, "POST", "/vfolders/data/links", {"path": ".trash"})

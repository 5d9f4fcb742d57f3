"""The people's API, through real requests: logging in, vfolders, sharing, files, trash, account."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from tests.support.client_api import PASSWORD, client_api, problem
from tests.support.gateway import new_vfolder
from tests.support.people_api import V1, Browser, Person
from vfgateway.model import Permission, QuotaScopeId, ScopeKind, VFolderId

# --- logging in ---


async def test_a_browser_logs_in(tmp_path: Path) -> None:
    """The cookie cannot be read by scripts nor sent by other sites; changes need the token; logging out ends it for good."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        browser = Browser(api, "alice")
        answer = await browser.log_in()
        cookie = answer.headers["set-cookie"].lower()
        assert {"httponly", "samesite=strict", "path=/"} <= {part.strip() for part in cookie.split(";")}
        assert "secure" not in cookie  # this connection has no TLS, so it would never come back
        assert await browser.names() == ["data"]
        me = await browser.do("GET", "/me")
        assert (me["name"], me["csrf_token"]) == ("alice", browser.fields["X_CSRF_Token"])
        made = {"path": "d"}
        await browser.do("POST", "/vfolders/data/directories", made, status=201)
        for token in ("", "wrong"):
            answer = await browser.ask("POST", "/vfolders/data/directories", {"path": "e"}, X_CSRF_Token=token)
            assert answer.status == 403
        forged = await browser.ask("PUT", "/files/data/f", b"x", X_CSRF_Token="")
        assert forged.status == 403
        assert not (api.root / "e").exists()
        assert not (api.root / "f").exists()
        assert [one["current"] for one in (await browser.do("GET", "/me/sessions"))["sessions"]] == [True]
        await browser.do("POST", "/logout", status=204)
        assert (await browser.ask("GET", "/vfolders")).status == 401


async def test_a_cookie_over_tls(tmp_path: Path) -> None:
    """Is secure, and bound to this host, where a trusted proxy says that the caller came by TLS."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        api.site.proxies = type(api.site.proxies)(("127.0.0.1",))
        body = json.dumps({"name": "alice", "password": PASSWORD}).encode()
        answer = await api.ask("POST", f"{V1}/login", body, X_Forwarded_Proto="https", X_Forwarded_For="192.0.2.1")
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-vfgateway=")
        assert "secure" in cookie.lower()


async def test_who_cannot_log_in(tmp_path: Path) -> None:
    """A wrong password, another site's page, a cookie that was made up, and an account that was closed meanwhile."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        browser = Browser(api, "alice")
        assert (await browser.log_in("wrong")).status == 401
        for fields in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
            answer = await browser.ask("POST", "/login", {"name": "alice", "password": PASSWORD}, **fields)
            assert answer.status == 403
        browser.fields = {"Cookie": "vfgateway=made-up"}
        assert (await browser.ask("GET", "/me")).status == 401
        good = Browser(api, "alice")
        await good.log_in()
        user = await api.gateway.accounts.user("alice")
        await api.gateway.accounts.update_user(user.id, active=False)
        assert (await good.ask("GET", "/me")).status == 401


async def test_my_account(tmp_path: Path) -> None:
    """The password changes only for who knows it, and logs other browsers out; keys come and go."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        here, there, script = Browser(api, "alice"), Browser(api, "alice"), Person(api, "alice")
        await here.log_in()
        await there.log_in()
        change = {"current": "wrong", "new": "another password"}
        await here.refused(403, "PUT", "/me/password", change)
        short = await here.refused(400, "PUT", "/me/password", {"current": PASSWORD, "new": "seven77"})
        assert short["detail"] == "password: too short: it needs at least 8 characters"
        await here.do("PUT", "/me/password", change | {"current": PASSWORD}, status=204)
        assert (await there.ask("GET", "/me")).status == 401
        assert (await here.ask("GET", "/me")).status == 200
        assert (await script.ask("GET", "/me")).status == 401
        made = await here.do("POST", "/me/keys", {"kind": "api_key", "label": "laptop"}, status=201)
        assert (await api.ask("GET", f"{V1}/me", Authorization=f"Bearer {made['secret']}")).status == 200
        [listed] = (await here.do("GET", "/me/keys"))["keys"]
        assert (listed["label"], "secret" in listed) == ("laptop", False)
        await here.do("DELETE", f"/me/keys/{listed['id']}", status=204)
        assert (await api.ask("GET", f"{V1}/me", Authorization=f"Bearer {made['secret']}")).status == 401
        await here.refused(404, "DELETE", "/me/keys/none")


async def test_a_second_factor_and_an_app_password(tmp_path: Path) -> None:
    """Set up by who knows the password, then asked for at the login; an app password does without, and permits only what it says."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        (api.root / "f").write_bytes(b"x")
        browser = Browser(api, "alice")
        await browser.log_in()
        await browser.refused(403, "POST", "/me/second-factor", {"current": "wrong"})
        secret = (await browser.do("POST", "/me/second-factor", {"current": PASSWORD}, status=201))["secret"]
        totp = TOTP(base64.b32decode(secret), 6, SHA1(), 30)
        code = totp.generate(int(api.gateway.reactor.seconds())).decode()
        codes = (await browser.do("POST", "/me/second-factor/confirm", {"code": code}))["recovery_codes"]
        assert (await browser.do("GET", "/me/second-factor"))["enabled"]
        other = Browser(api, "alice")
        assert (await other.log_in()).status == 401
        login = {"name": "alice", "password": PASSWORD, "otp": codes[0]}
        assert (await other.ask("POST", "/login", login)).status == 200
        assert (await other.ask("POST", "/login", login)).status == 401
        wanted = {"kind": "app_password", "label": "sync", "vfolders": ["data"], "permission": "ro"}
        made = await browser.do("POST", "/me/keys", wanted, status=201)
        script = Person(api, "alice", made["secret"])
        assert (await script.ask("GET", "/files/data/f")).body == b"x"
        assert (await script.ask("PUT", "/files/data/f", b"y")).status == 403
        await script.refused(403, "GET", "/me/keys")
        await script.refused(403, "POST", "/vfolders/data/links", {"path": "f"})
        await script.refused(403, "DELETE", "/vfolders/data")
        narrow = {"name": "alice", "password": made["secret"]}
        assert (await other.ask("POST", "/login", narrow)).status == 403
        await browser.do("POST", "/me/second-factor/remove", {"current": PASSWORD}, status=204)
        assert (await other.log_in()).status == 200


# --- vfolders and sharing ---


async def test_sharing_by_invitation(tmp_path: Path) -> None:
    """It counts when it is accepted; who shared takes it back, who got it leaves; who may not share cannot."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        alice, bob = Person(api, "alice"), Person(api, "bob")
        offer = {"user": "bob", "role": "ro", "message": "have a look"}
        made = await alice.do("POST", "/vfolders/data/invitations", offer, status=201)
        assert await bob.names() == []
        [received] = (await bob.do("GET", "/invitations"))["invitations"]
        assert (received["vfolder"], received["inviter"], received["message"]) == ("data", "alice", "have a look")
        await alice.refused(404, "POST", f"/invitations/{made['id']}/accept", {})
        accepted = await bob.do("POST", f"/invitations/{made['id']}/accept", {})
        assert (accepted["name"], accepted["permission"], accepted["administer"]) == ("data", "ro", False)
        await bob.refused(404, "POST", f"/invitations/{made['id']}/accept", {})
        refused = await bob.refused(
            403, "POST", "/vfolders/data/grants", {"kind": "user", "subject": "bob", "permission": "rwd"}
        )
        assert "owner" in refused["needed"]
        for path in ("grants", "invitations", "links"):
            await bob.refused(403, "GET", f"/vfolders/data/{path}")
        await bob.refused(403, "DELETE", "/vfolders/data")
        await bob.refused(403, "PATCH", "/vfolders/data", {"name": "mine"})
        await bob.do("POST", "/vfolders/data/leave", status=204)
        assert await bob.names() == []
        await alice.refused(409, "POST", "/vfolders/data/leave")
        again = await alice.do("POST", "/vfolders/data/invitations", offer, status=201)
        await bob.do("POST", f"/invitations/{again['id']}/decline", status=204)
        withdrawn = await alice.do("POST", "/vfolders/data/invitations", offer, status=201)
        await alice.do("DELETE", f"/vfolders/data/invitations/{withdrawn['id']}", status=204)
        assert (await bob.do("GET", "/invitations"))["invitations"] == []


async def test_sharing_at_once(tmp_path: Path) -> None:
    """With a user, by e-mail too, and with a group; taken back it is gone."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        accounts = api.gateway.accounts
        bob_user = await accounts.user("bob")
        await accounts.update_user(bob_user.id, email="bob@example.org")
        crew = await accounts.create_group("crew")
        await accounts.set_member(crew.id, bob_user.id)
        alice, bob = Person(api, "alice"), Person(api, "bob")
        grant = {"kind": "user", "subject": "bob@example.org", "permission": "rw"}
        made = await alice.do("POST", "/vfolders/data/grants", grant, status=201)
        assert (made["subject"], (await bob.do("GET", "/vfolders/data"))["permission"]) == ("bob", "rw")
        group = {"kind": "group", "subject": "crew", "permission": "ro"}
        await alice.do("POST", "/vfolders/data/grants", group, status=201)
        await alice.do("DELETE", f"/vfolders/data/grants/{made['id']}", status=204)
        assert (await bob.do("GET", "/vfolders/data"))["permission"] == "ro"
        assert "group" in (await bob.refused(409, "POST", "/vfolders/data/leave"))["detail"]
        await alice.refused(404, "POST", "/vfolders/data/grants", grant | {"subject": "nobody"})
        await alice.refused(400, "POST", "/vfolders/data/grants", grant | {"permission": "all"})


async def test_handing_over(tmp_path: Path) -> None:
    """To a user who accepts it, and is charged from then on; to a group that one administers; offers of the former owner are void."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        (api.root / "f").write_bytes(b"12345")
        await api.gateway.lifecycle.recount(api.vfolder)
        accounts = api.gateway.accounts
        carol = await accounts.create_user("carol")
        await accounts.set_password(carol.id, PASSWORD)
        crew = await accounts.create_group("crew")
        bob_user = await accounts.user("bob")
        alice, bob, third = Person(api, "alice"), Person(api, "bob"), Person(api, "carol")
        await alice.refused(403, "POST", "/vfolders/data/transfer", {"group": "crew"})
        offered = await alice.do("POST", "/vfolders/data/invitations", {"user": "carol", "role": "rwd"}, status=201)
        handed = {"user": "bob", "role": "owner", "keep": "ro"}
        made = await alice.do("POST", "/vfolders/data/invitations", handed, status=201)
        assert (await alice.do("GET", "/vfolders/data"))["administer"]
        got = await bob.do("POST", f"/invitations/{made['id']}/accept", {})
        assert (got["owner_name"], got["administer"]) == ("bob", True)
        assert (await alice.do("GET", "/vfolders/data"))["permission"] == "ro"
        await third.refused(404, "POST", f"/invitations/{offered['id']}/accept", {})
        await accounts.set_member(crew.id, bob_user.id, administrator=True)
        await bob.do("POST", "/vfolders/data/transfer", {"group": "crew"}, status=204)
        shown = await bob.do("GET", "/vfolders/data")
        assert (shown["kind"], shown["owner_name"], shown["administer"]) == ("project", "crew", True)
        await accounts.set_member(crew.id, bob_user.id, administrator=False)
        assert (await bob.do("GET", "/vfolders/data"))["permission"] == "rw"
        usage = await api.gateway.quota.usage(await api.gateway.vfolders.by_key(api.vfolder.key))
        assert usage.bytes == 5


async def test_group_administrators_manage_what_is_the_groups(tmp_path: Path) -> None:
    """They rename, share and delete it; members do not."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        accounts = api.gateway.accounts
        crew = await accounts.create_group("crew")
        for name, leads in (("alice", True), ("bob", False)):
            await accounts.set_member(crew.id, (await accounts.user(name)).id, administrator=leads)
        vfid = VFolderId(QuotaScopeId(ScopeKind.PROJECT, crew.id), api.vfolder.id.folder)
        await api.gateway.lifecycle.create("disk", vfid, name="ours")
        alice, bob = Person(api, "alice"), Person(api, "bob")
        await bob.refused(403, "PATCH", "/vfolders/ours", {"name": "theirs"})
        await bob.refused(403, "DELETE", "/vfolders/ours")
        assert (await alice.do("PATCH", "/vfolders/ours", {"name": "shared"}))["name"] == "shared"
        grant = {"kind": "group", "subject": "crew", "permission": "ro"}
        await alice.do("POST", "/vfolders/shared/grants", grant, status=201)
        assert (await bob.do("GET", "/vfolders/shared"))["permission"] == "ro"
        await alice.do("DELETE", "/vfolders/shared")
        assert "shared" not in await bob.names()


async def test_a_deleted_vfolder_comes_back(tmp_path: Path) -> None:
    """From the trash, whole, to all who had it; its name may have been used meanwhile; others cannot restore it."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        (api.root / "f").write_bytes(b"x")
        bob_user = await api.gateway.accounts.user("bob")
        await api.gateway.vfolders.grant(api.vfolder.key, "user", bob_user.id, Permission.RWD)
        alice, bob = Person(api, "alice"), Person(api, "bob")
        trashed = await alice.do("DELETE", "/vfolders/data")
        assert (await alice.names(), await bob.names()) == ([], [])
        assert (await api.files("GET", "data/f")).status == 404
        assert [one["id"] for one in (await alice.do("GET", "/trash"))["vfolders"]] == [trashed["id"]]
        assert (await bob.do("GET", "/trash"))["vfolders"] == []
        await bob.refused(404, "POST", f"/trash/{trashed['id']}/restore", {})
        await new_vfolder(api.gateway, "disk", name="data")
        await alice.refused(409, "POST", f"/trash/{trashed['id']}/restore", {})
        back = await alice.do("POST", f"/trash/{trashed['id']}/restore", {"name": "old"})
        assert back["name"] == "old"
        assert (await api.files("GET", "old/f")).body == b"x"
        assert len(await bob.names()) == 1
        await alice.do("DELETE", "/vfolders/old")
        task = (await alice.do("DELETE", f"/trash/{trashed['id']}", status=202))["task"]
        async for _ in api.gateway.tasks.watch(task):
            pass
        assert not api.root.exists()


# --- files ---


async def test_files(tmp_path: Path) -> None:
    """Written, read by ranges, shown, listed, made, moved, copied, fetched as a zip."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        alice, files = Person(api, "alice"), "/vfolders/data"
        put = await alice.ask("PUT", f"{files}/content", b"hello world", {"path": "a/b ü.txt"})
        assert put.status == 201
        assert (await alice.ask("GET", put.headers["location"].partition(V1)[2])).body == b"hello world"
        part = await alice.ask("GET", f"{files}/content", None, {"path": "a/b ü.txt"}, Range="bytes=6-")
        assert (part.status, part.body) == (206, b"world")
        stat = await alice.do("GET", f"{files}/entry", query={"path": "a/b ü.txt"})
        assert (stat["type"], stat["size"], stat["etag"]) == ("FILE", 11, put.headers["etag"])
        changed = await alice.ask("PUT", f"{files}/content", b"no", {"path": "a/b ü.txt"}, If_Match='"other"')
        assert changed.status == 412
        await alice.do("POST", f"{files}/directories", {"path": "x/y", "parents": True}, status=201)
        await alice.refused(404, "POST", f"{files}/directories", {"path": "n/m"})
        await alice.do("POST", f"{files}/copy", {"source": "a", "target": "x/y/a"}, status=201)
        moved = {"source": "a/b ü.txt", "target": "c.txt"}
        assert (await alice.do("POST", f"{files}/move", moved))["name"] == "c.txt"
        await alice.refused(409, "POST", f"{files}/move", {"source": "x/y/a/b ü.txt", "target": "c.txt"})
        await alice.do("POST", f"{files}/move", {"source": "x/y/a/b ü.txt", "target": "c.txt", "replace": True})
        other = await new_vfolder(api.gateway, "disk", name="other")
        assert other.name == "other"
        await alice.do("POST", f"{files}/copy", {"source": "c.txt", "target": "c", "to": "other"}, status=201)
        assert (await api.files("GET", "other/c")).body == b"hello world"
        zipped = await alice.ask("GET", f"{files}/archive", None, {"path": ["c.txt", "x"]})
        names = zipfile.ZipFile(io.BytesIO(zipped.body)).namelist()
        assert {"c.txt", "x/y/a/"} <= set(names)


async def test_listings(tmp_path: Path) -> None:
    """Page by page in each order, with all below, and only what fits; nothing is missed or told twice."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        (api.root / "d/e").mkdir(parents=True)
        for number in range(23):
            (api.root / "d" / f"{number:02}.{'txt' if number % 2 else 'bin'}").write_bytes(b"x" * (number % 5))
        (api.root / "d/e/deep.txt").write_bytes(b"x" * 9)
        alice = Person(api, "alice")

        async def listed(**query: str) -> list[dict[str, object]]:
            found: list[dict[str, object]] = []
            page = await alice.do("GET", "/vfolders/data/entries", query={"path": "d", "limit": "5", **query})
            while True:
                assert len(page["entries"]) <= 5
                found += page["entries"]
                if page["next"] is None:
                    return found
                page = await alice.do("GET", page["next"].partition(V1)[2])

        def names(entries: list[dict[str, object]]) -> list[object]:
            return [entry["name"] for entry in entries]

        ascending = names(await listed())
        assert ascending == sorted(ascending, key=str)
        assert len(ascending) == 24
        assert names(await listed(order="desc")) == ascending[::-1]
        sizes = [entry["size"] for entry in await listed(sort="size", order="desc", type="FILE")]
        assert sizes == sorted(sizes, key=lambda size: -int(str(size)))
        assert len(names(await listed(match="*.txt"))) == 11
        below = await listed(recursive="true", match="*.txt")
        assert "e/deep.txt" in [entry["path"] for entry in below]
        assert len(below) == 12
        for wrong in ({"sort": "colour"}, {"limit": "0"}, {"after": "!"}, {"order": "up"}, {"colour": "red"}):
            await alice.refused(400, "GET", "/vfolders/data/entries", query=wrong)


async def test_the_trash_of_a_vfolder(tmp_path: Path) -> None:
    """What was deleted is seen by nobody, still charged, and comes back; for good it goes on request and by itself."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        alice, bob, files = Person(api, "alice"), Person(api, "bob"), "/vfolders/data"
        bob_user = await api.gateway.accounts.user("bob")
        await api.gateway.vfolders.grant(api.vfolder.key, "user", bob_user.id, Permission.RW)
        for path in ("d/one", "d/two", "three"):
            await alice.ask("PUT", f"{files}/content", b"12345", {"path": path})
        await alice.refused(409, "DELETE", f"{files}/entry", query={"path": "d"})
        await bob.refused(403, "DELETE", f"{files}/entry", query={"path": "three"})
        gone = await alice.do("DELETE", f"{files}/entry", query={"path": "d", "recursive": "true"})
        await alice.do("DELETE", f"{files}/entry", query={"path": "three"})
        assert (await alice.do("GET", f"{files}/entries"))["entries"] == []
        assert (await api.files("GET", f"data/.trash/{gone['trash']}/one")).status == 404
        quota = await alice.do("GET", f"{files}/quota")
        assert (quota["used_bytes"], quota["trash_bytes"]) == (15, 5)
        usage = await alice.do("GET", f"{files}/usage")
        assert (usage["used_bytes"], usage["trash"]["used_bytes"], usage["folders"]) == (15, 15, [])
        items = (await alice.do("GET", f"{files}/trash"))["items"]
        assert {item["path"] for item in items} == {"d", "three"}
        assert (await bob.do("GET", f"{files}/trash"))["items"] == []
        await bob.refused(404, "POST", f"{files}/trash/{gone['trash']}/restore", {})
        await alice.do("POST", f"{files}/trash/{gone['trash']}/restore", {})
        assert (await api.files("GET", "data/d/two")).body == b"12345"
        await alice.ask("PUT", f"{files}/content", b"new", {"path": "three"})
        usage = await alice.do("GET", f"{files}/usage")
        assert [(share["name"], share["used_bytes"]) for share in usage["folders"]] == [("d", 10)]
        other = next(item["id"] for item in items if item["path"] == "three")
        await alice.refused(409, "POST", f"{files}/trash/{other}/restore", {})
        await alice.do("POST", f"{files}/trash/{other}/restore", {"path": "old/three"})
        assert (await api.files("GET", "data/old/three")).body == b"12345"
        await alice.do("DELETE", f"{files}/entry", query={"path": "three"})
        await alice.do("DELETE", f"{files}/trash", status=204)
        await alice.do("DELETE", f"{files}/entry", query={"path": "old/three", "permanently": "true"})
        charged = await api.gateway.quota.usage(api.vfolder)
        counted = await api.gateway.lifecycle.recount(api.vfolder)
        assert charged == counted
        assert charged.bytes == 10


async def test_who_writes_takes_back_its_own(tmp_path: Path) -> None:
    """With rw: what bob made today goes to the trash and comes back; what alice made does not go."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        bob, files = Person(api, "bob"), "/vfolders/data"
        bob_user = await api.gateway.accounts.user("bob")
        await api.gateway.vfolders.grant(api.vfolder.key, "user", bob_user.id, Permission.RW)
        await bob.ask("PUT", f"{files}/content", b"mine", {"path": "mine"})
        gone = await bob.do("DELETE", f"{files}/entry", query={"path": "mine"})
        assert [item["id"] for item in (await bob.do("GET", f"{files}/trash"))["items"]] == [gone["trash"]]
        assert (await bob.do("POST", f"{files}/trash/{gone['trash']}/restore", {}))["size"] == 4


async def test_what_cannot_be_asked(tmp_path: Path) -> None:
    """Each is a problem that says what is wrong, and nothing has happened."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        alice, files = Person(api, "alice"), "/vfolders/data"
        for path in ("../x", "/etc", "a/../../b", "a\0b", ".trash/x", ".upload/x", "x" * 300):
            assert (await alice.ask("PUT", f"{files}/content", b"x", {"path": path})).status in (400, 404)
        for body in (b"", b"[]", b"{", b'{"path": 1}', b'{"path": "a", "more": 1}', b"\xff"):
            answer = await alice.ask("POST", f"{files}/directories", body)
            assert answer.status == 400
            assert problem(answer)["status"] == 400
        assert (await alice.ask("GET", "/vfolders/none/entries")).status == 404
        assert (await alice.ask("PUT", "/vfolders")).status == 405
        assert (await api.ask("GET", f"{V1}/vfolders")).status == 401
        assert [path.name for path in api.root.iterdir() if path.name != ".upload"] == []

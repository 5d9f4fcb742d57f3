"""The content API: files by name, for people who log in."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.client_api import PASSWORD, ClientApi, client_api, problem
from tests.support.gateway import new_vfolder
from tests.support.site import Client
from tests.support.uploading import head
from vfgateway.model import Permission
from vfgateway.paths import ROOT

MIB = 1 << 20
V1 = "/vfgateway/v1"
#: How the tests' client names us.
BASE = "http://127.0.0.1"


def basic(user: str, password: str = PASSWORD) -> str:
    """An ``Authorization`` value."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def stages(api: ClientApi) -> int:
    """What uploads have left on disk."""
    return len(await api.folder.context.folder.stages())  # type: ignore[attr-defined]


async def charged(api: ClientApi) -> int:
    """What the vfolder is charged with."""
    return (await api.gateway.quota.usage(api.vfolder)).bytes


async def test_round_trip(tmp_path: Path) -> None:
    """PUT makes a file with the directories above it, GET reads it, PUT replaces it, DELETE removes it."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        made = await api.files("PUT", "data/a/b/c%20d.txt", b"hello")
        assert made.status == 201
        assert made.headers["location"] == f"{BASE}{V1}/files/data/a/b/c%20d.txt"
        got = await api.files("GET", "data/a/b/c%20d.txt")
        assert (got.status, got.body, got.headers["etag"]) == (200, b"hello", made.headers["etag"])
        replaced = await api.files("PUT", "data/a/b/c%20d.txt", b"other")
        assert (replaced.status, replaced.headers["etag"] != made.headers["etag"]) == (204, True)
        assert (api.root / "a/b/c d.txt").read_bytes() == b"other"
        assert (await api.files("DELETE", "data/a/b/c%20d.txt")).status == 204
        assert (await api.files("GET", "data/a/b/c%20d.txt")).status == 404


async def test_large_put(tmp_path: Path) -> None:
    """A large body is stored byte for byte, chunked ones too."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        content = os.urandom(5 * MIB + 7)
        assert (await api.files("PUT", "data/declared", content)).status == 201
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (content[: 3 * MIB], content[3 * MIB :]))
        fields = {"Transfer_Encoding": "chunked", "Connection": "close", "Authorization": basic("alice")}
        client = await Client.open(api.port)
        client.send(head("PUT", f"{V1}/files/data/chunked", **fields) + body + b"0\r\n\r\n")
        await client.lost
        assert b" 201 Created" in client.received
        for name in ("declared", "chunked"):
            assert (api.root / name).read_bytes() == content


async def test_logging_in(tmp_path: Path) -> None:
    """A password, a key as password, or a key as bearer; anything else is 401 with both challenges."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        user = await api.gateway.accounts.user("alice")
        key = (await api.gateway.accounts.add_key(user.id, "api_key")).secret
        assert key is not None
        for good in (basic("alice"), basic("alice", key), f"Bearer {key}", f"bearer  {key}"):
            assert (await api.ask("GET", f"{V1}/vfolders", Authorization=good)).status == 200
        for bad in ("", "Basic", "Basic !!", "Bearer nonsense", basic("alice", "wrong"), basic("nobody"), "Digest x"):
            answer = await api.ask("GET", f"{V1}/vfolders", Authorization=bad)
            assert answer.status == 401
            assert answer.headers["www-authenticate"].startswith('Basic realm="vfgateway"')
            assert "Bearer" in answer.headers["www-authenticate"]


async def test_vfolders(tmp_path: Path) -> None:
    """Everybody sees their own."""
    async with client_api(tmp_path, limit_bytes=1000) as api:
        await api.let_people_in()
        answer = await api.ask("GET", f"{V1}/vfolders", Authorization=basic("alice"))
        [mine] = json.loads(answer.body)["vfolders"]
        assert (mine["name"], mine["id"], mine["permission"]) == ("data", str(api.vfolder.id), "rwd")
        assert (mine["limit_bytes"], mine["url"]) == (1000, f"{BASE}{V1}/files/data/")
        other = await api.ask("GET", f"{V1}/vfolders", Authorization=basic("bob"))
        assert json.loads(other.body) == {"vfolders": []}
        assert (await api.files("GET", "data/", user="bob")).status == 404


async def test_permissions(tmp_path: Path) -> None:
    """A grant to read lets nobody write, and says so; no grant means that nothing is there."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        bob = await api.gateway.accounts.user("bob")
        (api.root / "f").write_bytes(b"x")
        await api.gateway.vfolders.grant(api.vfolder.key, "user", bob.id, Permission.RO)
        assert (await api.files("GET", "data/f", user="bob")).body == b"x"
        for method, body in (("PUT", b"y"), ("DELETE", None)):
            refused = await api.files(method, "data/f", body, user="bob")
            assert (refused.status, problem(refused)["needed"]) == (403, "rw")
        assert (api.root / "f").read_bytes() == b"x"


async def test_conditions(tmp_path: Path) -> None:
    """Changes happen only in the state that was asked for."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        assert (await api.files("PUT", "data/f", b"1", If_Match="*")).status == 412
        assert (await api.files("PUT", "data/f", b"1", If_None_Match="*")).status == 201
        assert (await api.files("PUT", "data/f", b"2", If_None_Match="*")).status == 412
        etag = (await api.files("HEAD", "data/f")).headers["etag"]
        assert (await api.files("PUT", "data/f", b"2", If_Match='"other"')).status == 412
        assert (await api.files("PUT", "data/f", b"2", If_Match=etag)).status == 204
        assert (await api.files("DELETE", "data/f", If_Match=etag)).status == 412
        assert (await api.files("GET", "data/f", If_None_Match=etag)).body == b"2"
        assert (api.root / "f").read_bytes() == b"2"
        assert await stages(api) == 0


async def test_refusals_before_the_body(tmp_path: Path) -> None:
    """Whatever can be refused is refused while the client still waits to be told to send."""
    async with client_api(tmp_path, {"max_upload_size": "1MiB"}, limit_bytes=1000) as api:
        await api.let_people_in()
        (api.root / "dir").mkdir()
        cases: list[tuple[str, int, dict[str, object]]] = [
            ("data/new", 507, {"Content_Length": 2000}),
            ("data/new", 413, {"Content_Length": 2 * MIB}),
            ("data/new", 412, {"Content_Length": 5, "If_Match": "*"}),
            ("data/new", 400, {"Content_Length": 5, "Content_Range": "bytes 0-4/10"}),
            ("data/dir", 409, {"Content_Length": 5}),
            ("data/dir/", 409, {"Content_Length": 5}),
            ("data/", 409, {"Content_Length": 5}),
            ("nowhere/f", 404, {"Content_Length": 5}),
            ("data/.upload/x", 400, {"Content_Length": 5}),
            ("data/new", 401, {"Content_Length": 5, "Authorization": "Basic x"}),
        ]
        for path, status, fields in cases:
            client = await Client.open(api.port)
            fields = {"Authorization": basic("alice"), "Expect": "100-continue", **fields}
            client.send(head("PUT", f"{V1}/files/{path}", **fields))
            received = await client.until(b"request_id")
            assert int(received[9:12]) == status, path
            await client.cut()
        assert await stages(api) == 0
        assert await charged(api) == 0


async def test_limits_in_the_middle(tmp_path: Path) -> None:
    """A body of unknown length ends where the room ends, and leaves nothing; the answer says which limit."""
    async with client_api(tmp_path, {"max_upload_size": "3MiB"}, limit_bytes=2 * MIB) as api:
        await api.let_people_in()
        fields = {"Transfer_Encoding": "chunked", "Authorization": basic("alice")}
        client = await Client.open(api.port)
        client.send(head("PUT", f"{V1}/files/data/f", **fields) + (b"100000\r\n" + b"x" * MIB + b"\r\n") * 8)
        received = await client.until(b"request_id")
        assert b" 507 " in received
        facts = json.loads(received.partition(b"\r\n\r\n")[2])
        assert (facts["resource"], facts["limit"]) == ("bytes", 2 * MIB)
        await client.cut()
        assert (await stages(api), await charged(api)) == (0, 0)


async def test_bodies_that_are_not_whole(tmp_path: Path) -> None:
    """A PUT that breaks off leaves the old file, and nothing else."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        (api.root / "f").write_bytes(b"old")
        client = await Client.open(api.port)
        client.send(head("PUT", f"{V1}/files/data/f", Content_Length=10 * MIB, Authorization=basic("alice")))
        client.send(b"x" * MIB)
        while not await stages(api):
            await api.folder.stat(ROOT)
        await client.cut()
        while await stages(api):
            await api.folder.stat(ROOT)
        assert (api.root / "f").read_bytes() == b"old"
        assert await charged(api) <= 3


async def test_deleting(tmp_path: Path) -> None:
    """Directories go when they are empty, or when it is said that all below goes too; a link goes by itself."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        (api.root / "d").mkdir()
        (api.root / "d/f").write_bytes(b"x")
        (api.root / "link").symlink_to("d")
        assert (await api.files("DELETE", "data/link")).status == 204
        assert (await api.files("DELETE", "data/d")).status == 409
        assert (await api.files("DELETE", "data/d?recursive=yes")).status == 204
        assert not (api.root / "d").exists()
        assert (await api.files("DELETE", "data/d")).status == 404
        assert (await api.files("DELETE", "data/")).status == 400
        assert api.root.is_dir()


async def test_listing(tmp_path: Path) -> None:
    """A directory as JSON, page by page, in the order of names, with what a client needs to go on."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        (api.root / "d").mkdir()
        names = [f"f{number:02}" for number in range(25)]
        for name in names:
            (api.root / "d" / name).write_bytes(b"x" * 3)
        (api.root / "d/z\udcff").mkdir()
        (api.root / "d/zlink").symlink_to("f00")
        seen = []
        target = "data/d?limit=10"
        for _ in range(3):
            page = (await api.files("GET", target)).json()
            seen += page["entries"]
            if page["next"]:
                assert page["next"].startswith(f"{BASE}{V1}/files/data/d?")
                target = page["next"].partition("/files/")[2]
        assert page["next"] is None
        assert [entry["name"] for entry in seen] == [*names, "zlink", "z%FF"]
        assert (seen[0]["type"], seen[0]["size"]) == ("FILE", 3)
        assert seen[0]["etag"] == (await api.files("HEAD", "data/d/f00")).headers["etag"]
        assert (seen[-2]["type"], seen[-2]["target"]) == ("SYMLINK", "f00")
        assert base64.b64decode(seen[-1]["name_b64"]) == b"z\xff"
        top = (await api.files("GET", "data/")).json()
        assert [entry["name"] for entry in top["entries"]] == ["d"]
        assert (await api.files("GET", "data/d?limit=0")).status == 400
        assert (await api.files("GET", "data/d?after=%21")).status == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("data/../data/f", 400),
        ("data/%2e%2e/secret", 400),
        ("data/a%2Ff", 400),
        ("data/f%00", 400),
        ("data/out", 404),
        ("data/outdir/secret", 404),
        ("data/" + "x" * 256, 400),
        ("data//f", 200),
        ("data/./f", 200),
        ("data/%66", 200),
        ("data/" + quote(b"\xff"), 200),
        ("data/back%5Cslash", 200),
        ("data/a+b", 200),
    ],
)
async def test_hostile_paths(tmp_path: Path, path: str, status: int) -> None:
    """Each name is decoded once and by itself; nothing leads out of the vfolder."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        for name in (b"f", b"\xff", b"back\\slash", b"a+b"):
            (api.root / os.fsdecode(name)).write_bytes(name)
        (api.root.parent / "secret").write_bytes(b"not for you")
        (api.root / "out").symlink_to(api.root.parent / "secret")
        (api.root / "outdir").symlink_to("..")
        answer = await api.files("GET", path)
        assert answer.status == status
        assert b"not for you" not in answer.body


async def test_put_never_follows_links(tmp_path: Path) -> None:
    """A link is never a way for bytes to get out: in the middle of a path it is refused, at its end it is replaced."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "f").write_bytes(b"old")
        (api.root / "dir").symlink_to(outside)
        (api.root / "file").symlink_to(outside / "f")
        assert (await api.files("PUT", "data/dir/f", b"new")).status in (404, 409)
        assert (await api.files("PUT", "data/file", b"new")).status in (201, 204)
        assert (outside / "f").read_bytes() == b"old"
        assert list(outside.iterdir()) == [outside / "f"]


async def test_methods(tmp_path: Path) -> None:
    """What is not offered is said to be so."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        answer = await api.files("PATCH", "data/f", b"x")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PUT, DELETE, OPTIONS")
        assert (await api.ask("DELETE", f"{V1}/vfolders")).headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_cross_origin(tmp_path: Path) -> None:
    """Where people log in, a page of just any origin cannot use the login that its visitor's browser remembers."""
    async with client_api(tmp_path, {"cors_origins": ["*", "https://good.example"]}) as api:
        await api.let_people_in()
        any_origin = await api.files("GET", "data/", Origin="https://any.example")
        assert any_origin.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in any_origin.headers
        good = await api.files("GET", "data/", Origin="https://good.example")
        assert good.headers["access-control-allow-credentials"] == "true"


async def test_many_vfolders_by_one_name(tmp_path: Path) -> None:
    """A name is looked up among what the caller sees."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        bob = await api.gateway.accounts.user("bob")
        await new_vfolder(api.gateway, "disk", bob.id, name="data")
        assert (await api.files("PUT", "data/mine", b"x", user="bob")).status == 201
        assert (await api.files("GET", "data/mine")).status == 404

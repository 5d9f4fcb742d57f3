"""Every verb does what it says, through the gateway's own socket."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.cred.credentials import UsernamePassword
from twisted.internet import reactor

from tests.cli.command import administered, with_alice
from tests.support.client_api import disk_volume
from tests.support.gateway import orchestrator_in
from vfgateway.backends.memory import MemoryVolume
from vfgateway.credentials import Bearer
from vfgateway.model import Limits, QuotaScopeId, ScopeKind, Usage, VFolderId
from vfgateway.paths import parse_text


async def test_a_user_lives(tmp_path: Path) -> None:
    """Added with a password, changed, disabled, enabled, removed."""
    async with administered(tmp_path) as vfgateway:
        await vfgateway("user", "add", "carol", "--password-stdin", "--email", "c@example.org", stdin="sesame open\n")
        principal = await vfgateway.gateway.authenticate(UsernamePassword(b"carol", b"sesame open"))
        assert principal.name == "carol"
        await vfgateway("user", "edit", "carol", "--quota", "1GiB", "--admin", "--email", "none", "--uid", "1000")
        shown = await vfgateway.json("user", "show", "carol")
        wanted = {"limit_bytes": 1 << 30, "administrator": True, "email": None, "uid": 1000}
        assert {key: shown[key] for key in wanted} == wanted
        await vfgateway("user", "disable", "carol")
        assert (await vfgateway.json("user", "show", "carol"))["active"] is False
        await vfgateway("user", "enable", "carol")
        await vfgateway("user", "edit", "carol", "--quota", "none", "--name", "caroline")
        assert [(one["name"], one["limit_bytes"]) for one in await vfgateway.json("user", "list")] == [
            ("caroline", None)
        ]
        await vfgateway("user", "remove", "caroline", "--yes")
        assert await vfgateway.json("user", "list") == []


async def test_a_password_is_changed_and_taken_away(tmp_path: Path) -> None:
    """Only what stands on standard input counts, without its line end."""
    async with administered(tmp_path) as vfgateway:
        await vfgateway("user", "add", "carol", "--no-password")
        await vfgateway("user", "passwd", "carol", "--password-stdin", stdin=" spaces count \r\n")
        await vfgateway.gateway.authenticate(UsernamePassword(b"carol", b" spaces count "))
        short = await vfgateway.run("user", "passwd", "carol", "--password-stdin", stdin="seven77\n")
        assert short.exit_code != 0
        assert "at least 8 characters" in short.output
        assert "seven77" not in short.output
        assert "taken away" in await vfgateway("user", "passwd", "carol", "--remove")
        for stdin in ("", "\n", "two\nlines\n"):
            assert (await vfgateway.run("user", "passwd", "carol", "--password-stdin", stdin=stdin)).exit_code == 2
        assert (await vfgateway.run("user", "add", "dave")).exit_code == 2, "no terminal to ask on"


async def test_a_group_lives(tmp_path: Path) -> None:
    """With members, one of them an administrator, and a limit."""
    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        await vfgateway("group", "add", "lab", "--quota", "1TB")
        await vfgateway("group", "member", "add", "lab", "alice", "--admin")
        await vfgateway("group", "member", "add", "lab", "bob")
        shown = await vfgateway.json("group", "show", "lab")
        assert [(one["name"], one["administrator"]) for one in shown["members"]] == [("alice", True), ("bob", False)]
        assert shown["limit_bytes"] == 10**12
        assert "alice (administrator), bob" in await vfgateway("group", "show", "lab")
        await vfgateway("group", "member", "remove", "lab", "bob")
        await vfgateway("group", "edit", "lab", "--name", "laboratory", "--quota", "none")
        assert [one["name"] for one in await vfgateway.json("group", "list")] == ["laboratory"]
        await vfgateway("vfolder", "create", "laboratory/shared")
        assert (await vfgateway.run("group", "remove", "laboratory", "-y")).exit_code == 1, "it owns a vfolder"
        await vfgateway("group", "remove", "laboratory", "-y", "--keep-vfolders")
        assert await vfgateway.json("group", "list") == []


async def test_an_api_key_is_told_once_and_opens(tmp_path: Path) -> None:
    """The secret is all of standard output, so that a script can keep it."""
    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        result = await vfgateway.run("key", "add", "alice", "--label", "backup", "--expires", "7d")
        secret = result.stdout.strip()
        assert (await vfgateway.gateway.authenticate(Bearer(secret))).name == "alice"
        (key,) = await vfgateway.json("key", "list", "alice")
        assert (key["kind"], key["label"], key["expires"] is None) == ("api_key", "backup", False)
        assert secret not in json.dumps(key)
        await vfgateway("key", "remove", "alice", key["id"])
        assert await vfgateway.json("key", "list", "alice") == []


async def test_a_public_key_is_taken_from_a_file(tmp_path: Path) -> None:
    """A private key by mistake is not sent anywhere."""
    public = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    file = tmp_path / "id_ed25519.pub"
    file.write_text(f"{public} alice@laptop\n")
    private = tmp_path / "id_ed25519"
    private.write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        await vfgateway("key", "add", "alice", str(file))
        (key,) = await vfgateway.json("key", "list", "alice")
        assert (key["kind"], key["label"]) == ("public_key", "alice@laptop")
        refused = await vfgateway.run("key", "add", "alice", str(private))
        assert refused.exit_code == 2
        assert ".pub" in refused.stderr


async def test_a_vfolder_lives(tmp_path: Path) -> None:
    """Created, shown with what programs need, changed, deleted."""
    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        shown = await vfgateway.json("vfolder", "show", "alice/data")
        needed = [
            "id",
            "name",
            "owner",
            "volume",
            "permission",
            "used_bytes",
            "used_files",
            "limit_bytes",
            "limit_files",
        ]
        assert set(needed) <= set(shown)
        assert (shown["name"], shown["owner"], shown["volume"], shown["limit_bytes"]) == (
            "data",
            "alice",
            "mem",
            10 << 20,
        )
        await vfgateway(
            "vfolder", "edit", "data", "--name", "results", "--quota", "none", "--files", "100", "--owner", "bob"
        )
        shown = await vfgateway.json("vfolder", "show", "bob/results")
        assert (shown["limit_bytes"], shown["limit_files"]) == (None, 100)
        assert [one["name"] for one in await vfgateway.json("vfolder", "list", "--owner", "bob")] == ["results"]
        assert await vfgateway.json("vfolder", "list", "--owner", "alice") == []
        assert (await vfgateway.run("vfolder", "delete", "results")).exit_code == 2, "nobody to ask"
        await vfgateway("vfolder", "delete", "results", "--yes")
        assert await vfgateway.json("vfolder", "list") == []
        [trashed] = await vfgateway.json("trash", "list")
        assert (trashed["name"], trashed["owner"]) == ("results", "bob")
        assert (await vfgateway.run("trash", "restore", "nothing")).exit_code == 3
        await vfgateway("trash", "restore", "bob/results", "--name", "again")
        assert (await vfgateway.json("vfolder", "show", "bob/again"))["limit_files"] == 100
        await vfgateway("vfolder", "delete", "again", "--yes")
        await vfgateway("trash", "purge", "again", "--yes")
        assert await vfgateway.json("trash", "list") == []
        await vfgateway("vfolder", "create", "alice/short", "--volume", "mem")
        await vfgateway("vfolder", "delete", "short", "--purge", "--yes")
        assert await vfgateway.json("trash", "list") == []


async def test_sharing(tmp_path: Path) -> None:
    """A vfolder is offered, the offer seen and withdrawn; links are made, seen without their secret, and ended."""
    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        await vfgateway("grant", "invite", "alice/data", "bob", "--permission", "ro", "--message", "look")
        [offer] = await vfgateway.json("grant", "invitations", "alice/data")
        assert (offer["user"], offer["role"], offer["message"]) == ("bob", "ro", "look")
        await vfgateway("grant", "withdraw", "alice/data", offer["id"])
        assert await vfgateway.json("grant", "invitations", "alice/data") == []
        url = (await vfgateway("link", "create", "alice/data", "--drop", "--uses", "3", "--label", "in")).strip()
        assert "/s/" in url
        [link] = await vfgateway.json("link", "list", "alice/data")
        assert (link["kind"], link["most_uses"], link["label"]) == ("upload", 3, "in")
        assert url.rpartition("/")[2] not in str(link)
        await vfgateway("link", "remove", link["id"])
        assert await vfgateway.json("link", "list", "alice/data") == []


async def test_a_vfolder_of_the_orchestrator_gets_name_and_owner(tmp_path: Path) -> None:
    """Until then it is known by its digits."""
    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        scope = QuotaScopeId(ScopeKind.USER, uuid4())
        await vfgateway.gateway.lifecycle.create_scope("mem", scope, Limits())
        vfid = VFolderId(scope, uuid4())
        await vfgateway.gateway.lifecycle.create("mem", vfid)
        await vfgateway("vfolder", "edit", vfid.folder.hex, "--name", "job-42", "--owner", "alice")
        assert (await vfgateway.json("vfolder", "show", "alice/job-42"))["id"] == str(vfid)


async def test_a_vfolder_is_copied(tmp_path: Path) -> None:
    """With its content, under the new name and owner, when the command returns; a taken name is refused before anything is copied."""
    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        vfolder = await vfgateway.gateway.vfolders.resolve("alice/data")
        folder = await orchestrator_in(vfgateway.gateway, vfolder)
        async with await folder.upload(parse_text("a"), size=3) as upload:
            await upload.write([b"abc"])
            await upload.commit()
        await vfgateway("vfolder", "clone", "data", "bob/copy")
        shown = await vfgateway.json("vfolder", "show", "bob/copy")
        assert (shown["owner"], shown["used_bytes"], shown["status"]) == ("bob", 3, "ready")
        again = await vfgateway.run("vfolder", "clone", "data", "bob/copy")
        assert again.exit_code == 1
        assert "bob/copy" in again.stderr
        (task,) = await vfgateway.json("task", "list", "--name", "clone_vfolder")
        assert task["state"] == "done"
        assert (await vfgateway.json("task", "show", task["id"]))["finished"].endswith("Z")
        assert (await vfgateway.json("task", "watch", task["id"]))["state"] == "done"
        await vfgateway("task", "cancel", task["id"])
        assert "holds 3B in 1 files" in await vfgateway("vfolder", "recount", "bob/copy")
        lines = (await vfgateway("vfolder", "usage", "bob/copy")).splitlines()
        assert lines[1:] == ["(at the top)\t3B\t1\t-"]
        assert (await vfgateway.json("vfolder", "usage", "bob/copy"))["used_bytes"] == 3


async def test_a_vfolder_moves(tmp_path: Path) -> None:
    """When the command returns it lies elsewhere; what cannot be is refused, and named."""
    volumes = [MemoryVolume(name, reactor) for name in ("mem", "fast")]
    async with administered(tmp_path, volumes) as vfgateway:
        await vfgateway("user", "add", "alice", "--password-stdin", stdin="secret-42-words\n")
        await vfgateway("vfolder", "create", "alice/data", "--volume", "mem")
        assert "on volume mem already" in (await vfgateway.run("vfolder", "move", "data", "--to", "mem")).stderr
        begun = await vfgateway.json("vfolder", "move", "data", "--to", "fast", "--no-wait")
        assert (await vfgateway.json("task", "watch", begun["task"]))["state"] == "done"
        assert (await vfgateway.json("vfolder", "show", "data"))["volume"] == "fast"
        assert [row["event"] for row in await vfgateway.json("audit")].count("vfolder_moved") == 1


async def test_a_grant_is_given_and_taken_back(tmp_path: Path) -> None:
    """To a user or a group; the second to the same replaces the first."""
    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        await vfgateway("group", "add", "lab")
        await vfgateway("grant", "add", "alice/data", "--user", "bob", "--permission", "ro")
        await vfgateway("grant", "add", "alice/data", "--user", "bob", "--permission", "rwd", "--expires", "7d")
        await vfgateway("grant", "add", "alice/data", "--group", "lab", "--permission", "rw")
        found = await vfgateway.json("grant", "list", "data")
        assert [(one["subject"], one["permission"]) for one in found] == [("bob", "rwd"), ("lab", "rw")]
        assert "user bob\trwd" in await vfgateway("grant", "list", "data")
        await vfgateway("grant", "remove", "data", "--user", "bob")
        assert (await vfgateway.run("grant", "remove", "data", "--user", "bob")).exit_code == 3
        assert (await vfgateway.run("grant", "remove", "data")).exit_code == 2
        assert [one["subject"] for one in await vfgateway.json("grant", "list", "data")] == ["lab"]


async def test_tokens_are_urls_and_ready_commands(tmp_path: Path) -> None:
    """The URL alone on standard output; an upload that was begun is listed and can be cancelled."""
    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        result = await vfgateway.run("token", "upload", "data", "a dir/big.iso", "--size", "5MiB")
        assert result.stdout.startswith("http://files.example/upload?token=")
        assert "curl" in result.stderr
        (upload,) = await vfgateway.json("upload", "list")
        assert (upload["path"], upload["size"]) == ("a dir/big.iso", 5 << 20)
        assert "alice/data" in await vfgateway("upload", "list", "data")
        await vfgateway("upload", "cancel", upload["id"])
        assert await vfgateway.json("upload", "list") == []
        archive = await vfgateway.json("token", "archive", "alice/data")
        assert archive["url"].startswith("http://files.example/download-archive?token=")
        assert "-o data.zip" in archive["curl"]
        assert (await vfgateway.run("token", "download", "data", "nothing")).exit_code == 3
        assert (await vfgateway.run("token", "upload", "data", "x", "--size", "1TiB")).exit_code == 4, "over the limit"


async def test_volumes_and_backends_are_shown(tmp_path: Path) -> None:
    """Each with how it is."""
    async with administered(tmp_path) as vfgateway:
        assert [(one["name"], one["state"]) for one in await vfgateway.json("volume", "list")] == [("mem", "healthy")]
        assert "healthy" in await vfgateway("volume", "show", "mem")
        assert {"memory", "vfs"} <= {one["name"] for one in await vfgateway.json("volume", "backends")}


async def test_a_lock_is_seen_and_broken(tmp_path: Path) -> None:
    """By its token."""
    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        vfolder = await vfgateway.gateway.vfolders.resolve("alice/data")
        await vfgateway.gateway.locks.acquire(
            vfolder,
            parse_text("a.odt"),
            principal_id="bob",
            owner="bob's editor",
            infinite=False,
            exclusive=True,
            timeout=60.0,
        )
        (lock,) = await vfgateway.json("lock", "list", "data")
        assert (lock["path"], lock["owner"]) == ("a.odt", "bob's editor")
        assert "alice/data\ta.odt\texclusive" in await vfgateway("lock", "list")
        await vfgateway("lock", "break", lock["token"], "--yes")
        assert await vfgateway.json("lock", "list") == []
        assert (await vfgateway.run("lock", "break", lock["token"], "--yes")).exit_code == 3


async def test_a_scan_shows_what_is_wrong_and_puts_it_right(tmp_path: Path) -> None:
    """The figures first; nothing is changed before that was confirmed."""
    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        vfolder = await vfgateway.json("vfolder", "show", "alice/data")
        assert len((await vfgateway("scan", "run")).splitlines()) == 1, "the heading"
        await vfgateway.gateway.quota.change(
            await vfgateway.gateway.find_vfolder(VFolderId.parse(vfolder["id"])), Usage(5, 1)
        )
        report = await vfgateway.json("scan", "run", "alice/data")
        assert [(one["kind"], one["fixed"]) for one in report["findings"]] == [("drift", False)]
        assert (await vfgateway.run("scan", "run", "--fix")).exit_code == 2, "no terminal to ask on"
        assert "charged 5 bytes" in await vfgateway("scan", "run", "--volume", vfolder["volume"], "--fix", "--yes")
        assert (await vfgateway.json("vfolder", "show", "alice/data"))["used_bytes"] == 0
        listed = await vfgateway.json("scan", "list")
        assert [one["found"] for one in listed] == [1, 1, 1, 1, 0]
        assert "charged 5 bytes" in await vfgateway("scan", "show", listed[0]["id"])


async def test_a_directory_becomes_a_vfolder(tmp_path: Path) -> None:
    """Which nobody writes to until somebody says so; without the vfolder it stays as it is."""
    place = tmp_path / "datasets/flowers"
    place.mkdir(parents=True)
    (place / "one").write_bytes(b"12345")
    volume = disk_volume(tmp_path / "volume", adoptable=[str(tmp_path / "datasets")])
    async with administered(tmp_path, [volume]) as vfgateway:
        await vfgateway("user", "add", "alice", "--no-password")
        arguments = ("vfolder", "adopt", "alice/flowers", str(place), "--volume", "disk")
        assert (await vfgateway.json(*arguments))["read_only"] is True
        again = await vfgateway.run(*arguments)
        assert again.exit_code == 1
        assert "exists" in again.output
        await vfgateway("vfolder", "edit", "alice/flowers", "--writable")
        assert (await vfgateway.json("vfolder", "show", "alice/flowers"))["read_only"] is False
        await vfgateway("vfolder", "edit", "alice/flowers", "--read-only")
        assert (await vfgateway.json("vfolder", "show", "alice/flowers"))["read_only"] is True
        await vfgateway("vfolder", "delete", "alice/flowers", "--purge", "--yes")
        assert await vfgateway.json("vfolder", "list") == []
    assert (place / "one").read_bytes() == b"12345"

"""Accounts go from one gateway to another, and come from other programs, with what logs people in as far as that can be compared with."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.cred.credentials import UsernamePassword
from twisted.internet.threads import deferToThread

from tests.cli.command import Command, administered
from tests.support.databases import lay_database
from tests.support.gateway import new_vfolder, running_gateway
from tests.upkeep.test_backup import done, refused, site
from vfgateway.errors import AuthenticationFailed
from vfgateway.model import Limits, Permission
from vfgateway.services.gateway import Gateway


def public_key(comment: str = "") -> str:
    """A line as in ``authorized_keys``."""
    key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return f"{key} {comment}".rstrip()


def taken(config: Path, *arguments: str) -> Mapping[str, tuple[str, str]]:
    """What became of each thing in a file."""
    # Notes go to standard error, which the runner mixes in behind the JSON.
    text = done(config, "import", *arguments, "--json")
    rows, _ = json.JSONDecoder().raw_decode(text)
    return {row["what"]: (row["outcome"], row["detail"]) for row in rows}


async def logs_in(gateway: Gateway, name: str, password: str) -> bool:
    """Whether the password opens."""
    return (await gateway.authenticate(UsernamePassword(name.encode(), password.encode()))).name == name


async def _furnish(command: Command) -> None:
    await command(
        "user", "add", "alice", "--password-stdin", "--email", "a@example.org", "--quota", "1GiB", stdin="correct horse"
    )
    await command("user", "add", "bob", "--no-password", "--expires", "2040-01-01")
    await command("group", "add", "lab", "--files", "1000")
    await command("group", "member", "add", "lab", "alice", "--admin")
    key = command.config.parent / "key.pub"
    key.write_text(public_key("laptop"))
    await command("key", "add", "alice", str(key))
    narrow = key.with_name("narrow.pub")
    narrow.write_text(public_key("narrow"))
    await command("key", "add", "alice", str(narrow), "--permission", "ro")
    await command("key", "add", "bob")


async def test_accounts_go_to_another_gateway(tmp_path: Path) -> None:
    """With identifiers, limits, memberships and keys; with passwords if asked; without secrets that were shown once."""
    (tmp_path / "old").mkdir()
    async with administered(tmp_path / "old") as command:
        await _furnish(command)
        vfolder = await new_vfolder(
            command.gateway, "mem", (await command.gateway.accounts.user("alice")).id, name="data"
        )
        lab = await command.gateway.accounts.group("lab")
        await command.gateway.vfolders.grant(vfolder.key, "group", lab.id, Permission.RW)
        plain, whole = tmp_path / "plain.json", tmp_path / "whole.json"
        await deferToThread(done, command.config, "export", str(plain))
        await deferToThread(done, command.config, "export", str(whole), "--password-hashes")
        alice = await command.gateway.accounts.user("alice")
    assert stat.S_IMODE(whole.stat().st_mode) == 0o600
    assert "argon2" not in plain.read_text()
    exported = json.loads(whole.read_text())
    assert [key["label"] for key in exported["users"][0]["keys"]] == ["laptop"], "a narrowed key would come back wide"
    assert "vfg_" not in whole.read_text()
    new = site(tmp_path / "new")
    async with running_gateway(tmp_path / "new") as gateway:
        told = await deferToThread(taken, new, str(whole), "--dry-run")
        assert {outcome for outcome, _ in told.values()} == {"added", "left out"}
        assert await gateway.accounts.users() == []
        told = await deferToThread(taken, new, str(whole))
        assert told["grant of alice/data to group lab"][0] == "left out"
        there = await gateway.accounts.user("alice")
        assert (there.id, there.email, there.limits) == (alice.id, "a@example.org", Limits(1 << 30))
        assert await logs_in(gateway, "alice", "correct horse")
        assert [
            member.administrator for member in await gateway.accounts.members((await gateway.accounts.group("lab")).id)
        ] == [True]
        assert [key.label for key in await gateway.accounts.keys(there.id)] == ["laptop"]
        again = await new_vfolder(gateway, "mem", there.id, name="data")
        row = exported["grants"][0] | {"vfid": str(again.id)}
        whole.write_text(json.dumps(exported | {"grants": [row]}))
        told = await deferToThread(taken, new, str(whole))
        assert {what: outcome for what, (outcome, _) in told.items() if outcome != "there"} == {
            "grant of alice/data to group lab": "added"
        }
        assert [grant.permission for grant in await gateway.vfolders.grants(again.key)] == [Permission.RW]


async def test_what_is_there_stays_as_it_is(tmp_path: Path) -> None:
    """A password of the file opens no account that is there already; a name and an identifier of two accounts are told."""
    config = site(tmp_path)
    async with running_gateway(tmp_path) as gateway:
        alice = await gateway.accounts.create_user("alice")
        bob = await gateway.accounts.create_user("bob")
        file = tmp_path / "file"
        entry = {
            "name": "alice",
            "password": bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode(),
            "administrator": True,
        }
        mixed = {"name": "alice", "id": str(bob.id)}
        strange = {"name": "a:b"}
        users = [entry, mixed, strange]
        file.write_text(json.dumps({"format": "vfgateway-accounts", "version": 1, "users": users}))
        told = await deferToThread(taken, config, str(file))
        assert told["user alice"][0] == "left out"
        assert told["user a:b"][0] == "left out"
        assert not (await gateway.accounts.user("alice")).administrator
        assert (await gateway.accounts.user("alice")).id == alice.id


SFTPGO: dict[str, Any] = {
    "users": [
        {
            "id": 1,
            "status": 1,
            "username": "carol",
            "email": "c@example.org",
            "expiration_date": 2208988800000,
            "public_keys": [],
            "home_dir": "/srv/sftpgo/data/carol",
            "uid": 1000,
            "gid": 0,
            "quota_size": 1048576,
            "quota_files": 0,
            "permissions": {"/": ["*"]},
            "groups": [{"name": "team", "type": 1}],
            "filters": {"totp_config": {"enabled": True}},
            "filesystem": {"provider": 0},
            "virtual_folders": [{"name": "shared", "mapped_path": "/srv/shared", "virtual_path": "/shared"}],
        },
        {"id": 2, "status": 0, "username": "dave", "password": "$6$salt$hash", "public_keys": ["ssh-rsa broken"]},
    ],
    "groups": [{"id": 1, "name": "team"}],
    "admins": [{"id": 1, "username": "admin"}],
    "version": 15,
}


async def test_an_sftpgo_is_taken_over(tmp_path: Path) -> None:
    """People log in with the passwords that they have; what cannot be taken over is told, and how to go on."""
    config, file = site(tmp_path), tmp_path / "dump.json"
    hashed = bcrypt.hashpw(b"Grusel-gurke 1", bcrypt.gensalt(4, b"2a")).decode()
    carol = SFTPGO["users"][0] | {"password": hashed, "public_keys": [public_key("carol@home")]}
    file.write_text(json.dumps(SFTPGO | {"users": [carol, SFTPGO["users"][1]]}))
    async with running_gateway(tmp_path) as gateway:
        text = await deferToThread(done, config, "import", "--from", "sftpgo", str(file))
        for told in (
            "vfolder adopt carol/home /srv/sftpgo/data/carol",
            "second-factor begin carol",
            "/srv/shared",
            "1 admins",
        ):
            assert told in text
        assert "SHA-512" in text
        assert "user passwd dave" in text
        assert "a public key is left out" in text
        user = await gateway.accounts.user("carol")
        assert (user.limits, user.actor.uid, user.actor.gid, user.expires) == (
            Limits(1048576),
            1000,
            None,
            2208988800.0,
        )
        assert not (await gateway.accounts.user("dave")).active
        assert len(await gateway.accounts.keys(user.id)) == 1
        assert await logs_in(gateway, "carol", "Grusel-gurke 1")
        await deferToThread(done, config, "export", str(tmp_path / "out"), "--password-hashes")
        stored = next(
            each["password"] for each in json.loads((tmp_path / "out").read_text())["users"] if each["name"] == "carol"
        )
        assert stored.startswith("$argon2id$"), "the first login made it what it is now"
        assert await logs_in(gateway, "carol", "Grusel-gurke 1")
        assert {
            member.user.name for member in await gateway.accounts.members((await gateway.accounts.group("team")).id)
        } == {"carol"}


async def test_a_wrong_password_does_not_fit_bcrypt(tmp_path: Path) -> None:
    """Nor an empty one, nor one that is longer than bcrypt looks at in the wrong place."""
    config, file = site(tmp_path), tmp_path / "htpasswd"
    long = "x" * 72
    file.write_text(
        f"# people\nerin:{bcrypt.hashpw(b'right', bcrypt.gensalt(4)).decode().replace('$2b$', '$2y$')}\n"
        f"long:{bcrypt.hashpw(long.encode(), bcrypt.gensalt(4)).decode()}\n"
        "frank:$apr1$abcdefgh$abcdefghijklmnopqrstuv\n"
    )
    async with running_gateway(tmp_path) as gateway:
        told = await deferToThread(taken, config, "--from", "htpasswd", str(file))
        assert told["user erin"] == ("added", "")
        assert "apr1" in told["user frank"][1]
        assert await logs_in(gateway, "erin", "right")
        assert await logs_in(gateway, "long", long)
        for name, password in (("erin", "wrong"), ("erin", ""), ("erin", "right\0"), ("frank", "$apr1$")):
            with pytest.raises(AuthenticationFailed):
                await logs_in(gateway, name, password)


def test_keys_of_an_authorized_keys_file_are_taken_in(tmp_path: Path) -> None:
    """With their options; a line that cannot be used is told by its number, and keeps nobody out."""
    config, file = site(tmp_path), tmp_path / "authorized_keys"
    lay_database(tmp_path / "var/vfgateway.db")
    lines = [
        "# mine",
        public_key("one"),
        f'from="10.0.0.0/8" {public_key("two")}',
        f'environment="X=1" {public_key()}',
        "",
        "rubbish",
    ]
    file.write_text("\n".join(lines))
    assert "whose keys" in refused(config, "import", "--from", "authorized-keys", str(file))
    text = done(config, "import", "--from", "authorized-keys", "--user", "gina", str(file))
    assert "line 4" in text
    assert "line 6" in text
    told = taken(config, "--from", "authorized-keys", "--user", "gina", str(file))
    assert told == {"user gina": ("there", ""), "key of gina one": ("there", ""), "key of gina two": ("there", "")}


@pytest.mark.parametrize(
    ("arguments", "content", "told"),
    [
        ((), b"not json", "expected the format"),
        ((), b'{"format": "vfgateway-accounts", "version": 2}', "version 2"),
        ((), b'{"users": [{"name": "x", "pasword": "secret"}]}', "users.0.pasword"),
        (("--from", "sftpgo"), b"[]", "SFTPGo"),
        (("--from", "htpasswd"), b"\xff\xfe", "UTF-8"),
        (("--from", "htpasswd"), b"no colon", "line 1"),
    ],
)
def test_what_cannot_be_read_is_told_without_its_secrets(
    tmp_path: Path, arguments: tuple[str, ...], content: bytes, told: str
) -> None:
    """By the place where it is wrong."""
    config, file = site(tmp_path), tmp_path / "file"
    lay_database(tmp_path / "var/vfgateway.db")
    file.write_bytes(content)
    said = refused(config, "import", *arguments, str(file))
    assert told in said
    assert "secret" not in said

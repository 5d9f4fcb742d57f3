"""What an administrator does about logins: narrow keys, second factors, lockouts, and those who are asked."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from twisted.cred.credentials import UsernamePassword

from tests.cli.command import Command, administered, with_alice
from tests.support.gateway import lockouts_clock
from vfgateway.credentials import PasswordAndCode
from vfgateway.errors import AuthenticationFailed, SecondFactorRequired, TooManyAttempts
from vfgateway.model import Permission
from vfgateway.principals import Origin

HERE = Origin("webdav", "192.0.2.1")


async def test_an_app_password_is_made_narrow(tmp_path: Path) -> None:
    """Told once, shown as what it is, and taken for no more than that."""
    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        limits = ("--protocol", "webdav", "--vfolder", "alice/data", "--permission", "ro")
        result = await vfgateway.run("key", "add", "alice", "--app", "--label", "phone", *limits)
        secret = result.stdout.strip()
        assert "app password" in result.stderr
        principal = await vfgateway.gateway.authenticate(UsernamePassword(b"alice", secret.encode()), HERE)
        assert principal.key_scope is not None
        assert principal.key_scope.permission is Permission.RO
        (key,) = await vfgateway.json("key", "list", "alice")
        shown = await vfgateway.json("vfolder", "show", "alice/data")
        assert (key["kind"], key["protocols"], key["permission"]) == ("app_password", ["webdav"], "ro")
        assert key["vfolders"] == [shown["id"]]
        assert "ro, webdav, 1 vfolder" in await vfgateway("key", "list", "alice")
        for wrong in (("--protocol", "ftp"), ("--vfolder", "alice/none"), ("--permission", "all")):
            assert (await vfgateway.run("key", "add", "alice", *wrong)).exit_code in (2, 3)


async def enrol(vfgateway: Command) -> tuple[pyotp.TOTP, list[str]]:
    """Set the second factor of alice up; the app and the recovery codes."""
    uri = (await vfgateway("second-factor", "begin", "alice")).strip()
    app = pyotp.TOTP(parse_qs(urlsplit(uri).query)["secret"][0])
    return app, (await vfgateway("second-factor", "confirm", "alice", app.now())).split()


async def test_a_second_factor_is_set_up_and_taken_away(tmp_path: Path) -> None:
    """As somebody does who has lost the telephone."""
    async with administered(tmp_path) as vfgateway:
        await vfgateway("user", "add", "alice", "--password-stdin", stdin="correct horse\n")
        _, codes = await enrol(vfgateway)
        assert len(codes) == 10
        shown = {"enabled": True, "begun": False, "recovery_codes": 10}
        assert await vfgateway.json("second-factor", "show", "alice") == shown
        alone = UsernamePassword(b"alice", b"correct horse")
        with pytest.raises(SecondFactorRequired):
            await vfgateway.gateway.authenticate(alone, HERE)
        fresh = (await vfgateway("second-factor", "codes", "alice")).split()
        for code, good in ((codes[0], False), (fresh[0], True), (fresh[0], False)):
            credentials = PasswordAndCode(b"alice", b"correct horse", code)
            if good:
                await vfgateway.gateway.authenticate(credentials, HERE)
            else:
                with pytest.raises(AuthenticationFailed):
                    await vfgateway.gateway.authenticate(credentials, HERE)
        assert (await vfgateway.run("second-factor", "begin", "alice")).exit_code == 1
        assert (await vfgateway.run("second-factor", "confirm", "alice", "123456")).exit_code == 1
        await vfgateway("second-factor", "remove", "alice", "-y")
        assert (await vfgateway.gateway.authenticate(alone, HERE)).name == "alice"
        assert (await vfgateway.run("second-factor", "show", "nobody")).exit_code == 3


async def test_a_lockout_is_seen_and_lifted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one name, or all."""
    async with administered(tmp_path) as vfgateway:
        lockouts_clock(vfgateway.gateway, monkeypatch)
        await vfgateway("user", "add", "alice", "--password-stdin", stdin="correct horse\n")
        for number in range(12):
            with pytest.raises(AuthenticationFailed):
                await vfgateway.gateway.authenticate(UsernamePassword(b"alice", b"wrong %d" % number), HERE)
        right = UsernamePassword(b"alice", b"correct horse")
        with pytest.raises(TooManyAttempts):
            await vfgateway.gateway.authenticate(right, HERE)
        (one,) = await vfgateway.json("lockout", "list")
        assert (one["kind"], one["name"], one["address"]) == ("login", "alice", "192.0.2.1")
        assert "name from address\talice\t192.0.2.1" in await vfgateway("lockout", "list")
        for wrong in ((), ("--all", "--user", "alice")):
            assert (await vfgateway.run("lockout", "lift", *wrong)).exit_code == 2
        assert "nothing to lift" in await vfgateway("lockout", "lift", "--user", "bob")
        assert "lifted" in await vfgateway("lockout", "lift", "--user", "alice")
        assert (await vfgateway.gateway.authenticate(right, HERE)).name == "alice"
        assert await vfgateway.json("lockout", "list") == []
        await vfgateway("lockout", "lift", "--all")
        audit = json.dumps(await vfgateway.json("audit"))
        assert "lockout_lifted" in audit


async def test_who_is_asked(tmp_path: Path) -> None:
    """One's own accounts follow nobody."""
    async with administered(tmp_path) as vfgateway:
        (accounts,) = await vfgateway.json("authenticator", "list")
        assert accounts == {"name": "accounts", "source": False, "state": None, "info": None}
        assert (await vfgateway.run("authenticator", "forget", "accounts")).exit_code == 3
        await with_alice(vfgateway)
        assert (await vfgateway.run("user", "edit", "alice", "--source", "ldap")).exit_code == 3
        assert (await vfgateway.json("user", "show", "alice"))["source"] is None

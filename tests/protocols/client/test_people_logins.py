"""What people log in with over the HTTP API: app passwords that permit less; and what guessing costs there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.client_api import client_api
from tests.support.gateway import lockouts_clock
from tests.support.people_api import Browser, Person


async def test_an_app_password_of_mine(tmp_path: Path) -> None:
    """Limited to what I see, by the names under which I see it; whoever has it cannot touch the account."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        browser = Browser(api, "alice")
        await browser.log_in()
        wanted = {"kind": "app_password", "label": "phone", "permission": "ro"}
        here = wanted | {"protocols": ["client"], "vfolders": ["data"]}
        made = await browser.do("POST", "/me/keys", here, status=201)
        assert (made["protocols"], made["vfolders"], made["permission"]) == (["client"], [str(api.vfolder.id)], "ro")
        phone = Person(api, "alice", made["secret"])
        assert await phone.names() == ["data"]
        await phone.refused(403, "POST", "/vfolders/data/directories", {"path": "new"})
        await phone.refused(403, "GET", "/me/keys")
        await phone.refused(403, "POST", "/me/keys", {"kind": "api_key"})
        await phone.refused(403, "GET", "/me/second-factor")
        await phone.refused(403, "POST", "/vfolders/data/invitations", {"user": "bob", "role": "ro"})
        assert (await phone.ask("POST", "/login", {"name": "alice", "password": made["secret"]})).status == 403
        elsewhere = await browser.do("POST", "/me/keys", wanted | {"protocols": ["sftp"]}, status=201)
        assert (await Person(api, "alice", elsewhere["secret"]).ask("GET", "/me")).status == 401
        refusals: list[dict[str, object]] = [{"vfolders": ["nowhere"]}, {"protocols": ["manager"]}, {"protocols": []}]
        for wrong in refusals:
            assert (await browser.ask("POST", "/me/keys", wanted | wrong)).status in (400, 404)
        listed = (await browser.do("GET", "/me/keys"))["keys"]
        assert [each["kind"] for each in listed] == ["app_password"] * 2


async def test_guessing_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the form or by Basic, which count together; the answer says when to come again, and others come in meanwhile."""
    async with client_api(tmp_path) as api:
        lockouts_clock(api.gateway, monkeypatch)
        await api.let_people_in()
        browser = Browser(api, "alice")
        answers = []
        for number in range(8):
            if number % 2:
                answers.append(await browser.log_in(f"wrong {number}"))
            else:
                answers.append(await Person(api, "alice", f"wrong {number}").ask("GET", "/me"))
        assert [answer.status for answer in answers[:6]] == [401] * 6
        late = answers[-1]
        assert late.status == 429
        assert late.headers["retry-after"] == "1"
        assert "try again in" in json.loads(late.body)["detail"]
        assert (await Person(api, "alice").ask("GET", "/me")).status == 429
        assert (await Person(api, "bob").ask("GET", "/me")).status == 200
        await api.gateway.lockouts.lift("alice")
        assert (await Person(api, "alice").ask("GET", "/me")).status == 200

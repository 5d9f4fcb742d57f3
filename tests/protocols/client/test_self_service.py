"""People make vfolders by themselves, as far as the site lets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.client_api import PASSWORD, client_api
from tests.support.people_api import Person
from vfgateway.errors import ConfigurationError
from vfgateway.model import Permission
from vfgateway.principals import KeyScope

MIB = 1 << 20
SITE = {"self_service": {"volumes": ["disk"], "most": 3, "max_size": "1MiB"}}


async def test_nobody_makes_any_unless_the_site_says_so(tmp_path: Path) -> None:
    """By default; and it is told whom to ask."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        refused = await Person(api, "alice").refused(403, "POST", "/vfolders", {"name": "mine"})
        assert "an administrator" in refused["detail"]
        assert refused["decision"]


async def test_one_of_ones_own(tmp_path: Path) -> None:
    """With the site's limit or less, to be used at once; as many as the site says, and not under a name twice."""
    async with client_api(tmp_path, SITE) as api:
        await api.let_people_in()
        alice = Person(api, "alice")
        made = await alice.do("POST", "/vfolders", {"name": "mine"}, status=201)
        assert (made["owner_name"], made["permission"], made["administer"]) == ("alice", "rwd", True)
        assert (made["volume"], made["limit_bytes"], made["free_bytes"]) == ("disk", MIB, MIB)
        assert (await api.files("PUT", "mine/f", b"content")).status == 201
        await alice.refused(409, "POST", "/vfolders", {"name": "mine"})
        await alice.refused(400, "POST", "/vfolders", {"name": "big", "limit_bytes": MIB + 1})
        await alice.refused(400, "POST", "/vfolders", {"name": "elsewhere", "volume": "tape"})
        small = await alice.do("POST", "/vfolders", {"name": "small", "limit_bytes": 10, "volume": "disk"}, status=201)
        assert small["limit_bytes"] == 10
        assert (await api.files("PUT", "small/f", b"x" * 11)).status == 507
        names = set(await alice.names())
        refused = await alice.refused(409, "POST", "/vfolders", {"name": "one too many"})
        assert "no more than 3" in refused["detail"]
        await alice.do("DELETE", "/vfolders/small")
        await alice.refused(409, "POST", "/vfolders", {"name": "while it lies in the trash"})
        assert names - {"small"} == set(await alice.names()) == {"data", "mine"}
        assert not await api.gateway.volumes.get("disk").misplaced()  # type: ignore[attr-defined]
        assert await Person(api, "bob").do("POST", "/vfolders", {"name": "mine"}, status=201)


async def test_one_of_a_group(tmp_path: Path) -> None:
    """By who administers it, for all its members."""
    async with client_api(tmp_path, SITE) as api:
        await api.let_people_in()
        accounts = api.gateway.accounts
        team = await accounts.create_group("team")
        for name in ("alice", "bob"):
            await accounts.set_member(team.id, (await accounts.user(name)).id, administrator=name == "alice")
        order = {"name": "shared", "group": "team"}
        await Person(api, "bob").refused(403, "POST", "/vfolders", order)
        await Person(api, "alice").refused(404, "POST", "/vfolders", {**order, "group": "nobody"})
        made = await Person(api, "alice").do("POST", "/vfolders", order, status=201)
        assert (made["kind"], made["owner_name"], made["administer"]) == ("project", "team", True)
        assert await Person(api, "bob").names() == ["shared"]


async def test_a_narrowed_key_makes_none(tmp_path: Path) -> None:
    """It administers nothing."""
    async with client_api(tmp_path, SITE) as api:
        await api.let_people_in()
        alice = await api.gateway.accounts.user("alice")
        scope = KeyScope(permission=Permission.RW)
        key = (await api.gateway.accounts.add_key(alice.id, "app_password", scope=scope)).secret or ""
        await Person(api, "alice", key).refused(403, "POST", "/vfolders", {"name": "mine"})
        assert (await Person(api, "alice", PASSWORD).ask("POST", "/vfolders", {"name": "mine"})).status == 201


async def test_a_volume_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    """Rather than when somebody needs it."""
    with pytest.raises(ConfigurationError, match="there is no volume 'tape'"):
        async with client_api(tmp_path, {"self_service": {"volumes": ["tape"]}}):
            pass

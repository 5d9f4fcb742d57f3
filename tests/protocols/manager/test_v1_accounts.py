"""Our own routes about people."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from twisted.cred.credentials import UsernamePassword

from tests.support.manager import ManagerClient, Serving
from vfgateway.errors import AuthenticationFailed

V1 = "/vfgateway/v1"


def fresh() -> str:
    """A name that nobody has."""
    return f"u{uuid4().hex[:12]}"


async def test_an_orchestrators_user_keeps_its_uuid(client: ManagerClient) -> None:
    """So that the vfolders it made before are this user's."""
    name, identity = fresh(), str(uuid4())
    user = await client.post(f"{V1}/users", {"name": name, "id": identity, "uid": 1000, "gid": 1000}, 201)
    assert (user["id"], user["name"], user["uid"]) == (identity, name, 1000)
    assert await client.get(f"{V1}/users/{identity}") == await client.get(f"{V1}/users/{name}") == user
    assert user in (await client.get(f"{V1}/users"))["users"]


async def test_a_name_is_given_once(client: ManagerClient) -> None:
    """And so is a UUID."""
    name, identity = fresh(), str(uuid4())
    await client.post(f"{V1}/users", {"name": name, "id": identity}, 201)
    await client.refused("POST", f"{V1}/users", {"name": name}, 409)
    await client.refused("POST", f"{V1}/users", {"name": fresh(), "id": identity}, 409)


async def test_only_what_is_given_changes(client: ManagerClient) -> None:
    """``null`` lifts a limit; what is left out stays."""
    name = fresh()
    made = await client.post(f"{V1}/users", {"name": name, "email": "a@b", "limit_bytes": 10, "limit_files": 5}, 201)
    changed = await client.ok("PATCH", f"{V1}/users/{name}", {"limit_bytes": None, "active": False, "uid": 7})
    assert changed == {**made, "limit_bytes": None, "active": False, "uid": 7}


async def test_a_password_opens_until_it_is_taken_away(shared: Serving) -> None:
    """Set with the account or later."""
    client, name = shared.client, fresh()
    await client.post(f"{V1}/users", {"name": name, "password": "first word"}, 201)
    credentials = [UsernamePassword(name.encode(), word) for word in (b"first word", b"second word")]
    assert (await shared.gateway.authenticate(credentials[0])).name == name
    await client.ok("PUT", f"{V1}/users/{name}/password", {"password": "second word"}, 204)
    assert (await shared.gateway.authenticate(credentials[1])).name == name
    with pytest.raises(AuthenticationFailed):
        await shared.gateway.authenticate(credentials[0])
    await client.ok("PUT", f"{V1}/users/{name}/password", {"password": None}, 204)
    with pytest.raises(AuthenticationFailed):
        await shared.gateway.authenticate(credentials[1])


async def test_a_bad_password_makes_no_user(client: ManagerClient) -> None:
    """Nothing refused leaves a trace; and the answer does not repeat the password."""
    name = fresh()
    problem = await client.refused("POST", f"{V1}/users", {"name": name, "password": "vfg_like-a-key"}, 400)
    assert "like-a-key" not in str(problem)
    problem = await client.refused("POST", f"{V1}/users", {"name": name, "password": "seven77"}, 400)
    assert problem["data"] == {"password": "too short: it needs at least 8 characters"}
    await client.refused("GET", f"{V1}/users/{name}", None, 404)


async def test_a_key_is_told_once(client: ManagerClient) -> None:
    """Lists show it without what is secret."""
    name = fresh()
    await client.post(f"{V1}/users", {"name": name}, 201)
    key = await client.post(f"{V1}/users/{name}/keys", {"kind": "api_key", "label": "laptop"}, 201)
    secret = key.pop("secret")
    assert secret
    listed = (await client.get(f"{V1}/users/{name}/keys"))["keys"]
    assert listed == [key]
    assert secret not in str(listed)
    await client.ok("DELETE", f"{V1}/users/{name}/keys/{key['id']}", status=204)
    assert (await client.get(f"{V1}/users/{name}/keys"))["keys"] == []


async def test_groups_have_members(client: ManagerClient) -> None:
    """By name or UUID."""
    user, group = fresh(), fresh()
    made = await client.post(f"{V1}/users", {"name": user}, 201)
    crew = await client.post(f"{V1}/groups", {"name": group, "id": str(uuid4())}, 201)
    await client.ok("PUT", f"{V1}/groups/{group}/members/{made['id']}", {"administrator": True}, 204)
    shown = await client.get(f"{V1}/groups/{crew['id']}")
    assert shown["members"] == [{"id": made["id"], "name": user, "administrator": True}]
    await client.ok("DELETE", f"{V1}/groups/{group}/members/{user}", status=204)
    assert (await client.get(f"{V1}/groups/{group}"))["members"] == []
    renamed = await client.ok("PATCH", f"{V1}/groups/{group}", {"name": group + "x", "limit_files": 3})
    assert (renamed["name"], renamed["limit_files"]) == (group + "x", 3)
    await client.ok("DELETE", f"{V1}/groups/{group}x", status=204)


async def test_an_owner_is_not_deleted_by_accident(client: ManagerClient) -> None:
    """Its vfolders can be kept on purpose."""
    name = fresh()
    await client.post(f"{V1}/users", {"name": name}, 201)
    await client.post(f"{V1}/vfolders", {"owner": name, "name": "data"}, 201)
    await client.refused("DELETE", f"{V1}/users/{name}", None, 409)
    await client.ok("DELETE", f"{V1}/users/{name}?keep_vfolders=true", status=204)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"name": ""},
        {"name": "a/b"},
        {"name": "a:b"},
        {"name": "a\nb"},
        {"name": 5},
        {"name": "n", "uid": -1},
        {"name": "n", "uid": True},
        {"name": "n", "uid": (1 << 32) - 1},
        {"name": "n", "limit_bytes": "10"},
        {"name": "n", "id": "no uuid"},
        {"name": "n", "administrator": "yes"},
        {"name": "n", "root": True},
        {"name": "\ud800"},
    ],
)
async def test_an_impossible_user_is_refused(client: ManagerClient, params: dict[str, Any]) -> None:
    """With the parameter that is wrong."""
    problem = await client.refused("POST", f"{V1}/users", params, 400)
    assert problem["data"]
    assert problem["msg"]


async def test_who_is_not_there_is_not_found(client: ManagerClient) -> None:
    """404 wherever an account is named."""
    for method, path, params in (
        ("GET", "/users/nobody", None),
        ("PATCH", "/users/nobody", {}),
        ("DELETE", "/users/nobody", None),
        ("GET", "/users/nobody/keys", None),
        ("GET", "/groups/nobody", None),
        ("PUT", "/groups/nobody/members/nobody", {}),
        ("POST", "/vfolders", {"owner": "nobody", "name": "n"}),
    ):
        await client.refused(method, V1 + path, params, 404)

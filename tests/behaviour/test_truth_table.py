"""Who may do what, by which way: every verb, for every kind of principal, through a real client of every protocol.

The table is made of two small ones: what permission each kind of principal has, and what permission each verb needs. What is not allowed is
refused, and leaves everything as it was; where there is no permission at all, nothing is even there.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.behaviour.doors import DavDoor, Door, EveryDoor, HttpDoor, Refused, SftpDoor
from tests.support.process import ALICE, VFolderOfAlice

RANK = {"none": 0, "ro": 1, "rw": 2, "rwd": 3}


class PeopleDoor(HttpDoor):
    """The people's API by its JSON operations."""

    name = "people"
    makes_dirs = renames = True

    def _at(self, what: str) -> str:
        return f"{self.site.client_url}/vfgateway/v1/vfolders/{self.vfolder.name}/{what}"

    def _json(self, method: str, what: str, body: Mapping[str, Any]) -> None:
        self.ask(method, self._at(what), json.dumps(body))

    def get(self, path: str) -> bytes:
        return self.ask("GET", self._at(f"content?path={path}")).content

    def put(self, path: str, content: bytes) -> None:
        self.ask("PUT", self._at(f"content?path={path}"), content)

    def list(self, path: str = "") -> Mapping[str, Any]:
        page = self.ask("GET", self._at(f"entries?path={path or '.'}")).json()
        return {entry["name"]: entry for entry in page["entries"]}

    def remove(self, path: str) -> None:
        self.ask("DELETE", self._at(f"entry?path={path}"))

    def make_dir(self, path: str) -> None:
        self._json("POST", "directories", {"path": path})

    def rename(self, source: str, target: str, replace: bool = False) -> None:
        self._json("POST", "move", {"source": source, "target": target, "replace": replace})


DOORS: tuple[type[Door], ...] = (PeopleDoor, DavDoor, SftpDoor)


@attrs.frozen
class Kind:
    """A kind of principal: its permission, and how somebody becomes one.

    :ivar setup: called with the arrangement and the account's name
    :ivar group: the vfolder is a group's
    :ivar administrator: of the gateway: whoever wants to see others' vfolders as people see them has them granted
    """

    name: str
    permission: str
    setup: Callable[[Arrangement, str], None] = lambda arrangement, who: None
    group: bool = False
    administrator: bool = False


class Arrangement:
    """One vfolder with one principal, set up as an administrator would."""

    def __init__(self, site: EveryDoor, kind: Kind, tag: str) -> None:
        self.site = site
        self.who, self.password = f"p-{tag}", ALICE[1]
        self.crew = ""
        self._user(self.who, kind.administrator)
        self.user_id = self._users()[self.who]
        if kind.group:
            self.crew = site.manager("POST", "/vfgateway/v1/groups", {"name": f"g-{tag}"})["id"]
        owner = {"owner": f"g-{tag}", "kind": "group"} if kind.group else {"owner": ALICE[0]}
        body = {"name": f"f-{tag}", "volume": "local", **owner}
        made = site.manager("POST", "/vfgateway/v1/vfolders", body)
        place = site.manager("GET", "/folder/mount", {"volume": "local", "vfid": made["id"]})
        self.vfolder = VFolderOfAlice(site, "local", made["id"], f"f-{tag}", Path(place["path"]))
        (self.vfolder.root / "theirs").write_bytes(b"before")
        (self.vfolder.root / "others").write_bytes(b"before")
        (self.vfolder.root / "old").mkdir()
        kind.setup(self, self.who)

    def _users(self) -> dict[str, str]:
        return {user["name"]: user["id"] for user in self.site.manager("GET", "/vfgateway/v1/users")["users"]}

    def _user(self, name: str, administrator: bool = False) -> None:
        body = {"name": name, "password": ALICE[1], "administrator": administrator}
        self.site.manager("POST", "/vfgateway/v1/users", body)

    @property
    def _digits(self) -> str:
        return self.vfolder.vfid[-32:]

    def change(self, **changes: object) -> None:
        """Of the vfolder."""
        self.site.manager("PATCH", f"/vfgateway/v1/vfolders/{self._digits}", changes)

    def grant(self, kind: str, subject: str, permission: str, **more: object) -> None:
        """Open the vfolder."""
        body = {"kind": kind, "subject": subject, "permission": permission, **more}
        self.site.manager("POST", f"/vfgateway/v1/vfolders/{self._digits}/grants", body)

    def join(self, leads: bool = False, group: str = "") -> None:
        """Into the owning group, or another."""
        where = f"/vfgateway/v1/groups/{group or self.crew}/members/{self.user_id}"
        self.site.manager("PUT", where, {"administrator": leads})

    def use_key(self, wanted: Mapping[str, object]) -> None:
        """Come with a new key from now on."""
        self.password = self.site.manager("POST", f"/vfgateway/v1/users/{self.user_id}/keys", wanted)["secret"]

    def other_group(self) -> str:
        """A group that owns nothing, with the principal in it."""
        name = f"o-{os.urandom(4).hex()}"
        group: str = self.site.manager("POST", "/vfgateway/v1/groups", {"name": name})["id"]
        self.join(group=group)
        return group


def to_user(permission: str) -> Callable[[Arrangement, str], None]:
    return lambda arrangement, who: arrangement.grant("user", who, permission)


def to_group(permission: str) -> Callable[[Arrangement, str], None]:
    return lambda arrangement, who: arrangement.grant("group", arrangement.other_group(), permission)


def expired(arrangement: Arrangement, who: str) -> None:
    arrangement.grant("user", who, "rwd", expires=time.time() - 1)


def owner(arrangement: Arrangement, who: str) -> None:
    arrangement.change(owner=who)


def by_key(permission: str, kind: str = "app_password") -> Callable[[Arrangement, str], None]:
    """The owner, who comes with a key for this vfolder that is good for so much only."""

    def setup(arrangement: Arrangement, who: str) -> None:
        owner(arrangement, who)
        arrangement.use_key({"kind": kind, "permission": permission, "vfolders": [arrangement.vfolder.vfid]})

    return setup


def by_key_to_another(arrangement: Arrangement, who: str) -> None:
    owner(arrangement, who)
    body = {"name": f"other-{who}", "volume": "local", "owner": who}
    other = arrangement.site.manager("POST", "/vfgateway/v1/vfolders", body)
    arrangement.use_key({"kind": "app_password", "vfolders": [other["id"]]})


def owner_of_a_dataset(arrangement: Arrangement, who: str) -> None:
    arrangement.change(owner=who)
    arrangement.change(read_only=True)


def owner_too_late(arrangement: Arrangement, who: str) -> None:
    arrangement.change(owner=who)
    arrangement.change(expires=time.time() - 1)


def member(arrangement: Arrangement, who: str) -> None:
    arrangement.join()


def reading_member(arrangement: Arrangement, who: str) -> None:
    arrangement.join()
    arrangement.grant("group", arrangement.crew, "ro")


def leader(arrangement: Arrangement, who: str) -> None:
    arrangement.join(leads=True)


KINDS = (
    Kind("owner", "rwd", owner),
    Kind("owner of a dataset", "ro", owner_of_a_dataset),
    Kind("owner of what has expired", "none", owner_too_late),
    Kind("reader", "ro", to_user("ro")),
    Kind("writer", "rw", to_user("rw")),
    Kind("deleter", "rwd", to_user("rwd")),
    Kind("reader by group", "ro", to_group("ro")),
    Kind("writer by group", "rw", to_group("rw")),
    Kind("deleter by group", "rwd", to_group("rwd")),
    Kind("whose grant has expired", "none", expired),
    Kind("member", "rw", member, group=True),
    Kind("member of a group that reads", "ro", reading_member, group=True),
    Kind("group administrator", "rwd", leader, group=True),
    Kind("administrator of the gateway", "none", administrator=True),
    Kind("owner with a key to read", "ro", by_key("ro")),
    Kind("owner with a key to write", "rw", by_key("rw", "api_key")),
    Kind("owner with a whole key", "rwd", by_key("rwd")),
    Kind("owner with a key to another vfolder", "none", by_key_to_another),
    Kind("stranger", "none"),
    Kind("stranger to a group", "none", group=True),
)


def see(door: Door) -> None:
    if "theirs" not in door.list():
        raise AssertionError("the listing lacks what is there")


def read(door: Door) -> None:
    assert door.get("theirs") == b"before"


def create(door: Door) -> None:
    door.put("new", b"1")


def replace(door: Door) -> None:
    door.put("theirs", b"after")


def make_dir(door: Door) -> None:
    door.make_dir("dir")


def rename(door: Door) -> None:
    door.rename("theirs", "renamed")


def remove_own(door: Door) -> None:
    door.put("mine", b"1")
    door.remove("mine")


def remove_others(door: Door) -> None:
    door.remove("others")


def remove_dir(door: Door) -> None:
    door.remove("old")


#: In this order, each on what the one before left.
VERBS: Mapping[str, tuple[Callable[[Door], None], str]] = {
    "list": (see, "ro"),
    "read": (read, "ro"),
    "create": (create, "rw"),
    "replace": (replace, "rw"),
    "make a directory": (make_dir, "rw"),
    "rename": (rename, "rw"),
    "remove one's own": (remove_own, "rw"),
    "remove another's": (remove_others, "rwd"),
    "remove another's directory": (remove_dir, "rwd"),
}


def state_of(vfolder: VFolderOfAlice) -> dict[str, bytes | None]:
    """All that readers see, from disk."""
    hidden = (".upload", ".trash")
    return {
        str(path.relative_to(vfolder.root)): path.read_bytes() if path.is_file() else None
        for path in sorted(vfolder.root.rglob("*"))
        if not set(hidden) & set(path.relative_to(vfolder.root).parts)
    }


@pytest.mark.parametrize("door_kind", DOORS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_who_may_do_what(site: EveryDoor, kind: Kind, door_kind: type[Door]) -> None:
    """Each verb is done, or refused without a trace, as the table has it."""
    arrangement = Arrangement(site, kind, os.urandom(4).hex())
    told: dict[str, str] = {}
    expected: dict[str, str] = {}
    with door_kind(site, arrangement.vfolder, arrangement.who, arrangement.password) as door:
        assert (arrangement.vfolder.name in door.folders()) == (kind.permission != "none")
        for name, (verb, needed) in VERBS.items():
            allowed = RANK[kind.permission] >= RANK[needed]
            expected[name] = "done" if allowed else "permission" if kind.permission != "none" else "missing"
            before = state_of(arrangement.vfolder)
            try:
                verb(door)
                told[name] = "done"
            except Refused as refusal:
                told[name] = refusal.why
                assert state_of(arrangement.vfolder) == before, name
    assert told == expected

"""Everything that changes who may do what, destroys something or is refused leaves its row, with who did it, from where and by which protocol:
each thing is done, through the door that people use for it, and its row is looked for, in the table and in the log."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from tests.behaviour.doors import DavDoor, EveryDoor, HttpDoor, SftpDoor
from tests.support.browser import Browser
from tests.support.process import ALICE, PATIENCE, GatewayProcess, VFolderOfAlice

V1 = "/vfgateway/v1"
#: Who does it, by which protocol.
MANAGER, BY_ALICE, BY_BOB = ("manager", "manager"), ("alice", "client"), ("bob", "client")
#: What is done; how its row is called; who does it; what the row says beside that.
type_step = tuple[Callable[[], object], str, tuple[str, str], dict[str, Any]]


class House:
    """A gateway with Alice and Bob, who have browsers, and Alice's vfolder."""

    def __init__(self, gateway: GatewayProcess, site: EveryDoor) -> None:
        self.gateway = gateway
        self.site = site
        self.data: VFolderOfAlice = site.populate()
        self.bob_id = site.manager("POST", f"{V1}/users", {"name": "bob", "password": ALICE[1]})["id"]
        self.alice_id = site.manager("GET", f"{V1}/users/alice")["id"]
        self.alice, self.bob = Browser(site), Browser(site, "bob")

    def does(self, method: str, path: str, body: Any = None) -> Callable[[], Any]:
        """An act of the administrator's."""
        return lambda: self.site.manager(method, V1 + path, body)

    def make(self, name: str, **about: Any) -> str:
        """A new vfolder of Alice's; its 32 digits."""
        made = self.site.manager("POST", f"{V1}/vfolders", {"owner": "alice", "name": name, "volume": "local", **about})
        return str(made["id"])[-32:]

    def rows(self, event: str) -> list[dict[str, Any]]:
        """All of that kind, the latest last."""
        found: list[dict[str, Any]] = self.site.manager("GET", f"{V1}/audit?event={event}&limit=10000")["entries"]
        return found

    def check(self, steps: Sequence[type_step]) -> None:
        """Do each thing, and see that it makes exactly one row that says what it should."""
        wrong = []
        for act, event, (who, protocol), about in steps:
            before = {row["number"] for row in self.rows(event)}
            act()
            new = [row for row in self.rows(event) if row["number"] not in before]
            expected = {"user": who, "protocol": protocol, "outcome": "done", **about}
            told = [{name: self._told(row, name) for name in expected} for row in new]
            if told != [expected]:
                wrong.append(f"{event}: {expected}\n   was {told}")
            elif new[0]["address"] != "127.0.0.1" or f"{event}: " not in self.gateway.output:
                wrong.append(f"{event}: from {new[0]['address']!r}, or not in the log")
        assert not wrong, "\n".join(wrong)

    @staticmethod
    def _told(row: dict[str, Any], name: str) -> Any:
        return row[name] if name in row else row["facts"].get(name)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("record") / "site"
    site = EveryDoor(folder)
    site.config.write_text(
        site.config.read_text().replace('backend = "vfs"', f'backend = "vfs"\nadoptable = ["{folder}"]')
    )
    with site.config.open("a") as config:
        config.write('[volumes.mem]\nbackend = "memory"\n')
    with GatewayProcess(site) as gateway:
        yield House(gateway, site)


def code_of(secret: str) -> str:
    """What an authenticator app shows now."""
    return TOTP(base64.b32decode(secret), 6, SHA1(), 30).generate(int(time.time())).decode()


def test_accounts(house: House) -> None:
    """Users, groups, members, passwords, keys and second factors."""
    house.does("POST", "/users", {"name": "carol"})()
    carol = "/users/carol"
    keys: list[str] = []
    factor: list[str] = []

    def add_key() -> None:
        keys.append(house.alice.do("POST", "/me/keys", {"kind": "app_password", "label": "phone"})["id"])

    def begin() -> None:
        factor.append(house.alice.do("POST", "/me/second-factor", {"current": ALICE[1]})["secret"])

    def own(method: str, path: str, body: Any = None) -> Callable[[], Any]:
        return lambda: house.alice.do(method, f"/me{path}", body)

    in_team = f"/groups/team/members/{house.bob_id}"
    proof = {"current": ALICE[1]}
    password = {"current": ALICE[1], "new": ALICE[1]}
    house.check(
        [
            (house.does("POST", "/users", {"name": "dave"}), "user_added", MANAGER, {"target": "dave"}),
            (
                house.does("PATCH", carol, {"active": False}),
                "user_changed",
                MANAGER,
                {"target": "carol", "active": False},
            ),
            (
                house.does("PUT", f"{carol}/password", {"password": "a passphrase"}),
                "password_set",
                MANAGER,
                {"target": "carol"},
            ),
            (house.does("DELETE", carol), "user_removed", MANAGER, {"target": "carol"}),
            (house.does("POST", "/groups", {"name": "team"}), "group_added", MANAGER, {"target": "team"}),
            (
                house.does("PATCH", "/groups/team", {"limit_bytes": 1000}),
                "group_changed",
                MANAGER,
                {"target": "team", "limit_bytes": 1000},
            ),
            (
                house.does("PUT", in_team, {"administrator": True}),
                "member_set",
                MANAGER,
                {"target": "team", "member": "bob", "administrator": True},
            ),
            (house.does("DELETE", in_team), "member_removed", MANAGER, {"target": "team", "member": "bob"}),
            (house.does("DELETE", "/groups/team"), "group_removed", MANAGER, {"target": "team"}),
            (own("PUT", "/password", password), "password_set", BY_ALICE, {"target": "alice"}),
            (add_key, "key_added", BY_ALICE, {"target": "alice", "kind": "app_password", "label": "phone"}),
            (
                lambda: own("DELETE", f"/keys/{keys[0]}")(),
                "key_removed",
                BY_ALICE,
                {"target": "alice", "label": "phone"},
            ),
            (begin, "second_factor_begun", BY_ALICE, {"target": "alice"}),
            (
                lambda: own("POST", "/second-factor/confirm", {"code": code_of(factor[0])})(),
                "second_factor_set",
                BY_ALICE,
                {"target": "alice"},
            ),
            (own("POST", "/second-factor/codes", proof), "recovery_codes_made", BY_ALICE, {"target": "alice"}),
            (own("POST", "/second-factor/remove", proof), "second_factor_removed", BY_ALICE, {"target": "alice"}),
        ]
    )


def test_sharing(house: House) -> None:
    """Grants, invitations in all their ends, leaving, handing over."""
    digits = house.make("shared")
    one = "/vfolders/shared"
    offers: list[str] = []
    grants: list[str] = []

    def offer(role: str = "ro") -> Callable[[], None]:
        return lambda: offers.append(house.alice.do("POST", f"{one}/invitations", {"user": "bob", "role": role})["id"])

    def grant() -> None:
        grants.append(
            house.alice.do("POST", f"{one}/grants", {"kind": "user", "subject": "bob", "permission": "rw"})["id"]
        )

    def answers(word: str) -> Callable[[], Any]:
        return lambda: house.bob.do("POST", f"/invitations/{offers[-1]}/{word}")

    about = {"target": "shared", "vfid": house.site.manager("GET", f"{V1}/vfolders/{digits}")["id"]}
    for_bob = {**about, "subject": "bob"}
    house.check(
        [
            (grant, "grant_added", BY_ALICE, {**for_bob, "permission": "rw"}),
            (lambda: house.alice.do("DELETE", f"{one}/grants/{grants[0]}"), "grant_removed", BY_ALICE, for_bob),
            (offer(), "invitation_made", BY_ALICE, {**for_bob, "role": "ro"}),
            (answers("decline"), "invitation_declined", BY_BOB, {**about, "role": "ro"}),
            (offer(), "invitation_made", BY_ALICE, for_bob),
            (
                lambda: house.alice.do("DELETE", f"{one}/invitations/{offers[-1]}"),
                "invitation_withdrawn",
                BY_ALICE,
                for_bob,
            ),
            (offer("rw"), "invitation_made", BY_ALICE, for_bob),
            (answers("accept"), "invitation_accepted", BY_BOB, {**about, "role": "rw"}),
            (lambda: house.bob.do("POST", f"{one}/leave"), "grant_left", BY_BOB, for_bob),
            (offer("owner"), "invitation_made", BY_ALICE, {**for_bob, "role": "owner"}),
            (answers("accept"), "invitation_accepted", BY_BOB, {**about, "role": "owner"}),
        ]
    )


def test_links(house: House) -> None:
    """Made, opened with a wrong password, used, revoked; what is done by one is not done by whoever made it."""
    house.make("published")
    house.alice.do("POST", "/vfolders/published/directories", {"path": "box"})
    links: list[dict[str, Any]] = []
    about = {"vfid": house.site.manager("GET", f"{V1}/vfolders/resolve?vfolder=alice/published")["id"]}

    def make() -> None:
        body = {"path": "box", "kind": "upload", "password": "open sesame"}
        links.append(house.alice.do("POST", "/vfolders/published/links", body))

    def puts(password: str, status: int) -> Callable[[], None]:
        def put() -> None:
            url = f"{links[0]['url']}/file"
            answer = requests.put(url, data=b"x", auth=("", password), timeout=PATIENCE)
            assert answer.status_code == status, answer.text

        return put

    wrong = {**about, "outcome": "refused", "refuser": "login", "error": "WrongPassword"}
    house.check(
        [
            (make, "link_made", BY_ALICE, {**about, "target": "box", "kind": "upload"}),
            (puts("open barley", 401), "refusal", ("link of alice", "client"), wrong),
            (puts("open sesame", 201), "link_used", ("link of alice", "client"), {**about, "target": "box"}),
            (
                lambda: house.alice.do("DELETE", f"/vfolders/published/links/{links[0]['id']}"),
                "link_revoked",
                BY_ALICE,
                {**about, "target": "box"},
            ),
        ]
    )


def test_vfolders(house: House) -> None:
    """Made, found, changed, deleted, restored, removed for good, given away by an administrator; limits of a scope."""
    place = house.site.folder / "found"
    place.mkdir()
    digits = house.make("kept")
    found = {"owner": "alice", "name": "found", "volume": "local", "place": str(place)}
    scope = {"volume": "local", "qsid": f"user:{house.alice_id}", "options": {"limit_bytes": 10**12}}
    mine = f"/vfolders/{digits}"
    target = {"target": "kept"}
    house.check(
        [
            (lambda: house.make("new"), "vfolder_created", MANAGER, {"target": "new", "owner": house.alice_id}),
            (
                house.does("POST", "/vfolders/adopt", found),
                "vfolder_adopted",
                MANAGER,
                {"target": "found", "place": str(place)},
            ),
            (
                house.does("PATCH", mine, {"limit_bytes": 10**9}),
                "vfolder_changed",
                MANAGER,
                {**target, "limit_bytes": 10**9},
            ),
            (lambda: house.alice.do("DELETE", "/vfolders/kept"), "vfolder_trashed", BY_ALICE, target),
            (lambda: house.alice.do("POST", f"/trash/{digits}/restore"), "vfolder_restored", BY_ALICE, target),
            (lambda: house.alice.do("DELETE", "/vfolders/kept"), "vfolder_trashed", BY_ALICE, target),
            (lambda: house.alice.do("DELETE", f"/trash/{digits}"), "vfolder_deleted", BY_ALICE, {}),
            (
                lambda: house.site.manager("PATCH", "/quota-scope", scope),
                "scope_limits_set",
                MANAGER,
                {"limit_bytes": 10**12},
            ),
        ]
    )
    deadline = time.monotonic() + PATIENCE
    while not any(row["vfid"].endswith(digits) for row in house.rows("vfolder_purged")):
        assert time.monotonic() < deadline, "the task removes it"
        time.sleep(0.05)
    assert len([row for row in house.rows("vfolder_deleted") if row["vfid"].endswith(digits)]) == 1


def test_snapshots(house: House) -> None:
    """Taken, put back in part and as a whole, scheduled and removed, by their owner and by an administrator."""
    digits = house.make("pictures", volume="mem")
    theirs, mine = f"/vfolders/{digits}", "/vfolders/pictures"
    made = {"path": "d"}
    house.alice.do("POST", f"{mine}/directories", made)

    def asks(method: str, what: str, body: Any = None) -> Callable[[], Any]:
        return lambda: house.alice.do(method, mine + what, body)

    taken, restored = "snapshot_created", "snapshot_restored"
    back = {"path": "d", "target": "e"}
    plan = {"schedule": "hourly=24 weekly=4"}
    house.check(
        [
            (asks("POST", "/snapshots", {"label": "one"}), taken, BY_ALICE, {"target": ".snapshots/one"}),
            (house.does("POST", f"{theirs}/snapshots", {"label": "two"}), taken, MANAGER, {"target": ".snapshots/two"}),
            (asks("POST", "/snapshots/one/restore", back), restored, BY_ALICE, {"target": "e", "snapshot": "one"}),
            (asks("POST", "/snapshots/two/restore", {}), restored, BY_ALICE, {"target": "", "snapshot": "two"}),
            (
                house.does("PUT", f"{theirs}/snapshot-schedule", {"hourly": 24, "weekly": 4}),
                "snapshots_scheduled",
                MANAGER,
                plan,
            ),
            (
                asks("DELETE", "/snapshot-schedule"),
                "snapshots_scheduled",
                BY_ALICE,
                {"schedule": "none"},
            ),
            (asks("DELETE", "/snapshots/one"), "snapshot_deleted", BY_ALICE, {"target": ".snapshots/one"}),
        ]
    )


def test_files(house: House) -> None:
    """Deleted by every protocol, to the trash and for good, restored; and by the orchestrator in the background."""
    doors = [kind(house.site, house.data) for kind in (HttpDoor, DavDoor, SftpDoor)]
    for name in "abcdef":
        doors[0].put(name, b"x")
    items: list[str] = []
    one = "/vfolders/data"

    def discards(name: str) -> Callable[[], None]:
        def discard() -> None:
            house.alice.do("DELETE", f"{one}/entry?path={name}")
            items.append(house.alice.do("GET", f"{one}/trash")["items"][0]["id"])

        return discard

    in_background = {"volume": "local", "vfid": house.data.vfid, "relpaths": ["f"], "recursive": False}
    target = {"vfid": house.data.vfid, "target": "a"}
    removed = "files_removed"
    house.check(
        [
            (discards("a"), removed, BY_ALICE, target),
            (
                lambda: house.alice.do("POST", f"{one}/trash/{items[0]}/restore"),
                "files_restored",
                BY_ALICE,
                target,
            ),
            (discards("a"), removed, BY_ALICE, target),
            (lambda: house.alice.do("DELETE", f"{one}/trash/{items[1]}"), "files_purged", BY_ALICE, target),
            (
                lambda: house.alice.do("DELETE", f"{one}/entry?path=b&permanently=true"),
                removed,
                BY_ALICE,
                {"target": "b"},
            ),
            (lambda: doors[0].remove("c"), removed, BY_ALICE, {"target": "c"}),
            (lambda: doors[1].remove("d"), removed, ("alice", "webdav"), {"target": "d"}),
            (lambda: doors[2].remove("e"), removed, ("alice", "sftp"), {"target": "e"}),
            (
                lambda: house.site.manager("POST", "/folder/file/delete-async", in_background),
                removed,
                MANAGER,
                {"target": "f"},
            ),
        ]
    )
    for door in doors:
        door.close()


def test_logins(house: House) -> None:
    """Coming in by every door, going, being refused, being locked out and let in again."""
    house.site.manager("POST", f"{V1}/users", {"name": "frank", "password": ALICE[1]})
    browsers: list[Browser] = []
    frank = "frank"

    def guesses() -> None:
        for number in range(7):
            requests.get(f"{house.site.dav_url}/", auth=(frank, f"guess {number}"), timeout=PATIENCE)

    def fails(status: int) -> Callable[[], None]:
        def fail() -> None:
            answer = requests.get(f"{house.site.client_url}{V1}/me", auth=("nobody", "x"), timeout=PATIENCE)
            assert answer.status_code == status

        return fail

    refused = {"outcome": "refused", "refuser": "login"}
    house.check(
        [
            (lambda: browsers.append(Browser(house.site, frank)), "login", (frank, "client"), {"method": "browser"}),
            (lambda: browsers[0].do("POST", "/logout"), "session_ended", (frank, "client"), {}),
            (
                lambda: HttpDoor(house.site, house.data, frank).folders(),
                "login",
                (frank, "client"),
                {"method": "basic"},
            ),
            (lambda: DavDoor(house.site, house.data, frank).folders(), "login", (frank, "webdav"), {"method": "basic"}),
            (lambda: SftpDoor(house.site, house.data, frank).close(), "login", (frank, "sftp"), {"method": "password"}),
            (fails(401), "refusal", ("nobody", "client"), refused),
            (guesses, "logins_locked", (frank, "webdav"), {"outcome": "refused", "target": "frank 127.0.0.1"}),
            (house.does("POST", "/lockouts/lift", {"name": frank}), "lockout_lifted", MANAGER, {"target": frank}),
        ]
    )


def test_acts_of_administrators(house: House) -> None:
    """What they break off, hand out, and turn."""
    with DavDoor(house.site, house.data) as dav:
        dav.put("locked", b"x")
        lock = dav.lock("locked").strip("<>")
        token = {"vfolder": "alice/data", "path": "locked"}
        upload = house.does("POST", "/tokens/upload", {"vfolder": "alice/data", "path": "sent", "size": 5})()["upload"]
        level = {"namespace": "vfgateway.sftp", "level": "debug"}
        scans: list[str] = []

        def scan() -> None:
            scans.append(house.does("POST", "/scans", {})()["task"])

        house.check(
            [
                (house.does("DELETE", f"/locks/{lock}"), "lock_broken", MANAGER, {"target": lock}),
                (
                    house.does("POST", "/tokens/download", token),
                    "token_minted",
                    MANAGER,
                    {"target": "locked", "operation": "download"},
                ),
                (house.does("DELETE", f"/uploads/{upload}"), "upload_cancelled", MANAGER, {"target": upload}),
                (scan, "scan_begun", MANAGER, {"target": "all volumes", "fix": False}),
                (lambda: house.does("DELETE", f"/tasks/{scans[0]}")(), "task_cancelled", MANAGER, {}),
                (
                    house.does("PATCH", "/log/levels", level),
                    "log_level_set",
                    MANAGER,
                    {"target": "vfgateway.sftp", "level": "debug"},
                ),
            ]
        )

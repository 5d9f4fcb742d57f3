"""Who did what, and who was refused why, as an administrator sees it: two processes, every protocol, real clients."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import paramiko
import pytest
import requests

from tests.cli.command import run
from tests.support.dav_site import DavSite
from tests.support.process import ALICE, PATIENCE, GatewayProcess, VFolderOfAlice, eventually, free_port

BOB = ("bob", "battery staple horse correct")
WORKERS = 2
#: How a refusal's identifier is told where there are only words.
IN_BRACKETS = re.compile(r"\[([0-9a-f]{12})\]")


class EverySite(DavSite):
    """A site with every front end. ``sftp_port`` is where SFTP listens."""

    def _configuration(self, volumes: Mapping[str, Mapping[str, object]]) -> str:
        self.sftp_port = free_port()
        sftp = ["[frontends.sftp]", f'endpoint = "tcp:{self.sftp_port}:interface=127.0.0.1"', ""]
        return super()._configuration(volumes) + "\n".join(sftp)


class Audited:
    """A running gateway in which Bob may read what Alice has.

    :ivar folder: Alice's
    """

    def __init__(self, gateway: GatewayProcess, site: EverySite) -> None:
        self.gateway = gateway
        self.site = site
        self.folder: VFolderOfAlice = site.populate()
        site.manager("POST", "/vfgateway/v1/users", {"name": BOB[0], "password": BOB[1]})
        self.command("grant", "add", "alice/data", "--user", "bob", "--permission", "ro")
        assert self.folder.put("f", b"content").status_code == 201

    def command(self, *arguments: str) -> str:
        """What ``vfgateway`` prints; it has to succeed."""
        result = run("--config", str(self.site.config), *arguments)
        assert result.exit_code == 0, (arguments, result.output)
        return str(result.stdout)

    def audit(self, *arguments: str) -> list[dict[str, Any]]:
        """Entries."""
        found: list[dict[str, Any]] = json.loads(self.command("audit", "--json", *arguments))
        return found

    def explain(self, decision: str) -> dict[str, Any]:
        """Why."""
        found: dict[str, Any] = json.loads(self.command("explain", decision, "--json"))
        return found

    def dav(self, method: str, path: str, auth: Any = BOB, **options: Any) -> requests.Response:
        """A WebDAV request, over a connection of its own, so that any process may get it."""
        headers = {"Connection": "close", **options.pop("headers", {})}
        return requests.request(
            method, self.site.dav_url + path, auth=auth, headers=headers, timeout=PATIENCE, **options
        )

    def sftp_refusal(self, work: Any, login: tuple[str, str] = BOB) -> str:
        """The text with which ``work(client)`` is refused over SFTP."""
        transport = paramiko.Transport(("127.0.0.1", self.site.sftp_port))
        try:
            transport.connect(username=login[0], password=login[1])
            client = paramiko.SFTPClient.from_transport(transport)
            assert client is not None
            with pytest.raises(OSError) as refusal:
                work(client)
            return str(refusal.value)
        finally:
            transport.close()


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    site = EverySite(tmp_path_factory.mktemp("audit") / "site", workers=WORKERS)
    with GatewayProcess(site) as gateway:
        gateway.all_there()
        yield Audited(gateway, site)


def decision_in(text: str) -> str:
    """The identifier in a refusal's words."""
    found = IN_BRACKETS.search(text)
    assert found, text
    return found[1]


def test_every_protocol_tells_the_identifier_of_a_refusal(audited: Audited) -> None:
    """The same refusal three ways: problem body, ``DAV:error``, status text. Each is on record with who, whence, how, on what, and is
    explained by the grant that did not reach."""
    url = audited.folder.url("of-bob")
    http = requests.put(url, data=b"x", auth=BOB, timeout=PATIENCE)
    assert http.status_code == 403
    dav = audited.dav("PUT", "/data/of-bob", data=b"x")
    assert dav.status_code == 403
    sftp = audited.sftp_refusal(lambda client: client.open("/data/of-bob", "w"))
    told = {"client": http.json()["decision"], "webdav": decision_in(dav.text), "sftp": decision_in(sftp)}
    grant = json.loads(audited.command("grant", "list", "alice/data", "--json"))[0]
    for protocol, decision in told.items():
        found = audited.explain(decision)
        entry = found["entry"]
        assert (entry["user"], entry["protocol"], entry["outcome"], entry["refuser"]) == (
            "bob",
            protocol,
            "refused",
            "grant",
        )
        assert entry["address"] == "127.0.0.1"
        assert entry["vfid"] == audited.folder.vfid
        assert entry["target"] == "of-bob"
        assert any("bob had ro, and rw was needed" in line for line in found["because"]), found
        assert any(grant["id"] in line for line in found["now"]), found
        assert found["remedy"] == ["vfgateway grant add alice/data --user bob --permission rw"]
        assert audited.command("explain", decision).count("to make it pass") == 1


def test_an_explanation_says_when_it_would_pass_now(audited: Audited) -> None:
    """The remedy works, and then the explanation of the old refusal says so."""
    audited.site.manager("POST", "/vfgateway/v1/users", {"name": "carol", "password": BOB[1]})
    carol = ("carol", BOB[1])
    refused = audited.dav("GET", "/data/f", auth=carol)
    assert refused.status_code == 404
    found = audited.explain(decision_in(refused.text))
    assert found["entry"]["refuser"] == "grant"
    assert "carol has none in alice/data" in found["now"]
    audited.command(*found["remedy"][0].replace("rwd", "ro").split()[1:])
    eventually(lambda: audited.dav("GET", "/data", auth=carol).status_code != 404, "the grant counts")
    decision = decision_in(refused.text)
    eventually(
        lambda: "carol has ro in alice/data" in audited.explain(decision)["now"],
        "the grant counts in the process that explains, too",
    )


def test_a_limit_a_lock_and_a_login_are_explained(audited: Audited) -> None:
    """By the limit with its numbers, the holder of the lock with the command that breaks it, the state of the account."""
    audited.command("vfolder", "create", "alice/small", "--volume", "local", "--quota", "1KiB")
    full = audited.dav("PUT", "/small/big", auth=ALICE, data=b"x" * 2000)
    assert full.status_code == 507
    because = audited.explain(decision_in(full.text))
    assert because["entry"]["facts"]["limit"] == 1024
    assert "free 976 bytes, or raise the limit of vfolder small" in because["remedy"]
    assert "1024 bytes are left now" in because["now"]

    audited.command("grant", "add", "alice/small", "--user", "bob", "--permission", "rwd")
    info = '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>'
    lock = audited.dav("LOCK", "/small/doc", auth=ALICE, data=info)
    token = lock.headers["Lock-Token"].strip("<>")
    blocked = audited.sftp_refusal(lambda client: client.open("/small/doc", "w").close())
    found = audited.explain(decision_in(blocked))
    assert found["entry"]["refuser"] == "lock"
    assert found["remedy"] == [f"wait until it is released, or: vfgateway lock break {token}"]
    audited.command("lock", "break", token, "--yes")
    assert "nobody holds a lock there any more: try again" in audited.explain(decision_in(blocked))["now"]

    wrong = audited.dav("GET", "/data/f", auth=("bob", "wrong"))
    assert wrong.status_code == 401
    found = audited.explain(decision_in(wrong.text))
    assert (found["entry"]["user"], found["entry"]["refuser"]) == ("bob", "login")
    assert found["now"] == ["bob may log in: the password, key or address did not fit"]
    unknown = audited.dav("GET", "/data/f", auth=("nobody-of-that-name", "wrong"))
    assert unknown.text.replace(decision_in(unknown.text), "") == wrong.text.replace(decision_in(wrong.text), "")
    assert audited.explain(decision_in(unknown.text))["now"] == ["there is no user 'nobody-of-that-name' here"]


def test_what_was_done_is_on_record(audited: Audited) -> None:
    """Logins, grants, deletions of files and vfolders, with who, whence and how; by filters; and in the log."""
    assert audited.folder.put("going", b"x").status_code == 201
    assert audited.dav("DELETE", "/data/going", auth=ALICE).status_code == 204
    audited.command("vfolder", "create", "alice/gone", "--volume", "local")
    gone = json.loads(audited.command("vfolder", "show", "alice/gone", "--json"))["id"]
    audited.site.manager("POST", "/folder/delete", {"volume": "local", "vfid": gone})
    # Another process than the one that did it may be asked, and it writes a little later.
    removals = ("--user", "alice", "--event", "files_removed", "--vfolder", "alice/data")
    eventually(lambda: audited.audit(*removals), "it is on record")
    logins = audited.audit("--user", "alice", "--event", "login")
    assert {entry["protocol"] for entry in logins} >= {"client", "webdav"}
    assert {entry["address"] for entry in logins} == {"127.0.0.1"}
    (removed,) = audited.audit(*removals)
    assert (removed["protocol"], removed["target"]) == ("webdav", "going")
    grants = audited.audit("--event", "grant_added", "--vfolder", "alice/data")
    assert {entry["facts"]["permission"] for entry in grants} == {"ro"}
    assert {entry["protocol"] for entry in grants} == {"cli"}
    assert "bob" in {entry["facts"]["subject"] for entry in grants}
    deleted = [entry["event"] for entry in audited.audit("--since", "1h") if entry["target"] == "gone"]
    assert deleted[:1] == ["vfolder_created"]
    assert "vfolder_deleted" in deleted
    assert not [entry for entry in audited.audit("--refused") if entry["outcome"] != "refused"]
    eventually(lambda: "files_removed: " in audited.gateway.output, "the log tells it")
    for secret in (ALICE[1], BOB[1]):
        assert secret not in json.dumps(audited.audit("--limit", "10000"))
        assert secret not in audited.gateway.output


def test_a_flood_of_refusals_costs_few_rows(audited: Audited) -> None:
    """Hundreds of wrong requests of one client: each gets an identifier that can be explained, and the table grows by a bounded number."""
    before = len(audited.audit("--refused", "--limit", "10000"))
    session = requests.Session()
    told = set()
    for number in range(300):
        answer = session.put(f"{audited.site.dav_url}/data/flood-{number}", data=b"", auth=BOB, timeout=PATIENCE)
        told.add(decision_in(answer.text))
    rows: list[dict[str, Any]] = []

    def counted() -> int:
        rows[:] = audited.audit("--refused", "--limit", "10000")
        return sum(row["count"] for row in rows if row["decision"] in told)

    eventually(lambda: counted() >= 300, "all are counted")
    assert {row["decision"] for row in rows} >= told
    # Twenty in a minute of each process, and the minute may change meanwhile.
    assert 0 < len(rows) - before <= 20 * WORKERS * 2 + 20


def test_whoever_follows_sees_entries_of_every_process(audited: Audited) -> None:
    """``--follow`` prints them as they come."""
    code = "from vfgateway.cli.main import main; main()"
    options = ["--follow", "--json", "--limit", "1", "--event", "files_removed"]
    command = [sys.executable, "-c", code, "--config", str(audited.site.config), "audit", *options]
    names = [f"followed-{number}" for number in range(6)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as following:
        try:
            assert following.stdout is not None
            first = json.loads(following.stdout.readline())
            assert first["event"] == "files_removed"
            for name in names:
                assert audited.dav("PUT", f"/data/{name}", auth=ALICE, data=b"").status_code == 201
                assert audited.dav("DELETE", f"/data/{name}", auth=ALICE).status_code == 204
            seen = [json.loads(following.stdout.readline())["target"] for _ in names]
            assert sorted(seen) == names
        finally:
            following.send_signal(signal.SIGINT)


def test_grants_survive_a_kill_with_their_entries(audited: Audited) -> None:
    """An entry of a change is there as soon as the change is, whatever happens to the process a moment later."""
    workers = Path(f"/proc/{audited.gateway.pid}/task/{audited.gateway.pid}/children").read_text().split()
    audited.command("vfolder", "create", "alice/kept", "--volume", "local")
    grant = json.loads(audited.command("grant", "add", "alice/kept", "--user", "bob", "--permission", "rw", "--json"))
    for pid in workers:
        os.kill(int(pid), signal.SIGKILL)
    eventually(audited.site.ready, "the workers are back")
    (entry,) = audited.audit("--event", "grant_added", "--vfolder", "alice/kept")
    assert grant["permission"] == "rw" == entry["facts"]["permission"]

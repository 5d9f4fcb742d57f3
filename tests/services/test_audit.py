"""What the audit keeps, what it costs, and what it never loses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text
from twisted.internet.defer import Deferred

from tests.support.gateway import new_vfolder, running_gateway
from vfgateway.errors import LeavesFolder, LoginRequired, PermissionDenied
from vfgateway.model import Permission
from vfgateway.principals import Origin, Principal, PrincipalKind
from vfgateway.requestcontext import RequestContext
from vfgateway.services import audit_records
from vfgateway.services.audit import ALIKE, ROWS
from vfgateway.services.audit_records import Entry, Filter
from vfgateway.services.gateway import Gateway

EVERYTHING = Filter()


def asking(who: str, address: str = "192.0.2.1") -> RequestContext:
    """A request of somebody."""
    return RequestContext(Origin("webdav", address, "0123456789abcdef"), who=who, operation="PUT", target="/data/f")


async def entries(gateway: Gateway, **wanted: Any) -> list[Entry]:
    """All that fits."""
    return list(await gateway.audit.find(Filter(**wanted), 10_000))


async def test_what_is_alike_is_counted_and_what_is_many_stays_few(tmp_path: Path) -> None:
    """One client that goes on and on gets so many entries; a thousand clients get one for all that found no room. Nothing is uncounted, and
    every identifier that was told is known."""
    async with running_gateway(tmp_path) as gateway:
        told = set()
        for _ in range(500):
            error = PermissionDenied("f", "write this", "rw", "ro")
            gateway.audit.refused(error, asking("bob"))
            told.add(error.decision)
        mine = await entries(gateway, who="bob")
        assert len(mine) == ALIKE
        assert sum(entry.count for entry in mine) == 500
        for number in range(1000):
            error = PermissionDenied("f", "write this", "rw", "ro")
            gateway.audit.refused(error, asking(f"user{number}", f"2001:db8::{number:x}"))
            told.add(error.decision)
        all_of_them = await entries(gateway, outcome="refused")
        assert len(all_of_them) <= ROWS + 1
        assert sum(entry.count for entry in all_of_them) == 1500
        assert {entry.id for entry in all_of_them} == told
        (rest,) = [entry for entry in all_of_them if entry.facts.get("various")]
        assert (rest.who, rest.address) == ("", "")


async def test_what_is_no_refusal_is_not_on_record(tmp_path: Path) -> None:
    """The first request of a client that learns how to log in; and a way out of the folder is on record, but looks to the client like what is
    not there."""
    async with running_gateway(tmp_path) as gateway:
        required, outside = LoginRequired(), LeavesFolder("a/../..")
        for error in (required, outside):
            gateway.audit.refused(error, asking("bob"))
        assert (required.decision, outside.decision) == (None, None)
        (entry,) = await entries(gateway)
        assert (entry.refuser, entry.facts["error"]) == ("path", "LeavesFolder")


async def test_a_database_that_cannot_be_written_loses_nothing(tmp_path: Path) -> None:
    """Entries wait until it can."""
    async with running_gateway(tmp_path) as gateway:
        await gateway.database.write(lambda connection: connection.execute(text("ALTER TABLE audit RENAME TO gone")))
        gateway.audit.refused(PermissionDenied("f"), asking("bob"))
        await gateway.audit.flush()
        await gateway.database.write(lambda connection: connection.execute(text("ALTER TABLE gone RENAME TO audit")))
        assert [entry.who for entry in await entries(gateway)] == ["bob"]


async def test_what_is_being_written_is_found(tmp_path: Path) -> None:
    """Who asks while the audit writes waits for the end of that, and sees it."""
    async with running_gateway(tmp_path) as gateway:
        gateway.audit.refused(PermissionDenied("f"), asking("bob"))
        writing = Deferred.fromCoroutine(gateway.audit.flush())
        assert not writing.called
        assert [entry.who for entry in await entries(gateway)] == ["bob"]
        await writing


async def test_old_entries_go(tmp_path: Path) -> None:
    """What is older than it is kept for, and what is beyond the most that are kept; the rest stays."""
    async with running_gateway(tmp_path) as gateway:

        def fill(connection: Connection) -> None:
            audit_records.add(connection, [Entry(at=float(at), event="login", who=f"u{at}") for at in range(1, 101)])

        await gateway.database.write(fill)

        def strike(connection: Connection) -> bool:
            return audit_records.strike(connection, 11.0, 50)

        assert not await gateway.database.write(strike)
        left = await entries(gateway)
        assert [entry.who for entry in left] == [f"u{at}" for at in range(51, 101)]


async def test_changes_are_entered_with_what_makes_them(tmp_path: Path) -> None:
    """Sharing, leaving, handing over, trash: each with its subject; what fails leaves neither change nor entry."""
    async with running_gateway(tmp_path) as gateway:
        alice, bob = await gateway.accounts.create_user("alice"), await gateway.accounts.create_user("bob")
        vfolder = await new_vfolder(gateway, owner=alice.id, name="data")
        grant = await gateway.vfolders.grant(vfolder.key, "user", bob.id, Permission.RW)
        principal = Principal(PrincipalKind.USER, "bob", bob.id)

        async def leave() -> None:
            await gateway.collaboration.leave(principal, vfolder)

        await asking("bob").run(Deferred.fromCoroutine, leave())
        await gateway.trash.put(vfolder, "alice")
        await gateway.trash.restore(vfolder.key, "alice")
        found = {entry.event: entry for entry in await entries(gateway, vfid=str(vfolder.id))}
        assert list(found) == ["vfolder_created", "grant_added", "grant_left", "vfolder_trashed", "vfolder_restored"]
        assert found["grant_added"].facts["subject"] == "bob"
        assert (found["grant_left"].who, found["grant_left"].request_id) == ("bob", "0123456789abcdef")
        assert grant.permission is Permission.RW
        assert {entry.target for entry in found.values()} == {"data"}

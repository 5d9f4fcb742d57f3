"""Who came in a moment ago is let in again unasked, for as long as nothing has changed that he might be refused for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.support.gateway import ALICE, lockouts_clock, new_vfolder, running_gateway
from vfgateway.errors import AuthenticationFailed, TooManyAttempts, VFolderNotFound
from vfgateway.model import Permission, VFolder
from vfgateway.principals import Origin
from vfgateway.services.context import FolderContext
from vfgateway.services.database import FRESH
from vfgateway.services.entrances import Entrances, Login
from vfgateway.services.gateway import Gateway
from vfgateway.services.lockouts import FREE
from vfgateway.services.session import FolderSession

PASSWORD = "correct horse"
HERE, THERE = Origin("client", "192.0.2.1", "one"), Origin("client", "192.0.2.2", "two")


@attrs.define
class Door:
    """A front end's memory, and how often it had to ask.

    :ivar clock: of that, and of the lockouts; it stands still
    """

    gateway: Gateway
    vfolder: VFolder
    entrances: Entrances
    clock: Clock
    asked: int = 0

    async def log_in(self, name: str = "alice", password: str = PASSWORD, origin: Origin = HERE) -> Login:
        shown = f"{name}:{password}".encode()
        return await self.entrances.log_in(
            self.entrances.ticket(shown), lambda: UsernamePassword(name.encode(), password.encode()), origin
        )

    async def enter(self, name: str = "alice", origin: Origin = HERE) -> FolderSession:
        return await self.entrances.session(await self.log_in(name, origin=origin), origin).folder_named("data")


@pytest_twisted.async_yield_fixture
async def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    """Alice has a vfolder called ``data``, in which Bob may read; both have been inside."""
    async with running_gateway(tmp_path) as gateway:
        for name, user_id in (("alice", ALICE), ("bob", None)):
            user = await gateway.accounts.create_user(name, user_id=user_id)
            await gateway.accounts.set_password(user.id, PASSWORD)
        vfolder = await new_vfolder(gateway, name="data")
        await gateway.vfolders.grant(vfolder.key, "user", user.id, Permission.RO)
        clock = lockouts_clock(gateway, monkeypatch)
        monkeypatch.setattr(gateway, "reactor", clock)
        entrances = Entrances(gateway)
        found = Door(gateway, vfolder, entrances, clock)
        authenticate = gateway.authenticate

        async def counted(credentials: Any, origin: Origin) -> Any:
            found.asked += 1
            return await authenticate(credentials, origin)

        monkeypatch.setattr(gateway, "authenticate", counted)
        for _ in range(2):  # the first visit changes something: the name that is shown
            await found.enter("alice")
            await found.enter("bob")
        found.asked = 0
        yield found


async def test_nobody_is_asked_again_for_a_moment(door: Door) -> None:
    """Each request has its own name in what is noted of it; after a while, and of whoever comes from elsewhere, everything is asked anew."""
    first = await door.enter()
    again = attrs.evolve(HERE, request_id="again")
    second = await door.enter(origin=again)
    assert (door.asked, first.context.folder) == (0, second.context.folder)
    assert (first.context.origin, second.context.origin) == (HERE, again)
    await door.enter(origin=THERE)
    assert door.asked == 1
    door.clock.advance(FRESH)
    await door.enter()
    assert door.asked == 2


async def test_who_comes_back_is_in_the_same_place(door: Door) -> None:
    """What others keep for somebody who entered stays good when he logs in anew and nothing has changed."""

    async def kept() -> FolderContext:
        await door.enter("bob")
        return (await door.log_in("bob")).folders["data"].context

    first = await kept()
    assert first.principal.user_id is not None
    door.clock.advance(FRESH)
    assert await kept() is first
    await door.gateway.vfolders.grant(door.vfolder.key, "user", first.principal.user_id, Permission.RW)
    second = await kept()
    assert (first.access.permission, second.access.permission) == (Permission.RO, Permission.RW)
    door.clock.advance(FRESH)
    assert await kept() is second


async def test_wrong_logins_are_never_remembered(door: Door) -> None:
    """Whether or not somebody came in with the right one."""
    for _ in range(2):
        with pytest.raises(AuthenticationFailed):
            await door.log_in(password="wrong")
    assert door.asked == 2


async def test_who_has_been_here_is_waited_for(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """All who come at the same time together. Of who was never let in nobody has to find out twice; whoever may not enter does not."""
    shown = b"alice:" + PASSWORD.encode()
    ticket = door.entrances.ticket(shown)
    door.clock.advance(FRESH)
    asking: list[Deferred[None]] = []
    authenticate = door.gateway.authenticate

    async def slowly(credentials: Any, origin: Origin) -> Any:
        asking.append(Deferred())
        await asking[-1]
        return await authenticate(credentials, origin)

    monkeypatch.setattr(door.gateway, "authenticate", slowly)

    def at_once(name: str) -> FolderSession | None:
        return door.entrances.enter(ticket, name, lambda: UsernamePassword(b"alice", PASSWORD.encode()), HERE)

    def again(name: str) -> Deferred[FolderSession | None] | None:
        return door.entrances.enter_again(ticket, name, lambda: UsernamePassword(b"alice", PASSWORD.encode()), HERE)

    assert at_once("data") is None
    waiting = [again("data") for _ in range(3)]
    elsewhere = again("nowhere")
    assert len(asking) == 2
    for asked in asking:
        asked.callback(None)
    entered = [await each for each in waiting if each is not None]
    assert len(entered) == 3
    assert all(each is not None and each.context.vfolder.id == door.vfolder.id for each in entered)
    assert elsewhere is not None
    assert await elsewhere is None
    stranger = door.entrances.ticket(b"alice:wrong")
    assert door.entrances.enter_again(stranger, "data", lambda: UsernamePassword(b"alice", b"wrong"), HERE) is None


async def test_what_changes_counts_at_once(door: Door) -> None:
    """A password, a grant, a vfolder that is gone."""
    gateway, vfolder = door.gateway, door.vfolder
    (grant,) = await gateway.vfolders.grants(vfolder.key)
    await gateway.vfolders.revoke(grant.id)
    with pytest.raises(VFolderNotFound):
        await door.enter("bob")
    await door.enter()
    await gateway.lifecycle.delete("mem", vfolder.id)
    with pytest.raises(VFolderNotFound):
        await door.enter()
    await gateway.accounts.set_password(ALICE, "another horse")
    with pytest.raises(AuthenticationFailed):
        await door.log_in()


async def test_wrong_logins_lock_out_who_was_here_a_moment_ago(door: Door) -> None:
    """As they do everybody; and a right one that nobody was asked about ends their counting as any other does."""
    for right in (True, False):
        for number in range(FREE["login"]):
            with pytest.raises(AuthenticationFailed):
                await door.log_in(password=f"wrong {right} {number}")
        if right:
            await door.log_in()
            await door.gateway.database.write(lambda connection: None)  # what is noted of a login comes before
    assert door.asked == 2 * FREE["login"]
    with pytest.raises(AuthenticationFailed):
        await door.log_in(password="wrong at last")
    with pytest.raises(TooManyAttempts):
        await door.log_in()

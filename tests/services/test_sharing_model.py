"""Sharing against a model: whatever is granted, revoked, offered, accepted, left, handed over, deleted and restored, and whenever, nobody
may do what the model forbids, or may not do what it allows.

The model knows owners, members, grants and offers as plain sets and dictionaries, and says in sentences who may do what.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.internet.threads import blockingCallFromThread, deferToThread

from tests.support.databases import ThreadsOf
from tests.support.machines import explore
from vfgateway import config
from vfgateway.assembly import make_authenticators
from vfgateway.backends.memory import MemoryVolume
from vfgateway.errors import GatewayError, NotFound, PermissionDenied
from vfgateway.model import Permission, QuotaScopeId, ScopeKind, VFolder, VFolderId
from vfgateway.paths import ROOT, parse_text
from vfgateway.principals import Origin, Principal
from vfgateway.services.gateway import Gateway
from vfgateway.services.sharelinks import NewLink

T = TypeVar("T")

PEOPLE = {name: UUID(int=number) for number, name in enumerate(("alice", "bob", "carol"), 1)}
CREW = UUID(int=100)
#: Whose the vfolders are at the beginning.
FOLDERS = {"hers": "alice", "theirs": "crew"}
#: Time moves by steps that no expiry comes near.
STEP, LIFETIMES = 600.0, (None, 1000.0, 2500.0)
RANK = {"none": 0, "ro": 1, "rw": 2, "rwd": 3}

people = st.sampled_from(sorted(PEOPLE))
folders = st.sampled_from(sorted(FOLDERS))
permissions = st.sampled_from(["ro", "rw", "rwd"])
lifetimes = st.sampled_from(LIFETIMES)


@attrs.define(eq=False)
class Folder:
    """A vfolder as the model knows it; grants are by subject, with their end."""

    owner: str
    grants: dict[str, tuple[str, float | None]] = attrs.Factory(dict)
    offers: dict[str, tuple[str, str, float | None, str]] = attrs.Factory(dict)
    gone: bool = False
    expires: float | None = None


class SharingModel(RuleBasedStateMachine):
    """``folders``, ``members`` and ``leaders`` are the truth."""

    template: Path

    @initialize()
    def begin(self) -> None:
        """Three people, a crew that alice leads and bob is in, a vfolder of alice's and one of the crew's."""
        self.folder = Path(tempfile.mkdtemp(prefix="sharing-"))
        shutil.copytree(self.template, self.folder, dirs_exist_ok=True)
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.gateway: Gateway | None = None
        self.members, self.leaders = {"alice", "bob"}, {"alice"}
        self.folders = {name: Folder(owner) for name, owner in FOLDERS.items()}
        self.links: list[tuple[NewLink, str, str]] = []
        self._run(self._start())

    async def _start(self) -> None:
        configuration = config.parse("[authenticators.accounts]\n", self.folder)
        gateway = Gateway(configuration, ThreadsOf(reactor, self.clock))
        gateway.install([MemoryVolume("mem", reactor)], list(make_authenticators(configuration, gateway).values()))
        await gateway.start()
        self.gateway = gateway
        for name, user_id in PEOPLE.items():
            await gateway.accounts.create_user(name, user_id=user_id)
        await gateway.accounts.create_group("crew", group_id=CREW)
        await gateway.accounts.set_member(CREW, PEOPLE["alice"], administrator=True)
        await gateway.accounts.set_member(CREW, PEOPLE["bob"])
        self.keys: dict[str, int] = {}
        for number, (name, owner) in enumerate(FOLDERS.items()):
            kind = ScopeKind.PROJECT if owner == "crew" else ScopeKind.USER
            scope = QuotaScopeId(kind, self._uuid(owner))
            vfolder = await gateway.lifecycle.create("mem", VFolderId(scope, UUID(int=500 + number)), name=name)
            self.keys[name] = vfolder.key

    def _uuid(self, name: str) -> UUID:
        return CREW if name == "crew" else PEOPLE[name]

    @property
    def _gateway(self) -> Gateway:
        assert self.gateway is not None
        return self.gateway

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        call: Any = blockingCallFromThread
        result: T = call(reactor, lambda: ensureDeferred(work))
        return result

    def _who(self, name: str) -> Principal:
        return self._run(self._gateway.accounts.principal_of(PEOPLE[name]))

    def _vfolder(self, name: str) -> VFolder:
        return self._run(self._gateway.vfolders.by_key(self.keys[name]))

    def teardown(self) -> None:
        """Stop, and leave nothing."""
        if getattr(self, "gateway", None) is not None:
            self._run(self._gateway.stop())
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    # --- the model ---

    def _administers(self, who: str, folder: Folder) -> bool:
        return who in self.leaders if folder.owner == "crew" else folder.owner == who

    def _is_over(self, end: float | None) -> bool:
        return end is not None and self.clock.seconds() >= end

    def _expected(self, who: str, folder: Folder) -> str:
        """What somebody may do with the content, rule by rule."""
        if folder.gone or self._is_over(folder.expires):
            return "none"
        if self._administers(who, folder):
            return "rwd"
        live = {subject: permission for subject, (permission, end) in folder.grants.items() if not self._is_over(end)}
        found = ["none"]
        if who in live:
            found.append(live[who])
        if who in self.members:
            if "crew" in live:
                found.append(live["crew"])
            elif folder.owner == "crew":
                found.append("rw")
        return max(found, key=RANK.__getitem__)

    def _sees(self, who: str, folder: Folder) -> bool:
        return self._expected(who, folder) != "none"

    def _end(self, lifetime: float | None) -> float | None:
        return None if lifetime is None else self.clock.seconds() + lifetime

    def _try(self, allowed: bool, work: Coroutine[Any, Any, Any]) -> bool:
        """Do it; whether it was done, which must be as the model says."""
        try:
            self._run(work)
        except GatewayError:
            assert not allowed
            return False
        assert allowed
        return True

    # --- what people do ---

    @rule(
        who=people, name=folders, subject=st.sampled_from([*sorted(PEOPLE), "crew"]), what=permissions, life=lifetimes
    )
    def share(self, who: str, name: str, subject: str, what: str, life: float | None) -> None:
        """Open at once."""
        folder, end = self.folders[name], self._end(life)
        allowed = self._administers(who, folder) and not folder.gone and folder.owner != subject
        if subject == "crew" and folder.owner == "crew":
            allowed = self._administers(who, folder) and not folder.gone
        kind: Any = "group" if subject == "crew" else "user"
        permission = Permission.parse(what)
        work = self._gateway.collaboration.share(
            self._who(who), self._vfolder(name), kind, self._uuid(subject), permission, end
        )
        if self._try(allowed, work):
            folder.grants[subject] = (what, end)

    @rule(who=people, name=folders, pick=st.integers(0, 5))
    def revoke(self, who: str, name: str, pick: int) -> None:
        """Take one grant back."""
        folder = self.folders[name]
        grants = self._run(self._gateway.vfolders.grants(self.keys[name])) if folder.grants else ()
        if grants:
            grant = list(grants)[pick % len(grants)]
            subject = "crew" if grant.subject == CREW else next(n for n, i in PEOPLE.items() if i == grant.subject)
            allowed = self._administers(who, folder) and not folder.gone
            if self._try(allowed, self._gateway.collaboration.unshare(self._who(who), self._vfolder(name), grant.id)):
                del folder.grants[subject]

    @rule(who=people, name=folders)
    def leave(self, who: str, name: str) -> None:
        """Give up one's own grant."""
        folder = self.folders[name]
        if self._try(who in folder.grants, self._gateway.collaboration.leave(self._who(who), self._vfolder(name))):
            del folder.grants[who]

    @rule(who=people, name=folders, user=people, role=st.sampled_from(["ro", "rw", "rwd", "owner"]), life=lifetimes)
    def invite(self, who: str, name: str, user: str, role: Any, life: float | None) -> None:
        """Offer."""
        folder, end = self.folders[name], self._end(life)
        allowed = self._administers(who, folder) and not folder.gone and folder.owner != user
        made: list[str] = []

        async def offer() -> None:
            principal = await self._gateway.accounts.principal_of(PEOPLE[who])
            vfolder = await self._gateway.vfolders.by_key(self.keys[name])
            keep = Permission.RO if role == "owner" else Permission.NONE
            invitation = await self._gateway.collaboration.invite(
                principal, vfolder, PEOPLE[user], role, grant_expires=end, keep=keep
            )
            made.append(invitation.id)

        if self._try(allowed, offer()):
            folder.offers[user] = (role, made[0], end, who)

    @rule(who=people, name=folders, user=people)
    def accept(self, who: str, name: str, user: str) -> None:
        """Take an offer, perhaps somebody else's."""
        folder = self.folders[name]
        if user not in folder.offers:
            return
        role, identity, end, inviter = folder.offers[user]
        mine = who == user and not folder.gone
        good = mine and self._administers(inviter, folder)
        done = self._try(good, self._gateway.collaboration.accept(self._who(who), identity))
        if mine:
            del folder.offers[user]
        if done and role == "owner":
            former = folder.owner
            folder.owner = user
            folder.offers.clear()
            folder.grants.pop(user, None)
            if former not in ("crew", user):
                folder.grants[former] = ("ro", None)
        elif done:
            folder.grants[user] = (role, end)

    @rule(who=people, name=folders, user=people)
    def decline(self, who: str, name: str, user: str) -> None:
        """Refuse an offer."""
        folder = self.folders[name]
        if user in folder.offers:
            allowed = who == user and not folder.gone
            identity = folder.offers[user][1]
            if self._try(allowed, self._gateway.collaboration.decline(self._who(who), identity)):
                del folder.offers[user]

    @rule(who=people, name=folders)
    def hand_to_the_crew(self, who: str, name: str) -> None:
        """Only who leads it can make it the crew's."""
        folder = self.folders[name]
        allowed = self._administers(who, folder) and who in self.leaders and not folder.gone
        work = self._gateway.collaboration.transfer(self._who(who), self._vfolder(name), ScopeKind.PROJECT, CREW)
        if self._try(allowed, work):
            folder.owner = "crew"
            folder.offers.clear()

    @rule(who=people, name=folders, user=people)
    def seize(self, who: str, name: str, user: str) -> None:
        """Nobody makes a user the owner who was not asked."""
        work = self._gateway.collaboration.transfer(self._who(who), self._vfolder(name), ScopeKind.USER, PEOPLE[user])
        self._try(False, work)

    @rule(name=folders, restored=st.booleans())
    def delete_or_restore(self, name: str, restored: bool) -> None:
        """Into the trash, and out of it."""
        folder = self.folders[name]
        if folder.gone and restored:
            self._run(self._gateway.trash.restore(self.keys[name], "test"))
            folder.gone = False
            if self._is_over(folder.expires):
                folder.expires = None
        elif not folder.gone and not restored:
            self._run(self._gateway.trash.put(self._vfolder(name), "test"))
            folder.gone = True

    @rule(name=folders, life=lifetimes)
    def limit_in_time(self, name: str, life: float | None) -> None:
        """Make it temporary, or lasting."""
        folder = self.folders[name]
        folder.expires = self._end(life)
        self._run(self._gateway.vfolders.update(self.keys[name], expires=folder.expires))

    @rule(who=people, state=st.sampled_from(["out", "member", "leader"]))
    def change_the_crew(self, who: str, state: str) -> None:
        """People come and go."""
        accounts = self._gateway.accounts
        if state == "out":
            if who in self.members:
                self._run(accounts.remove_member(CREW, PEOPLE[who]))
            self.members.discard(who)
            self.leaders.discard(who)
            return
        self._run(accounts.set_member(CREW, PEOPLE[who], administrator=state == "leader"))
        self.members.add(who)
        (self.leaders.add if state == "leader" else self.leaders.discard)(who)

    @rule(who=people, name=folders)
    def make_a_link(self, who: str, name: str) -> None:
        """Which rests on the rights of whoever makes it."""
        folder = self.folders[name]

        async def make() -> None:
            principal = await self._gateway.accounts.principal_of(PEOPLE[who])
            vfolder = await self._gateway.vfolders.by_key(self.keys[name])
            hands = await self._gateway.session(principal, Origin("test")).folder(vfolder.id, vfolder.volume)
            self.links.append((await self._gateway.share_links.create(hands, ROOT, "download"), who, name))

        self._try(self._sees(who, folder) and self._administers(who, folder), make())

    @rule(count=st.integers(1, 3))
    def wait(self, count: int) -> None:
        """Time passes; what has expired is swept, or not yet."""
        self._run(_advance(self.clock, count * STEP + 0.5))

    @rule()
    def sweep(self) -> None:
        """What has expired goes to the trash."""
        self._run(self._gateway.retention.look())
        for folder in self.folders.values():
            folder.gone = folder.gone or self._is_over(folder.expires)

    # --- what must hold ---

    @invariant()
    def everybody_may_what_the_model_says(self) -> None:
        """Seen and done: by the decision, by the list of vfolders, by acting, and by links."""
        if not hasattr(self, "keys"):
            return
        for who in PEOPLE:
            self._run(self._check(who))
        for made, who, name in self.links[-3:]:
            folder = self.folders[name]
            good = self._sees(who, folder) and self._administers(who, folder)
            assert self._run(self._opens(made)) == good

    async def _opens(self, made: NewLink) -> bool:
        try:
            await self._gateway.share_links.open(made.secret, None, Origin("test"))
        except NotFound:
            return False
        return True

    async def _check(self, who: str) -> None:
        gateway = self._gateway
        principal = await gateway.accounts.principal_of(PEOPLE[who])
        seen = {entry.vfolder.key for entry in await gateway.vfolders.visible(principal)}
        for name, folder in self.folders.items():
            expected = self._expected(who, folder)
            vfolder = await gateway.vfolders.by_key(self.keys[name])
            assert str((await gateway.vfolders.access(principal, vfolder)).permission) == expected, (who, name)
            assert (self.keys[name] in seen) == (expected != "none"), (who, name)
            assert await self._done(principal, vfolder) == expected, (who, name)

    async def _done(self, principal: Principal, vfolder: VFolder) -> str:
        """What really works: entering, making a directory, removing one of somebody else's."""
        try:
            hands = await self._gateway.session(principal, Origin("test")).folder(vfolder.id, vfolder.volume)
            await (await hands.list(ROOT)).close()
        except NotFound:
            return "none"
        theirs = parse_text("theirs")
        owner = await self._gateway.volumes.get("mem").folder(vfolder.id, principal.actor)
        await owner.make_dir(theirs)
        try:
            await hands.make_dir(parse_text("mine"))
            await hands.remove_dir(parse_text("mine"))
            await hands.remove_dir(theirs)
        except PermissionDenied as refusal:
            await owner.remove_dir(theirs)
            return "ro" if str(refusal.path) == "mine" else "rw"
        return "rwd"


async def _advance(clock: Clock, seconds: float) -> None:
    clock.advance(seconds)


@pytest.mark.timeout(1200)  # Hypothesis takes up to five minutes to shrink what it has found
async def test_sharing_agrees_with_the_model(template: Path, request: pytest.FixtureRequest) -> None:
    """Whatever happens in whichever order."""
    machine = type("Model", (SharingModel,), {"template": template})
    # In a thread of its own, since Hypothesis waits for each step, which the reactor must not.
    await deferToThread(explore, machine, request, examples=12, steps=30)

"""Locks against a model: two people, every verb that changes something, time, lost locks, restarts.

The model is written from RFC 4918 sections 6 and 7, not from the tables: a lock is a tuple, a question about it goes through the list
of all of them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
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
from vfgateway.errors import GatewayError, Locked, LockLost, PermissionDenied
from vfgateway.model import FileType, OpenMode, Permission, QuotaScopeId, ScopeKind, VFolderId
from vfgateway.paths import ROOT, FolderPath, parse_text
from vfgateway.principals import INTERNAL, ORCHESTRATOR, Origin, Principal, PrincipalKind
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession
from vfgateway.services.transfer import Upload

T = TypeVar("T")

PEOPLE = {"alice": UUID(int=1), "bob": UUID(int=2)}
#: Whose vfolder it is: may end other people's locks.
OWNER = "alice"
#: Time moves by steps that no expiry comes near, since real time passes too.
STEP, TIMEOUTS = 600.0, (None, 1000.0, 2500.0)

people = st.sampled_from(sorted(PEOPLE))
paths = st.sampled_from([parse_text(text) for text in ("a", "a/x", "a/y", "a/d", "a/d/x", "b", "b/x", "c", "aa")])
#: Which tokens are shown: none, one's own, or all that exist (somebody overheard them).
shown = st.sampled_from(["none", "own", "all"])


@attrs.define(eq=False)
class Held:
    """A lock as the model knows it."""

    token: str
    who: str
    path: FolderPath
    infinite: bool
    exclusive: bool
    expires: float | None
    gone: bool = False

    def covers(self, path: FolderPath) -> bool:
        """RFC 4918 section 7.4 and 7.5: the resource itself, or with infinite depth all below it."""
        return path == self.path or (self.infinite and path.within(self.path))


@attrs.define(eq=False)
class Begun:
    """An upload under way.

    :ivar under: the newest of the locks that it was begun under
    """

    who: str
    path: FolderPath
    tokens: frozenset[str]
    under: Held | None
    upload: Upload


class LockModel(RuleBasedStateMachine):
    """``locks`` and ``tree`` are the truth."""

    template: Path

    held = Bundle("held")
    uploads = Bundle("uploads")

    # --- the gateway ---

    @initialize()
    def begin(self) -> None:
        """An empty vfolder, in which both may do all."""
        self.folder = Path(tempfile.mkdtemp(prefix="locks-"))
        shutil.copytree(self.template, self.folder, dirs_exist_ok=True)
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.volume = MemoryVolume("mem", reactor)
        self.locks: list[Held] = []
        self.tree: dict[FolderPath, bytes | None] = {}
        self.under_way: list[Begun] = []
        self.written = 0
        self.gateway: Gateway | None = None
        self._run(self._start())
        self._run(self._populate())
        for name in ("a", "a/d", "b"):
            self.make_dir(OWNER, "none", parse_text(name))
        for name in ("a/x", "c"):
            self.put(OWNER, "none", parse_text(name))

    async def _start(self) -> None:
        settings = config.parse("[authenticators.accounts]\n", self.folder)
        gateway = Gateway(settings, ThreadsOf(reactor, self.clock))
        gateway.install([self.volume], list(make_authenticators(settings, gateway).values()))
        await gateway.start()
        self.gateway = gateway

    async def _populate(self) -> None:
        gateway = self._gateway
        for name, user_id in PEOPLE.items():
            await gateway.accounts.create_user(name, user_id=user_id)
        vfid = VFolderId(QuotaScopeId(ScopeKind.USER, PEOPLE[OWNER]), UUID(int=3))
        self.vfolder = await gateway.lifecycle.create("mem", vfid, name="data")
        for name, user_id in PEOPLE.items():
            if name != OWNER:
                await gateway.vfolders.grant(self.vfolder.key, "user", user_id, Permission.RWD)

    @property
    def _gateway(self) -> Gateway:
        assert self.gateway is not None
        return self.gateway

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        call: Any = blockingCallFromThread
        result: T = call(reactor, lambda: ensureDeferred(work))
        return result

    def _hands(self, who: str, tokens: frozenset[str] = frozenset()) -> FolderSession:
        principal = Principal(PrincipalKind.USER, who, user_id=PEOPLE[who])
        entered = self._run(self._gateway.session(principal, Origin("test")).folder(self.vfolder.id))
        return entered.holding(tokens)

    def teardown(self) -> None:
        """Stop, and leave nothing."""
        for begun in getattr(self, "under_way", ()):
            self._run(begun.upload.abort())
        if getattr(self, "gateway", None) is not None:
            self._run(self._gateway.stop())
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    # --- the model ---

    @property
    def _live(self) -> list[Held]:
        now = self.clock.seconds()
        return [lock for lock in self.locks if not lock.gone and (lock.expires is None or lock.expires > now)]

    def _tokens(self, who: str, which: str) -> frozenset[str]:
        return frozenset(lock.token for lock in self.locks if which == "all" or (which == "own" and lock.who == who))

    def _permitted(self, path: FolderPath, who: str, tokens: frozenset[str]) -> bool:
        """Whether ``who`` may write ``path`` itself: no exclusive lock of others over it, and of shared ones at least one's own."""
        over = [lock for lock in self._live if lock.covers(path)]
        mine = [lock for lock in over if lock.token in tokens and lock.who == who]
        strange = [lock for lock in over if lock not in mine]
        return not any(lock.exclusive for lock in strange) and (not strange or bool(mine))

    def _permitted_tree(self, path: FolderPath, who: str, tokens: frozenset[str]) -> bool:
        """The same for all below it that is locked."""
        below = {lock.path for lock in self._live if lock.path.within(path)}
        return all(self._permitted(each, who, tokens) for each in {path, *below})

    def _may_name(self, path: FolderPath, who: str, tokens: frozenset[str]) -> bool:
        """Whether ``who`` may change which members the collection above has (section 7.4)."""
        over = [lock for lock in self._live if lock.path == path.parent]
        return not over or any(lock.token in tokens and lock.who == who for lock in over)

    def _is_dir(self, path: FolderPath) -> bool:
        return path.is_root or (path in self.tree and self.tree[path] is None)

    def _drop(self, path: FolderPath) -> None:
        """What was there is gone, and its locks with it."""
        for each in [each for each in self.tree if each.within(path)]:
            del self.tree[each]
        for lock in self.locks:
            lock.gone = lock.gone or lock.path.within(path)

    def _judge(self, allowed: bool, work: Coroutine[Any, Any, Any]) -> bool:
        """Do it; whether it was done. It must be refused as locked exactly if the model says so."""
        try:
            self._run(work)
        except Locked:
            assert not allowed, "refused, though no lock stands in the way"
            return False
        assert allowed, "done, though it is locked"
        return True

    def _content(self) -> bytes:
        self.written += 1
        return b"%d" % self.written

    # --- locks ---

    @rule(
        target=held,
        who=people,
        path=paths | st.just(ROOT),
        infinite=st.booleans(),
        exclusive=st.booleans(),
        timeout=st.sampled_from(TIMEOUTS),
    )
    def lock(self, who: str, path: FolderPath, infinite: bool, exclusive: bool, timeout: float | None) -> Any:
        """Take one, whether anything is there or not."""
        over = [each for each in self._live if each.covers(path) or (infinite and each.path.within(path))]
        allowed = not any(exclusive or each.exclusive for each in over)
        hands = self._hands(who)
        try:
            taken = self._run(hands.lock(path, infinite=infinite, exclusive=exclusive, timeout=timeout))
        except Locked as refusal:
            assert not allowed
            assert refusal.owner in {each.who for each in over}
            return multiple()
        assert allowed, "granted beside one that allows no other"
        expires = None if timeout is None else self.clock.seconds() + timeout
        assert taken.expires == expires
        made = Held(taken.token, who, path, infinite, exclusive, expires)
        self.locks.append(made)
        return made

    @rule(lock=held, who=people, timeout=st.sampled_from(TIMEOUTS))
    def refresh(self, lock: Held, who: str, timeout: float | None) -> None:
        """Only the holder, and only while it lives."""
        try:
            self._run(self._hands(who).refresh_lock(lock.token, timeout))
        except LockLost:
            assert lock not in self._live or who != lock.who
            return
        assert lock in self._live and who == lock.who
        lock.expires = None if timeout is None else self.clock.seconds() + timeout

    @rule(lock=held, who=people)
    def unlock(self, lock: Held, who: str) -> None:
        """The holder, and whoever owns the vfolder."""
        try:
            self._run(self._hands(who).unlock(lock.token))
        except LockLost:
            assert lock not in self._live
        except PermissionDenied:
            assert lock in self._live and who not in (lock.who, OWNER)
        else:
            assert lock in self._live and who in (lock.who, OWNER)
            lock.gone = True

    @rule(lock=held)
    def break_lock(self, lock: Held) -> None:
        """By an administrator."""
        alive = lock in self._live
        assert self._run(self._gateway.locks.break_lock(lock.token)) or not alive
        lock.gone = True

    @rule(steps=st.integers(1, 4))
    def time_passes(self, steps: int) -> None:
        """Locks expire."""
        self.clock.advance(steps * STEP)

    @rule()
    def restart(self) -> None:
        """What the database holds is all that is left; uploads under way end as by a client that left."""
        for begun in self.under_way:
            self._run(begun.upload.abort())
        self.under_way.clear()
        self._run(self._gateway.stop())
        self._run(self._start())

    # --- changes ---

    def _where(self, path: FolderPath) -> bool:
        """Whether a file can be at ``path``."""
        return self._is_dir(path.parent) and not self._is_dir(path)

    @rule(who=people, which=shown, path=paths)
    def put(self, who: str, which: str, path: FolderPath) -> None:
        """A file by upload, from its first byte to its publication."""
        if not self._where(path):
            return
        tokens, content = self._tokens(who, which), self._content()
        allowed = self._permitted(path, who, tokens) and (path in self.tree or self._may_name(path, who, tokens))

        async def put() -> None:
            async with await hands.upload(path, size=len(content)) as upload:
                await upload.write([content])
                await upload.commit()

        hands = self._hands(who, tokens)
        if self._judge(allowed, put()):
            self.tree[path] = content

    @rule(who=people, which=shown, path=paths)
    def write_in_place(self, who: str, which: str, path: FolderPath) -> None:
        """As SFTP writes."""
        if not self._where(path):
            return
        tokens, content = self._tokens(who, which), self._content()
        allowed = self._permitted(path, who, tokens) and (path in self.tree or self._may_name(path, who, tokens))

        async def write() -> None:
            handle = await hands.open(path, OpenMode.WRITE | OpenMode.CREATE | OpenMode.TRUNCATE)
            try:
                await handle.write(0, [content])
            finally:
                await handle.close()

        hands = self._hands(who, tokens)
        if self._judge(allowed, write()):
            self.tree[path] = content

    @rule(target=uploads, who=people, which=shown, path=paths)
    def begin_upload(self, who: str, which: str, path: FolderPath) -> Any:
        """One that takes its time. Who may not write is refused before a byte was sent."""
        if not self._where(path):
            return multiple()
        tokens = self._tokens(who, which)
        allowed = self._permitted(path, who, tokens) and (path in self.tree or self._may_name(path, who, tokens))
        hands, upload = self._hands(who, tokens), list[Upload]()

        async def begin() -> None:
            upload.append(await hands.upload(path, size=None))

        if not self._judge(allowed, begin()):
            return multiple()
        mine = [lock for lock in self._live if lock.token in tokens and lock.who == who]
        new = path not in self.tree
        mine = [lock for lock in mine if lock.covers(path) or (new and lock.path == path.parent)]
        newest = max(mine, key=self.locks.index, default=None)
        begun = Begun(who, path, tokens, newest, upload[0])
        self.under_way.append(begun)
        return begun

    @rule(begun=consumes(uploads))
    def finish_upload(self, begun: Begun) -> None:
        """It is published unless the lock that it was begun under is lost, or somebody else has one now (fencing)."""
        if begun not in self.under_way:
            return
        self.under_way.remove(begun)
        content, path = self._content(), begun.path
        lost = begun.under is not None and begun.under not in self._live
        allowed = self._permitted(path, begun.who, begun.tokens)
        allowed = allowed and (path in self.tree or self._may_name(path, begun.who, begun.tokens))

        async def finish() -> None:
            async with begun.upload as upload:
                await upload.write([content])
                await upload.commit()

        try:
            done = self._judge(allowed and not lost, finish())
        except LockLost:
            assert lost
            return
        except GatewayError:
            assert not self._where(path), "refused, though a file can be there"
            return
        if done:
            self.tree[path] = content

    @rule(who=people, which=shown, path=paths)
    def make_dir(self, who: str, which: str, path: FolderPath) -> None:
        """A directory."""
        if path in self.tree or not self._is_dir(path.parent):
            return
        tokens = self._tokens(who, which)
        allowed = self._permitted(path, who, tokens) and self._may_name(path, who, tokens)
        if self._judge(allowed, self._hands(who, tokens).make_dir(path)):
            self.tree[path] = None

    @rule(who=people, which=shown, path=paths)
    def remove(self, who: str, which: str, path: FolderPath) -> None:
        """A file, or a tree."""
        if path not in self.tree:
            return
        tokens = self._tokens(who, which)
        allowed = self._permitted_tree(path, who, tokens) if self._is_dir(path) else self._permitted(path, who, tokens)
        allowed = allowed and self._may_name(path, who, tokens)
        if self._judge(allowed, self._hands(who, tokens).remove_tree(path)):
            self._drop(path)

    @rule(who=people, which=shown, source=paths, place=paths)
    def rename(self, who: str, which: str, source: FolderPath, place: FolderPath) -> None:
        """A file or tree to another place, a file over a file too. Locks do not move along (section 7.7)."""
        possible = source in self.tree and self._is_dir(place.parent) and not place.within(source)
        over = place in self.tree
        if not possible or (over and (self._is_dir(source) or self._is_dir(place))):
            return
        tokens = self._tokens(who, which)
        allowed = self._permitted_tree(source, who, tokens) and self._permitted_tree(place, who, tokens)
        allowed = allowed and self._may_name(source, who, tokens) and self._may_name(place, who, tokens)
        if self._judge(allowed, self._hands(who, tokens).rename(source, place)):
            moved = {path: content for path, content in self.tree.items() if path.within(source)}
            self._drop(source)
            for path, content in moved.items():
                self.tree[place.join(path.relative_to(source))] = content

    @rule(who=people, which=shown, source=paths, place=paths)
    def copy(self, who: str, which: str, source: FolderPath, place: FolderPath) -> None:
        """A file. Reading needs no token, and locks do not come along (section 7.7)."""
        if self.tree.get(source) is None or not self._where(place) or source == place:
            return
        tokens = self._tokens(who, which)
        allowed = self._permitted(place, who, tokens) and (place in self.tree or self._may_name(place, who, tokens))
        if self._judge(allowed, self._hands(who, tokens).copy(source, place)):
            self.tree[place] = self.tree[source]

    @rule(who=people, which=shown, path=paths)
    def set_properties(self, who: str, which: str, path: FolderPath) -> None:
        """Properties are under the lock as content is (section 7.3)."""
        if path not in self.tree:
            return
        tokens = self._tokens(who, which)
        hands = self._hands(who, tokens)
        self._judge(self._permitted(path, who, tokens), hands.set_properties(path, {"{x}y": "<y xmlns='x'/>"}))

    # --- what must hold ---

    @invariant()
    def locks_are_those_of_the_model(self) -> None:
        """Each that lives is listed and found, and no other."""
        if not hasattr(self, "locks"):
            return
        listed = self._run(self._gateway.locks.list(self.vfolder))
        seen = {(lock.token, lock.path, lock.infinite, lock.exclusive, lock.expires, lock.owner) for lock in listed}
        assert seen == {
            (each.token, each.path, each.infinite, each.exclusive, each.expires, each.who) for each in self._live
        }

    @invariant()
    def files_are_those_of_the_model(self) -> None:
        """Nothing refused left a trace, nothing granted was lost."""
        if hasattr(self, "tree"):
            assert self._run(self._read_tree()) == self.tree

    async def _read_tree(self) -> Mapping[FolderPath, bytes | None]:
        hands = await self._gateway.session(ORCHESTRATOR, INTERNAL).folder(self.vfolder.id)
        found: dict[FolderPath, bytes | None] = {}
        walk = hands.walk(ROOT)
        try:
            while entries := await walk.read():
                for entry in entries:
                    found[entry.path] = None
                    if entry.stat.type is FileType.FILE:
                        download = await hands.download(entry.path)
                        found[entry.path] = await download.file.read(0, 100)
                        await download.close()
        finally:
            await walk.close()
        return found


@pytest.mark.timeout(1200)  # Hypothesis takes up to five minutes to shrink what it has found
async def test_locks_agree_with_the_model(template: Path, request: pytest.FixtureRequest) -> None:
    """Whatever happens in whichever order."""
    machine = type("Model", (LockModel,), {"template": template})
    # In a thread of its own, since Hypothesis waits for each step, which the reactor must not.
    await deferToThread(explore, machine, request, examples=20, steps=40)

"""Quota against a model: two processes, any order of events, crashes at any moment, one disk that tells the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from sqlalchemy import select, update
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.support.ledgers import SteppedDatabase, changed
from tests.support.machines import explore
from vfgateway.errors import QuotaExceeded, VolumeUnavailable
from vfgateway.model import Limits, QuotaScopeId, ScopeKind, Usage, VFolder, VFolderId, VFolderStatus
from vfgateway.services import folderusage, holds, schema
from vfgateway.services.dirty import DirtyMarks
from vfgateway.services.headroom import LOOK, PATIENCE
from vfgateway.services.quota import Quota
from vfgateway.services.reservations import Reservation
from vfgateway.treeusage import LOOSE

ALICE = UUID("11111111-1111-4111-8111-111111111111")
SCOPE = QuotaScopeId(ScopeKind.USER, ALICE)
LIMIT = 400

amounts = st.builds(Usage, st.integers(0, 150), st.integers(0, 2))
folders = st.sampled_from([LOOSE, b"a", b"b"])
some_limits = st.builds(Limits, st.sampled_from([None, LIMIT, LIMIT // 2]), st.sampled_from([None, 6]))


@attrs.define(eq=False)
class Promise:
    """A reservation as the model sees it."""

    vfolder: int
    process: str
    amount: Usage
    holder: str | None = None
    reservation: Reservation | None = None


@attrs.define(eq=False)
class Waiting:
    """Something asked of a process that has not answered yet.

    :ivar more: what it may come to hold beyond what it holds
    :ivar frees: on which vfolder it gives back how much, as the disk knows already and the ledger may not
    :ivar ends: the upload that it ends, if it is for one
    :ivar tightest: by subject and resource, how far the limit was passed at most since it was asked, had all been granted
    """

    process: str
    deferred: Deferred[Any]
    promise: Promise | None
    more: Usage
    settled: Callable[[Any], None]
    frees: tuple[int, Usage] = (0, Usage())
    ends: Promise | None = None
    tightest: dict[tuple[str, str], int] = attrs.Factory(dict)


@attrs.define(eq=False)
class Instance:
    """One process. Its time ends with it."""

    id: str
    clock: Clock = attrs.Factory(Clock)
    dirty: DirtyMarks = attrs.field(init=False)
    quota: Quota = attrs.field(init=False)
    boot_id: str = "boot"

    def suspect(self) -> None:
        """Whoever is dead is found dead by a rule of the model."""


class QuotaModel(RuleBasedStateMachine):
    """The disk (``stored``) and the promises are the truth; the ledger must agree."""

    @initialize(limits=st.tuples(some_limits, some_limits, some_limits))
    def begin(self, limits: Sequence[Limits]) -> None:
        self.random = Random(0)
        self.database = SteppedDatabase()
        self.limits: dict[str, Limits] = {}
        self.vfolders: list[VFolder] = []
        self.stored: dict[int, Usage] = {}
        self.promises: list[Promise] = []
        self.waiting: list[Waiting] = []
        self.instances: list[Instance] = []
        self.lost: list[str] = []
        self.uncounted: list[int] = []
        self.cut_off: list[Promise] = []
        self.limits_changed = False
        self.troubled = False
        self.errors: list[BaseException] = []
        self.database.now(self._people)
        for limit in limits[:2]:
            self._new_vfolder(limit)
        self._set_owner_limits(limits[2])
        for _ in range(2):
            self._new_instance()

    def _uuid(self) -> UUID:
        """The next identifier; the same ones in each run, so that a failure can be repeated."""
        return UUID(int=self.random.getrandbits(128), version=4)

    def _people(self, connection: Any) -> None:
        row = {"id": str(ALICE), "name": "alice", "administrator": False, "active": True, "created": 0.0}
        connection.execute(schema.users.insert().values(row))

    def _new_vfolder(self, limits: Limits) -> None:
        vfid = VFolderId(SCOPE, self._uuid())
        row = {
            "volume": "mem",
            "vfid": str(vfid),
            "folder": vfid.folder.hex,
            "scope": str(SCOPE),
            "kind": "user",
            "created": 0.0,
        }
        row |= {"owner": str(ALICE), "status": "ready", "limit_bytes": limits.bytes, "limit_files": limits.files}
        result = self.database.now(lambda c: c.execute(schema.vfolders.insert().values(row)).inserted_primary_key)
        assert result is not None
        key = int(result[0])
        kind, status = ScopeKind.USER, VFolderStatus.READY
        self.vfolders.append(VFolder(key, vfid, "mem", None, ALICE, kind, status, limits, 0.0))
        self.stored[key] = Usage()
        self.limits[f"vfolder:{key}"] = limits

    def _set_owner_limits(self, limits: Limits) -> None:
        values = {"limit_bytes": limits.bytes, "limit_files": limits.files}

        def write(connection: Any) -> None:
            connection.execute(update(schema.users).values(values))
            changed(connection, "accounts")

        self.database.now(write)
        self.limits[f"user:{ALICE}"] = limits

    def _new_instance(self) -> None:
        instance = Instance(self._uuid().hex)
        database: Any = self.database.of(instance.id)
        instance.dirty = DirtyMarks(database, instance.clock, instance.id)
        instance.quota = Quota(database, instance.clock, instance)
        row = {"id": instance.id, "host": "h", "pid": 1, "boot_id": "b", "birth": 0, "started": 0.0, "heartbeat": 0}
        self.database.now(lambda connection: connection.execute(schema.processes.insert().values(row)))
        self.instances.append(instance)

    # --- asking ---

    def _ask(
        self,
        instance: Instance,
        work: Any,
        settled: Callable[[Any], None],
        promise: Promise | None = None,
        more: Usage = Usage(),
        frees: tuple[int, Usage] = (0, Usage()),
        ends: Promise | None = None,
    ) -> None:
        waiting = Waiting(instance.id, Deferred(), promise, more, settled, frees, ends)
        self.waiting.append(waiting)
        self.how_tight_it_is()
        deferred = waiting.deferred = Deferred.fromCoroutine(work)
        deferred.addBoth(self._answered, waiting)

    def _answered(self, outcome: Any, waiting: Waiting) -> None:
        if waiting not in self.waiting:
            return  # its process is dead
        self.how_tight_it_is()
        self.waiting.remove(waiting)
        self.answered = waiting
        try:
            waiting.settled(outcome)
        except BaseException as error:  # a Deferred would keep it to itself
            self.errors.append(error)

    @invariant()
    def answers_are_right(self) -> None:
        """Nothing was refused that fits, and nothing failed that should not."""
        for error in getattr(self, "errors", ()):
            raise error

    @rule(which=st.integers(0, 1), at=st.integers(0, 1), wanted=amounts)
    def reserve(self, which: int, at: int, wanted: Usage) -> None:
        """Somebody begins to write."""
        self._reserve(which, at, wanted, None)

    @rule(which=st.integers(0, 1), at=st.integers(0, 1), wanted=amounts)
    def reserve_for_an_upload(self, which: int, at: int, wanted: Usage) -> None:
        """An upload is created."""
        self._reserve(which, at, wanted, self._uuid().hex)

    def _enter_upload(self, holder: str, vfolder: int) -> None:
        row = {
            "id": holder,
            "vfolder": vfolder,
            "target": b"x",
            "mark": 0,
            "boot_id": "b",
            "state": "open",
        }
        row |= {"info": "{}", "created": 0.0, "expires": 1e12}
        columns = schema.uploads.c
        known = {name: value for name, value in row.items() if name in columns}
        known.update(
            {c.name: _anything(c) for c in columns if not c.nullable and c.name not in known and c.default is None}
        )
        self.database.now(lambda connection: connection.execute(schema.uploads.insert().values(known)))

    def _reserve(self, which: int, at: int, wanted: Usage, holder: str | None) -> None:
        vfolder, instance = self.vfolders[which], self.instances[at]
        promise = Promise(vfolder.key, instance.id, Usage(), holder)

        def settled(outcome: Any) -> None:
            if isinstance(outcome, Failure):
                outcome.trap(QuotaExceeded, VolumeUnavailable, OSError)
                self._check_refusal(vfolder.key, wanted, outcome)
                return
            if holder is not None:  # in the same breath
                self._enter_upload(holder, vfolder.key)
            promise.reservation, promise.amount = outcome, wanted
            self.promises.append(promise)

        self._ask(instance, instance.quota.reserve(vfolder, wanted, holder), settled, more=wanted)

    @precondition(lambda self: any(self._idle(promise) for promise in self.promises))
    @rule(data=st.data(), more=amounts)
    def grow(self, data: st.DataObject, more: Usage) -> None:
        """A writer needs more than it thought."""
        promise = data.draw(st.sampled_from([promise for promise in self.promises if self._idle(promise)]))
        assert promise.reservation is not None
        total = promise.amount + more

        def settled(outcome: Any) -> None:
            if isinstance(outcome, Failure):
                outcome.trap(QuotaExceeded, VolumeUnavailable, OSError)
                self._check_refusal(promise.vfolder, total, outcome)
            else:
                promise.amount = total

        self._ask(self._instance(promise), promise.reservation.ensure(total), settled, promise, more)

    @precondition(lambda self: any(self._idle(promise) for promise in self.promises))
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        """A writer publishes what it stored, or gives up. Like every publish it makes sure first that its room is still its own."""
        promise = data.draw(st.sampled_from([promise for promise in self.promises if self._idle(promise)]))
        change = Usage(data.draw(st.integers(0, promise.amount.bytes)), data.draw(st.integers(0, promise.amount.files)))
        also, folder = [lambda _: None] if data.draw(st.booleans()) else [], data.draw(folders)
        reservation = promise.reservation
        assert reservation is not None
        instance = self._instance(promise)

        def sure(outcome: Any) -> None:
            self.promises.remove(promise)
            if isinstance(outcome, Failure):
                outcome.trap(QuotaExceeded, VolumeUnavailable, OSError)
                self._check_refusal(promise.vfolder, promise.amount, outcome)
                self._ask(instance, reservation.release(), _must_succeed, ends=promise)
            else:
                self.stored[promise.vfolder] += change
                rest = (promise.vfolder, promise.amount - change)
                settling = reservation.settle(change, also=also, folder=folder)
                self._ask(instance, settling, _must_succeed, frees=rest, ends=promise)

        self._ask(instance, reservation.ensure(promise.amount), sure, promise, Usage())

    @precondition(lambda self: any(usage != Usage() for usage in self.stored.values()))
    @rule(data=st.data(), at=st.integers(0, 1))
    def remove(self, data: st.DataObject, at: int) -> None:
        """Files go away."""
        key = data.draw(st.sampled_from([key for key, usage in self.stored.items() if usage != Usage()]))
        stored = self.stored[key]
        change = Usage(data.draw(st.integers(0, stored.bytes)), data.draw(st.integers(0, stored.files)))
        vfolder = next(vfolder for vfolder in self.vfolders if vfolder.key == key)
        instance = self.instances[at]
        # The mark comes before the removal, as publishing makes it.
        self._now(instance.dirty.mark(key))
        self.stored[key] -= change
        gone = instance.quota.change(vfolder, -change, also=[lambda _: None], folder=data.draw(folders))
        self._ask(instance, gone, _must_succeed, frees=(key, change))

    # --- time and trouble ---

    @rule(count=st.integers(1, 4))
    def commit(self, count: int) -> None:
        """The database gets on."""
        for _ in range(count):
            self.database.step()

    @rule(which=st.integers(0, 2), limits=some_limits)
    def change_limits(self, which: int, limits: Limits) -> None:
        """An administrator sets a limit, but none that is passed already."""
        subject = f"user:{ALICE}" if which == 2 else f"vfolder:{self.vfolders[which].key}"
        taken = self._taken(subject) + Usage(
            *(sum(getattr(w.more, name) for w in self.waiting) for name in ("bytes", "files"))
        )
        fits = (limits.bytes is None or taken.bytes <= limits.bytes) and (
            limits.files is None or taken.files <= limits.files
        )
        if not fits:
            return
        self.limits_changed = True
        if which == 2:
            self._set_owner_limits(limits)
            return
        values = {"limit_bytes": limits.bytes, "limit_files": limits.files}

        def write(connection: Any) -> None:
            here = schema.vfolders.c.key == self.vfolders[which].key
            connection.execute(update(schema.vfolders).where(here).values(values))
            changed(connection, "vfolders")

        self.database.now(write)
        self.limits[subject] = limits

    @rule(seconds=st.sampled_from([LOOK, 1.0, 20.0]))
    def pass_time(self, seconds: float) -> None:
        """Timers go off."""
        for instance in self.instances:
            instance.clock.advance(seconds)

    @precondition(lambda self: any(w.promise is None for w in self.waiting))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A client goes away while it waits to begin."""
        waiting = data.draw(st.sampled_from([w for w in self.waiting if w.promise is None]))
        settled = waiting.settled

        def cancelled(outcome: Any) -> None:
            if not (isinstance(outcome, Failure) and outcome.check(CancelledError)):
                settled(outcome)

        if settled is not _must_succeed:
            waiting.settled = cancelled
            waiting.deferred.cancel()

    @rule(at=st.integers(0, 1))
    def crash(self, at: int) -> None:
        """A process is killed and another takes its place; it takes over and counts what must be counted."""
        dead = self.instances.pop(at)
        self.database.lose(dead.id)
        lost = [w.ends for w in self.waiting if w.process == dead.id and w.ends is not None]
        self.cut_off += [promise for promise in lost if promise.holder is not None]
        self.waiting = [waiting for waiting in self.waiting if waiting.process != dead.id]
        kept = [promise for promise in self.promises if promise.holder is not None and promise.process == dead.id]
        self.promises = [promise for promise in self.promises if promise.process != dead.id]
        self._new_instance()
        self.lost.append(dead.id)
        for promise in kept:  # uploads go on elsewhere; what the database does not know of was never answered for
            self._resume(promise)

    def _resume(self, promise: Promise) -> None:
        instance = self.instances[-1]
        vfolder = next(vfolder for vfolder in self.vfolders if vfolder.key == promise.vfolder)
        promise.reservation = self._now(instance.quota.resume(vfolder, promise.holder or ""))
        assert promise.reservation is not None
        assert promise.reservation.held == promise.amount
        promise.process = instance.id
        self.promises.append(promise)

    @precondition(lambda self: self.lost)
    @rule()
    def take_over(self) -> None:
        """A living process finds the dead ones."""
        recovered = self._now(self.instances[0].quota.recover(self.lost))
        strike = schema.processes.delete().where(schema.processes.c.id.in_(self.lost))
        self.database.now(lambda connection: connection.execute(strike))
        self.lost = []
        self.uncounted = list(recovered)

    @precondition(lambda self: self.uncounted and not self.lost)
    @rule()
    def count(self) -> None:
        """A vfolder that a dead process was changing is counted anew. The count waits for those who publish now, and finds the uploads
        whose end was cut off."""
        key = self.uncounted.pop()
        self._settle_all(key)
        vfolder = next(vfolder for vfolder in self.vfolders if vfolder.key == key)
        ended = [promise.holder for promise in self.cut_off if promise.vfolder == key and promise.holder]
        self.cut_off = [promise for promise in self.cut_off if promise.vfolder != key]
        also = [partial(holds.drop_holds, holder=holder) for holder in ended]
        self._now(self.instances[0].quota.set_usage(vfolder, self.stored[key], also))

    def _settle_all(self, key: int) -> None:
        self._pump()
        for instance in self.instances:
            self._now(instance.quota.flush())

    def _now(self, work: Any) -> Any:
        """Do something to its end."""
        answers: list[Any] = []
        Deferred.fromCoroutine(work).addCallback(answers.append)
        self._pump()
        (answer,) = answers
        return answer

    def _pump(self) -> None:
        while self.database.step():
            pass

    # --- the truth ---

    def _idle(self, promise: Promise) -> bool:
        return not any(waiting.promise is promise for waiting in self.waiting)

    def _instance(self, promise: Promise) -> Instance:
        return next(instance for instance in self.instances if instance.id == promise.process)

    def _of(self, subject: str, key: int) -> bool:
        return subject in (f"vfolder:{key}", f"user:{ALICE}")

    def _stored(self, subject: str) -> Usage:
        return sum((usage for key, usage in self.stored.items() if self._of(subject, key)), Usage())

    def _taken(self, subject: str) -> Usage:
        stored = self._stored(subject)
        promised = sum((p.amount for p in self.promises if self._of(subject, p.vfolder)), Usage())
        return stored + promised

    @invariant()
    def no_limit_is_passed(self) -> None:
        """What is stored never exceeds a limit; nor does what is promised, unless the promise is older than the limit."""
        for subject, limits in getattr(self, "limits", {}).items():
            taken = self._stored(subject) if self.limits_changed else self._taken(subject)
            assert limits.bytes is None or taken.bytes <= limits.bytes, subject
            assert limits.files is None or taken.files <= limits.files, subject

    @invariant()
    def how_tight_it_is(self) -> None:
        """Note for all that wait how near the limits are now."""
        for subject, limits in getattr(self, "limits", {}).items():
            taken = self._taken(subject)
            for waiting in self.waiting:
                if self._of(subject, waiting.frees[0]):
                    taken += waiting.frees[1]
                taken += waiting.more
            for name in ("bytes", "files"):
                limit = getattr(limits, name)
                if limit is not None:
                    for waiting in self.waiting:
                        over = getattr(taken, name) - limit
                        waiting.tightest[subject, name] = max(waiting.tightest.get((subject, name), over), over)

    def _check_refusal(self, key: int, wanted: Usage, failure: Failure) -> None:
        """A refusal is right if, at some moment since the question, it would not have fitted beside all that was promised, was
        being asked for, or was only just being given back."""
        if failure.check(VolumeUnavailable, OSError) or self.lost or self.uncounted or self.troubled:
            return  # what the dead held counts until it is counted, and what could not be written until it is
        for (subject, name), over in self.answered.tightest.items():
            if self._of(subject, key) and over > 0 and getattr(wanted, name) > 0:
                return
        raise AssertionError(f"refused what fits: {failure.value}")

    def teardown(self) -> None:
        """In the end all figures are exact, and nothing is held."""
        if not hasattr(self, "instances"):
            return
        self._finish()
        self.answers_are_right()
        if self.lost:
            self.take_over()
        while self.uncounted:
            self.count()
        for promise in list(self.promises):
            assert promise.reservation is not None
            self.promises.remove(promise)
            self._ask(self._instance(promise), promise.reservation.release(), _must_succeed)
        self._finish()
        if self.troubled:
            self._expire_uploads()
        self.answers_are_right()
        for instance in self.instances:
            self._now(instance.quota.stop())
        for vfolder in self.vfolders:
            subject = f"vfolder:{vfolder.key}"
            figures = self.database.now(partial(holds.usage_of, subjects=[subject]))
            assert figures[subject] == self.stored[vfolder.key]
            shares = self.database.now(partial(folderusage.shares, vfolder=vfolder.key))
            assert sum((share.usage for share in shares), Usage()) == self.stored[vfolder.key]
        for owner in (f"user:{ALICE}", f"scope:mem/{SCOPE}", "volume:mem"):
            figures = self.database.now(partial(holds.usage_of, subjects=[owner]))
            assert figures[owner] == sum(self.stored.values(), Usage())
        left = self.database.now(lambda c: c.execute(select(schema.holds)).all())
        assert left == []
        assert self.database.now(lambda c: c.execute(select(schema.dirty)).all()) == []
        self.database.connection.close()

    def _expire_uploads(self) -> None:
        """Uploads whose end could not be written expire."""
        query = select(schema.holds.c.holder, schema.holds.c.subject).where(~holds.is_slab)
        for holder, subject in self.database.now(lambda c: c.execute(query).all()):
            kind, _, key = subject.partition(":")
            if kind == "vfolder":
                vfolder = next(vfolder for vfolder in self.vfolders if vfolder.key == int(key))
                quota = self.instances[0].quota
                resumed = self._now(quota.resume(vfolder, holder))
                self._ask(self.instances[0], resumed.release(), _must_succeed)
        self._finish()

    def _finish(self) -> None:
        for seconds in (*[LOOK] * 10, *[PATIENCE / 10] * 40):
            self._pump()
            if not self.waiting:
                return
            self.pass_time(seconds)
        raise AssertionError("somebody still waits")


class QuotaModelInTrouble(QuotaModel):
    """The same with writes that fail. No limit may be passed for it, and the figures must still come out right."""

    @rule()
    def fail_to_commit(self) -> None:
        """The database has a bad moment."""
        self.troubled |= self.database.step(fail=True)


def _must_succeed(outcome: Any) -> None:
    if isinstance(outcome, Failure):
        outcome.trap(OSError)  # written later


def _anything(column: Any) -> Any:
    return {"INTEGER": 0, "BIGINT": 0, "FLOAT": 0.0, "BOOLEAN": False, "TEXT": "", "BLOB": b""}.get(
        str(column.type), ""
    )


def test_the_dead_write_nothing() -> None:
    """The model's own ground: coroutines of a killed process may still be woken or closed, which changes nothing any more."""
    database = SteppedDatabase()
    database.lose("dead")
    answer: Any = database.of("dead").write(lambda _: pytest.fail("the dead write"))
    assert not database.step()
    assert not answer.called


@pytest.mark.timeout(1200)  # Hypothesis takes up to five minutes to shrink what it has found
@pytest.mark.parametrize("machine", [QuotaModel, QuotaModelInTrouble])
def test_ledger_agrees_with_the_model(machine: type[QuotaModel], request: pytest.FixtureRequest) -> None:
    """Whatever happens in whichever order."""
    explore(machine, request, examples=30, steps=50)

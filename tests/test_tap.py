"""Start and stop of the whole: the order, the waiting, and what happens when a part fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from vfgateway import config, startup, tap
from vfgateway.errors import ConfigurationError


class Diary:
    """Writes down what happened, and gives out parts of a gateway that write in it."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.failures: list[str] = []
        self.pending: dict[str, Deferred[None]] = {}

    async def step(self, what: str) -> None:
        """Write ``what`` down, and wait where a test asked for it."""
        self.entries.append(what)
        if what in self.pending:
            await self.pending[what]

    def root(self, *front_ends: Service, greet: Callable[[Any], None] | None = None) -> tap.Root:
        """A gateway with these front ends."""
        gateway: Any = FakeGateway(self)
        return tap.Root(gateway, {str(each.name): each for each in front_ends}, self.failures.append, greet)


class FakeGateway:
    """Starts and stops."""

    def __init__(self, diary: Diary) -> None:
        self._diary = diary
        self.settings = config.parse("", Path(), None)

    async def start(self) -> None:
        """Begin."""
        await self._diary.step("gateway starts")

    async def stop(self) -> None:
        """End."""
        await self._diary.step("gateway stops")


class FakeFrontEnd(Service):
    """A front end that takes its time, or fails in a given step."""

    def __init__(self, diary: Diary, name: str, failure: Exception | None = None, step: str = "") -> None:
        self.name = name
        self._diary = diary
        self._failure = failure
        self._step = step

    def _do(self, step: str) -> Deferred[None]:
        if self._failure is not None and step == self._step:
            raise self._failure
        return Deferred.fromCoroutine(self._diary.step(f"{self.name} {step}"))

    def privilegedStartService(self) -> None:
        self._do("binds")

    def startService(self) -> Any:
        return self._do("starts")

    def stopService(self) -> Any:
        return self._do("stops")


@pytest.fixture
def diary() -> Diary:
    return Diary()


def test_parts_start_in_order_and_stop_in_the_opposite_one(diary: Diary) -> None:
    """Sockets first, while there are privileges; requests only when there is a gateway to answer them."""
    root = diary.root(FakeFrontEnd(diary, "client"), FakeFrontEnd(diary, "manager"))
    root.privilegedStartService()
    root.startService()
    root.stopService()
    assert diary.entries == [
        "client binds",
        "manager binds",
        "gateway starts",
        "client starts",
        "manager starts",
        "manager stops",
        "client stops",
        "gateway stops",
    ]


def test_each_part_is_waited_for(diary: Diary) -> None:
    """No front end before the gateway is ready, and none left without it."""
    diary.pending = {"gateway starts": Deferred(), "client stops": Deferred()}
    root = diary.root(FakeFrontEnd(diary, "client"))
    root.startService()
    assert diary.entries == ["gateway starts"]
    diary.pending["gateway starts"].callback(None)
    assert diary.entries == ["gateway starts", "client starts"]
    stopped = root.stopService()
    assert "gateway stops" not in diary.entries
    diary.pending["client stops"].callback(None)
    assert diary.entries[-1] == "gateway stops"
    assert stopped.called


def test_stopping_in_the_middle_of_a_start_stops_what_had_begun(diary: Diary) -> None:
    """Ctrl-C does not wait for a volume that hangs, and is no failure."""
    diary.pending = {"gateway starts": Deferred()}
    root = diary.root(FakeFrontEnd(diary, "client"))
    root.startService()
    stopped = root.stopService()
    assert diary.entries == ["gateway starts", "gateway stops"]
    assert stopped.called
    assert not diary.failures


def test_a_front_end_that_cannot_bind_stops_the_start(diary: Diary) -> None:
    """One line and status 1, whichever way the front end says it."""
    taken = CannotListenError("127.0.0.1", 6021, OSError(98, "Address already in use"))
    for failure in (taken, ConfigurationError("frontends.client.endpoint", "cannot listen on tcp:6021: in use")):
        root = diary.root(FakeFrontEnd(diary, "client", failure, "binds"))
        with pytest.raises(startup.StartupFailed, match=r"^vfgateway: frontends\.client.*in use"):
            root.privilegedStartService()


def test_a_failure_after_the_start_began_is_told_too(diary: Diary) -> None:
    """Then the reactor runs already and the process has to be ended by other means."""
    failure = ConfigurationError("gateway.database", "no such server")
    root = diary.root(FakeFrontEnd(diary, "client"), FakeFrontEnd(diary, "manager", failure, "starts"))
    root.startService()
    assert diary.failures == ["vfgateway: gateway.database: no such server"]
    root.stopService()
    assert diary.entries[-2:] == ["client stops", "gateway stops"]


def test_one_part_that_does_not_stop_does_not_keep_the_others(diary: Diary) -> None:
    """The database must be closed whatever a front end does."""
    root = diary.root(FakeFrontEnd(diary, "client", RuntimeError("stuck"), "stops"))
    root.startService()
    assert root.stopService().called
    assert diary.entries[-1] == "gateway stops"


def test_the_greeting_comes_when_everything_runs(diary: Diary) -> None:
    """What it shows can be pasted at once."""
    greeted: list[Any] = []
    diary.pending = {"client starts": Deferred()}
    front_end = FakeFrontEnd(diary, "client")
    diary.root(front_end, greet=greeted.append).startService()
    assert not greeted
    diary.pending["client starts"].callback(None)
    assert greeted == [{"client": front_end}]

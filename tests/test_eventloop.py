"""The shortened loop does what Twisted's does: it pins the private names that it uses."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import ILogObserver, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from vfgateway import eventloop
from vfgateway.eventloop import MOST_TOGETHER, MOST_TURNS, SLEEPLESS, at_end, give_way, settle, shorten, together


class Echo(Protocol):
    """Sends back what comes, fails on ``x``, and remembers how it ended."""

    def __init__(self, ended: list[Failure]) -> None:
        self._ended = ended

    def dataReceived(self, data: bytes) -> None:
        if data == b"x":
            raise LookupError("not to be heard")
        assert self.transport is not None
        self.transport.write(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._ended.append(reason)


@pytest.fixture
def reactor() -> Iterator[Any]:
    """One of its own, shortened, that is told to go on step by step."""
    made: Any = EPollReactor()
    shorten(made)
    shorten(made)
    assert made.doIteration != made.doPoll
    made._startedBefore = made._started = made.running = True
    yield made
    made.removeAll()
    made._poller.close()


def steps(reactor: Any, until: Any) -> None:
    """Run it until something holds."""
    for _ in range(1000):
        if until():
            return
        reactor.runUntilCurrent()
        reactor.doIteration(0.01)
    raise AssertionError("it never came to that")


def connect(reactor: Any, ended: list[Failure]) -> socket.socket:
    """A client of an echo that the reactor serves."""
    ports: list[Any] = []
    factory = Factory.forProtocol(lambda: Echo(ended))
    listening = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    listening.addCallback(ports.append)
    client = socket.create_connection(("127.0.0.1", ports[0].getHost().port))
    client.setblocking(False)
    return client


def received(client: socket.socket) -> bytes:
    try:
        return client.recv(1 << 20)
    except BlockingIOError:
        return b""


@contextmanager
def observed() -> Iterator[list[Failure]]:
    """The failures that are logged meanwhile."""
    failures: list[Failure] = []

    @implementer(ILogObserver)
    def observe(event: Any) -> None:
        if event.get("log_level") is LogLevel.critical or event.get("isError"):
            failures.append(event.get("log_failure") or event.get("failure"))

    globalLogPublisher.addObserver(observe)
    try:
        yield failures
    finally:
        globalLogPublisher.removeObserver(observe)


def test_bytes_come_and_go(reactor: Any) -> None:
    """Reading, writing more than a socket takes at once, timed calls, and a client that ends."""
    ended: list[Failure] = []
    client = connect(reactor, ended)
    got = bytearray()

    def all_back(count: int) -> bool:
        got.extend(received(client))
        return len(got) >= count

    client.send(b"hello")
    steps(reactor, lambda: all_back(5))
    large, sent = b"y" * (8 << 20), 0
    while sent < len(large):
        try:
            sent += client.send(large[sent:])
        except BlockingIOError:
            steps(reactor, partial(all_back, len(got) + 1))
    steps(reactor, lambda: all_back(5 + len(large)))
    assert bytes(got) == b"hello" + large
    called: list[int] = []
    reactor.callLater(0.01, called.append, 1)
    steps(reactor, lambda: called)
    client.close()
    steps(reactor, lambda: ended)
    assert ended[0].check(ConnectionDone, ConnectionLost)


def test_what_a_protocol_raises(reactor: Any) -> None:
    """It is logged, and ends that connection alone."""
    ended: list[Failure] = []
    bad, good = connect(reactor, ended), connect(reactor, [])
    with observed() as failures:
        bad.send(b"x")
        steps(reactor, lambda: ended)
    assert [failure.type for failure in failures] == [LookupError]
    assert ended[0].check(LookupError)
    good.send(b"fine")
    steps(reactor, lambda: received(good) == b"fine")


def _itself(protocol: Protocol) -> Protocol:
    return protocol


def test_who_moves_much_comes_last(reactor: Any) -> None:
    """And who asks something small meanwhile waits for one of those, not for all."""
    heard: list[str] = []
    ends: dict[str, socket.socket] = {}

    class Named(Protocol):
        name: str

        def dataReceived(self, data: bytes) -> None:
            heard.append(self.name)
            if self.name != "small" and "small" not in heard[1:]:
                ends["small"].send(b"y")

    for name in ("large 1", "large 2", "small", "large 3"):
        ends[name], theirs = socket.socketpair()
        theirs.setblocking(False)
        protocol = Named()
        protocol.name = name
        adopted = reactor.adoptStreamConnection(
            theirs.fileno(), socket.AF_UNIX, Factory.forProtocol(partial(_itself, protocol))
        )
        theirs.close()
        if name != "small":
            give_way(adopted)
    for end in ends.values():
        end.send(b"x")
    reactor.doIteration(0.01)
    assert heard[0] == "small"
    assert heard[2] == "small", heard
    assert sorted(heard[1:2] + heard[3:]) == ["large 1", "large 2", "large 3"]
    for end in ends.values():
        end.close()


def test_what_has_started_is_not_looked_through_again() -> None:
    """The collector has little to do afterwards, and still finds what comes and goes."""
    before = gc.get_freeze_count()
    settle()
    try:
        assert gc.get_freeze_count() > before + 10_000
        circle: list[Any] = []
        circle.append(circle)
        del circle
        assert gc.collect() >= 1
    finally:
        gc.unfreeze()


def talking(reactor: Any, says: Callable[[], object], count: int) -> list[socket.socket]:
    """So many clients that have something to say in one turn; what is done about it is ``says``."""

    class Asked(Protocol):
        def dataReceived(self, data: bytes) -> None:
            says()

    ends = []
    for _ in range(count):
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        reactor.adoptStreamConnection(theirs.fileno(), socket.AF_UNIX, Factory.forProtocol(Asked))
        theirs.close()
        ours.send(b"x")
        ends.append(ours)
    return ends


def test_what_is_done_together(reactor: Any) -> None:
    """It is done in the same turn, after others have had their say, but for no more than a few of them; and at once where no turn runs."""
    told: list[str] = []

    def says() -> None:
        told.append("asked")
        together(reactor, told.append, "answered")

    ends = talking(reactor, says, MOST_TOGETHER + 2)
    reactor.doIteration(0.01)
    many = MOST_TOGETHER
    assert told == ["asked"] * many + ["answered"] * many + ["asked"] * 2 + ["answered"] * 2
    together(reactor, told.append, "now")
    assert told[-1] == "now"
    for end in ends:
        end.close()


def test_what_is_done_at_the_end(reactor: Any) -> None:
    """When all have had their say and their answers, though one of those calls fails; not where one is alone, or no turn runs."""
    told: list[str] = []

    def fail() -> None:
        raise LookupError("not to be heard")

    def says() -> None:
        together(reactor, told.append, "answered")
        if not at_end(reactor, fail) or not at_end(reactor, lambda: told.append("ended")):
            told.append("alone")

    ends = talking(reactor, says, 3)
    with observed() as failures:
        reactor.doIteration(0.01)
    assert told == ["answered"] * 3 + ["ended"] * 3
    assert [failure.type for failure in failures] == [LookupError] * 3
    told.clear()
    ends += talking(reactor, says, 1)
    reactor.doIteration(0.01)
    assert told == ["answered", "alone"]
    assert not at_end(reactor, fail)
    for end in ends:
        end.close()


def test_what_fails_of_what_is_done_together(reactor: Any) -> None:
    """The others are done nevertheless."""
    told: list[str] = []

    def fail() -> None:
        raise LookupError("not to be heard")

    def says() -> None:
        together(reactor, fail)
        together(reactor, told.append, "done")

    ends = talking(reactor, says, 2)
    with observed() as failures:
        reactor.doIteration(0.01)
    assert told == ["done"] * 2
    assert [failure.type for failure in failures] == [LookupError] * 2
    for end in ends:
        end.close()


def test_who_is_alone_waits_for_nobody(reactor: Any) -> None:
    """Where only one has something to say in a turn, what is done together is done before he has finished."""
    told: list[str] = []

    def says() -> None:
        together(reactor, told.append, "answered")
        told.append("asked")

    (end,) = talking(reactor, says, 1)
    reactor.doIteration(0.01)
    assert told == ["answered", "asked"]
    end.close()


def ping_pong(reactor: Any, told: Callable[[int], object]) -> list[Any]:
    """Two ends that send each other a byte for ever, and tell how often one has come so far."""
    count = 0

    class Player(Protocol):
        transport: Any

        def dataReceived(self, data: bytes) -> None:
            nonlocal count
            count += 1
            told(count)
            self.transport.socket.send(data)

    ours, theirs = socket.socketpair()
    ends = []
    for each in (ours, theirs):
        each.setblocking(False)
        ends.append(reactor.adoptStreamConnection(each.fileno(), socket.AF_UNIX, Factory.forProtocol(Player)))
        each.close()
    ends[0].socket.send(b"x")
    return ends


def test_several_turns_without_a_look_at_anything_else(reactor: Any) -> None:
    """But not too many."""
    told: list[int] = []
    ping_pong(reactor, told.append)
    reactor.doIteration(10)
    assert told == list(range(1, MOST_TURNS + 1))


@pytest.mark.parametrize("what", ["a call from a thread", "a new timer", "a timer moved", "the end"])
def test_what_else_there_is_to_do_ends_a_series_of_turns(reactor: Any, what: str) -> None:
    """It is done after the turn that brought it."""
    far = reactor.callLater(100, print)
    reactor.timeout()  # where new timers are looked at
    told: list[int] = []
    things: dict[str, Callable[[], object]] = {
        "a call from a thread": partial(reactor.callFromThread, print),
        "a new timer": partial(reactor.callLater, 50, print),
        "a timer moved": partial(far.reset, 1),
        "the end": reactor.stop,
    }

    def tell(count: int) -> None:
        told.append(count)
        if count == 3:
            things[what]()

    ping_pong(reactor, tell)
    reactor.doIteration(10)
    assert told == [1, 2, 3]


def test_turns_end_in_time(reactor: Any) -> None:
    """Those who wait for a time are not kept waiting by those who talk, nor by those who are silent."""
    told: list[int] = []
    ping_pong(reactor, told.append)
    reactor.doIteration(0)
    assert told == [1]
    reactor.removeAll()
    ours, theirs = socket.socketpair()
    reactor.adoptStreamConnection(theirs.fileno(), socket.AF_UNIX, Factory.forProtocol(Protocol))
    ours.send(b"x")
    reactor.doIteration(0.05)
    ours.close()
    theirs.close()


class Poller:
    """Answers as it is told to, and remembers for how long it was to wait. Time passes with each question.

    :param answers: whether something is there, and the seconds until that is known
    """

    def __init__(self, answers: list[tuple[bool, float]]) -> None:
        self._answers = iter(answers)
        self.waits: list[float] = []
        self.now = 0.0

    def poll(self, seconds: float, count: int) -> list[tuple[int, int]]:
        there, later = next(self._answers)
        self.waits.append(seconds)
        self.now += later
        return [(1, 1)] if there else []


def test_who_soon_has_something_to_say_is_not_slept_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as that is so: whoever asks one thing after the other is heard without falling asleep, and an idle gateway sleeps."""
    short, step, long = SLEEPLESS / 2, SLEEPLESS / 4, SLEEPLESS * 50
    poller = Poller(
        [
            *[(False, 0), (True, short)],  # asleep, and woken soon
            *[(False, 0), (False, step), (True, step)],  # so awake the next time
            *[(False, 0), *[(False, step)] * 4, (True, long)],  # in vain
            *[(False, 0), (True, long)],
            (True, 0),
            (False, 0),
        ]
    )
    monkeypatch.setattr(eventloop, "monotonic", lambda: poller.now)
    reactor = SimpleNamespace(_poller=poller, _selectables={})
    waits = []
    for seconds in (5.0, 5.0, 5.0, 5.0, 5.0, 0.0):
        poller.waits = []
        eventloop._wait(reactor, seconds)
        waits.append(poller.waits)
    assert waits == [[0, 5.0], [0, 0, 0], [0, 0, 0, 0, 0, 5.0], [0, 5.0], [0], [0]]

"""The log as people read it: each request has a line that is whole, also where several were told together."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from vfgateway.loglines import lines_of, persistable, text_of
from vfgateway.protocols.web.accesslog import AccessLog


@implementer(ILogObserver)
class Events:
    """Remembers all."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def __call__(self, event: dict[str, Any]) -> None:
        self.told.append(event)


def told(count: int) -> dict[str, Any]:
    """The event of so many requests that came at once."""
    events = Events()
    log = AccessLog("client", Clock(), {})
    globalLogPublisher.addObserver(events)
    try:
        for number in range(count):
            log.add(("192.0.2.7", "alice", b"GET", b"/file%d" % number, 200, 5, f"request{number}", 0.01, "", None))
        log.flush()
    finally:
        globalLogPublisher.removeObserver(events)
    (event,) = [each for each in events.told if each.get("log_namespace") == "vfgateway.http"]
    return event


def test_each_request_has_a_line_with_time_and_namespace() -> None:
    """In the process where they were answered, and in another that is told of them."""
    event = told(3)
    for each in (event, persistable(event)):
        lines = list(text_of(each))
        assert [line.partition("] ")[2] for line in lines] == [
            f"client 192.0.2.7 alice GET /file{number} 200 5 [request{number}]" for number in range(3)
        ]
        starts = {line.partition("] ")[0] for line in lines}
        assert len(starts) == 1
        assert starts.pop().endswith("[vfgateway.http#info")
        assert len(lines_of(each)[1]) == 3


def test_what_belongs_to_a_line_is_indented_below_it() -> None:
    """A traceback, say; and what says nothing is no line."""
    event = {**told(1), "log_format": "first\nsecond"}
    del event["requests"]
    assert [line.partition("] ")[2] for line in text_of(event)] == ["first\n\tsecond"]
    assert list(text_of({**event, "log_format": ""})) == []

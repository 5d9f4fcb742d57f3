"""What an event of the log looks like as one line of JSON: the same facts in each, whoever wrote it."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from json.encoder import encode_basestring
from typing import Any

from twisted.logger import eventAsText, formatEvent
from twisted.python.failure import Failure

from vfgateway.plaintext import shown

#: What Twisted puts into an event for itself.
_OWN = frozenset(
    {
        "log_logger",
        "log_source",
        "log_format",
        "log_flattened",
        "log_trace",
        "log_legacy",
        "log_system",
        "log_text",
        "isError",
    }
)
_OLD = frozenset({"message", "time", "format", "system", "failure", "why", "requests"})
#: Characters of one value.
LONGEST = 8000
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class Batch(ABC):
    """What one event tells of several requests, as its ``requests``: their facts one by one; as a string, their lines of text."""

    @abstractmethod
    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The facts of each."""

    @abstractmethod
    def as_json(self, base: Mapping[str, Any]) -> list[str]:
        """A line for each as :func:`lines_of` writes it, with ``base`` at its beginning."""


def lines_of(event: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The level of an event, and its lines: one, or one for each of the requests that it tells of."""
    base = _base(event)
    requests = event.get("requests")
    if isinstance(requests, Batch):
        return base["level"], requests.as_json(base)
    return base["level"], [as_json(fields) for fields in _fields_of(event, base)]


def text_of(event: dict[str, Any]) -> Iterator[str]:
    """The same for people: a line for each of the requests, and otherwise one with what belongs to it indented below."""
    text = eventAsText(event, includeTimestamp=True, includeSystem=True)
    requests = event.get("requests")
    if isinstance(requests, Batch | _Persistable):
        told = str(requests)
        start = text.removesuffix(told)
        yield from (f"{start}{line}" for line in told.splitlines())
    elif text.strip():
        yield text.replace("\n", "\n\t")


class _Persistable(list[dict[str, Any]]):
    """The facts of a batch, which JSON can hold, with the text of the batch, which goes along for those who write text."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        self._text = str(batch)

    def __str__(self) -> str:
        return self._text


def persistable(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event that another process can be told."""
    requests = event.get("requests")
    return {**event, "requests": _Persistable(requests)} if isinstance(requests, Batch) else dict(event)


def _base(event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "time": _iso(event.get("log_time", 0.0)),
        "level": getattr(event.get("log_level"), "name", "info"),
        "namespace": event.get("log_namespace") or event.get("log_system", "-"),
    }


def _fields_of(event: Mapping[str, Any], base: dict[str, Any]) -> Iterator[dict[str, Any]]:
    requests = event.get("requests")
    if isinstance(requests, list):
        for request in requests:
            yield {**base, "message": "request", **{name: plain(value) for name, value in request.items()}}
        return
    own = {name: plain(value) for name, value in event.items() if _is_ours(name, value)}
    if "log_event" in event:
        base["event"] = event["log_event"]
    failure = event.get("log_failure") or event.get("failure")
    if isinstance(failure, Failure):
        own["traceback"] = failure.getTraceback()[-LONGEST:]
    yield {**own, **base, "message": formatEvent(dict(event))[:LONGEST] or _legacy(event)}


def _is_ours(name: str, value: object) -> bool:
    return not name.startswith("log_") and name not in _OWN and name not in _OLD and value not in (None, "")


def _legacy(event: Mapping[str, Any]) -> str:
    message = event.get("message", "")
    return " ".join(map(str, message)) if isinstance(message, tuple) else str(message)


def plain(value: Any) -> Any:
    """A value that every line can hold."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    text = value if isinstance(value, str) else str(value)
    return shown(text[:LONGEST])


def quoted(value: str | bytes) -> str:
    """One value as JSON."""
    if isinstance(value, bytes):
        return encode_basestring(value.decode("utf-8", "backslashreplace")[:LONGEST])
    return encode_basestring(value[:LONGEST] if value.isascii() else plain(value))


def _iso(seconds: float) -> str:
    whole, part = divmod(seconds, 1)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int(part * 1000):03d}Z"


def as_json(fields: Mapping[str, Any]) -> str:
    """One line, without its end."""
    return _encode(fields)

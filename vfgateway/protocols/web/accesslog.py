"""The log of requests: a line for each, told together with those that are answered at about the same time.

An event costs ten times what a small request does, so those of :data:`GATHER` seconds share one. What it holds is the same in
any number: ``requests``, a list with the facts of each, which becomes lines of text only where an observer writes text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from vfgateway import loglines
from vfgateway.loglines import Batch, quoted
from vfgateway.model import VFolder

#: Seconds for which lines wait for others, and how many of them at most.
GATHER: Final = 0.05
MOST: Final = 256


_log = Logger(namespace="vfgateway.http")


#: A request that was answered: the address that it came from, who asked (``""`` if that is not known), its method, its path (without the query: tokens travel
#: there), the status of the answer, the bytes of its body, the request's name, the seconds that it took, what was done where the method alone does
#: not say, and where, if a vfolder was entered.
type_line = tuple[str, str, bytes, bytes, int, int, str, float, str, VFolder | None]


class Lines(Batch):
    """Requests that were answered; as text, a line for each.

    :param front_end: its name
    :param backends: the kind of each volume
    """

    def __init__(self, front_end: str, backends: Mapping[str, str]) -> None:
        self._front_end = front_end
        self._backends = backends
        self.told: list[type_line] = []

    def __len__(self) -> int:
        return len(self.told)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(self._fields, self.told)

    def __str__(self) -> str:
        return "\n".join(map(_line, self))

    def __format__(self, form: str) -> str:
        return str(self)

    def _fields(self, line: type_line) -> dict[str, Any]:
        address, user, method, path, status, sent, request_id, seconds, operation, vfolder = line
        name = method.decode("ascii", "backslashreplace")
        fields = {
            "front_end": self._front_end,
            "address": address,
            "user": user,
            "method": name,
            "path": path,
            "status": status,
            "sent": sent,
            "request_id": request_id,
            "seconds": round(seconds, 6),
            "operation": operation or name,
        }
        return fields if vfolder is None else fields | self._where(vfolder)

    def _where(self, vfolder: VFolder) -> dict[str, str]:
        volume = vfolder.volume
        return {"vfolder_id": str(vfolder.id), "volume": volume, "backend": self._backends.get(volume, "")}

    def as_json(self, base: Mapping[str, Any]) -> list[str]:
        """See :class:`vfgateway.loglines.Batch`. What many have in common is written but once, since there are so many."""
        start = loglines.as_json({**base, "message": "request", "front_end": self._front_end})[:-1]
        ends: dict[int, str] = {}
        lines = []
        for address, user, method, path, status, sent, request_id, seconds, operation, vfolder in self.told:
            end = ends.get(id(vfolder))
            if end is None:
                end = "}" if vfolder is None else f", {loglines.as_json(self._where(vfolder))[1:]}"
                ends[id(vfolder)] = end
            named = _quoted(method)
            lines.append(
                f'{start}, "address": {_quoted(address)}, "user": {_quoted(user)}, "method": {named}, '
                f'"path": {_quoted(path)}, "status": {status}, "sent": {sent}, "request_id": {quoted(request_id)}, '
                f'"seconds": {seconds:.6f}, "operation": {_quoted(operation) if operation else named}{end}'
            )
        return lines


#: For what is the same again and again.
_quoted: Final = lru_cache(maxsize=4096)(quoted)


def _line(request: Mapping[str, Any]) -> str:
    path: bytes = request["path"]
    return (
        f"{request['front_end']} {request['address'] or '-'} {_word(request['user'])} {request['method']} "
        f"{path.decode('ascii', 'backslashreplace')} {request['status']} {request['sent']} [{request['request_id']}]"
    )


def _word(name: str) -> str:
    """A user's name as one word, whatever it holds."""
    if name.isascii() and name.isprintable() and " " not in name:
        return name or "-"
    return ascii(name).replace(" ", "\\x20")[1:-1]


class AccessLog:
    """See the module.

    :param front_end: its name
    :param backends: the kind of each volume
    :param also: called whenever lines are told
    """

    def __init__(
        self, front_end: str, clock: Any, backends: Mapping[str, str], also: Callable[[], object] = lambda: None
    ) -> None:
        self._also = also
        self._fresh = partial(Lines, front_end, backends)
        self._clock = clock
        self._lines = self._fresh()
        self._later: IDelayedCall | None = None

    def add(self, line: type_line) -> None:
        """A request was answered."""
        told = self._lines.told
        told.append(line)
        if len(told) >= MOST:
            self.flush()
        elif self._later is None:
            self._later = self._clock.callLater(GATHER, self.flush)

    def flush(self) -> None:
        """Tell what waits. Idempotent."""
        if self._later is not None and self._later.active():
            self._later.cancel()
        self._later = None
        if self._lines:
            lines, self._lines = self._lines, self._fresh()
            _log.info("{requests}", requests=lines)
            self._also()

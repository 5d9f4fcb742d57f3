"""The log of requests: a line for each, told together with those that are answered at about the same time.

An event costs ten times what a small request does, so those of :data:`GATHER` seconds share one. What it holds is the same in
any number: ``requests``, a list with the facts of each, which becomes lines of text only where an observer writes text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from vfgateway.model import VFolder

#: Seconds for which lines wait for others, and how many of them at most.
GATHER: Final = 0.05
MOST: Final = 256


_log = Logger(namespace="vfgateway.http")


class Lines(list[dict[str, Any]]):
    """Requests that were answered; as text, a line for each."""

    def __str__(self) -> str:
        return "\n".join(map(_line, self))

    def __format__(self, form: str) -> str:
        return str(self)


def _line(request: dict[str, Any]) -> str:
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
    """

    def __init__(self, front_end: str, clock: Any, backends: Mapping[str, str]) -> None:
        self._backends = backends
        self._front_end = front_end
        self._clock = clock
        self._lines = Lines()
        self._later: IDelayedCall | None = None

    def add(
        self,
        address: str,
        user: str,
        method: bytes,
        path: bytes,
        status: int,
        sent: int,
        request_id: str,
        seconds: float,
        operation: str = "",
        vfolder: VFolder | None = None,
    ) -> None:
        """A request was answered.

        :param user: who asked; ``""`` if that is not known
        :param path: without the query: tokens travel there
        :param sent: bytes of the answer's body
        :param operation: what was done, where the method alone does not say
        :param vfolder: where, if a vfolder was entered
        """
        lines = self._lines
        name = method.decode("ascii", "backslashreplace")
        line = {
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
        if vfolder is not None:
            line["vfolder_id"], line["volume"] = str(vfolder.id), vfolder.volume
            line["backend"] = self._backends.get(vfolder.volume, "")
        lines.append(line)
        if len(lines) >= MOST:
            self.flush()
        elif self._later is None:
            self._later = self._clock.callLater(GATHER, self.flush)

    def flush(self) -> None:
        """Tell what waits. Idempotent."""
        if self._later is not None and self._later.active():
            self._later.cancel()
        self._later = None
        if self._lines:
            lines, self._lines = self._lines, Lines()
            _log.info("{requests}", requests=lines)

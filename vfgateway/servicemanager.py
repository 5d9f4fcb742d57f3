"""Tells systemd how the service is: ready, reloading, stopping, and again and again that its reactor turns (``sd_notify(3)``).

Without systemd, or under a unit that asks for nothing, all of it does nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

from twisted.internet.task import LoopingCall

#: Where systemd listens, and what it asks for: taken out of the environment, so that no child speaks in our name.
SOCKET, WATCHDOG, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


class ServiceManager:
    """Whoever started this process and wants to be told of it.

    :param reactor: what the watchdog watches; may be missing where nobody is told
    :param address: of a datagram socket, ``@`` for an abstract one; empty for nobody
    :param watchdog: seconds after which silence is taken for a hang; ``None`` if nobody waits
    """

    def __init__(self, reactor: Any = None, address: str = "", watchdog: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog = watchdog
        self._alive = LoopingCall(self._tell, "WATCHDOG=1")
        self._alive.clock = reactor

    @classmethod
    def of(cls, environ: MutableMapping[str, str], reactor: Any) -> ServiceManager:
        """The one of whom the environment tells, which is forgotten there."""
        address = environ.pop(SOCKET, "")
        wanted, pid = environ.pop(WATCHDOG, ""), environ.pop(WATCHDOG_PID, "")
        is_ours = wanted.isdigit() and int(wanted) > 0 and pid in ("", str(os.getpid()))
        return cls(reactor, address, int(wanted) / 1e6 if is_ours else None)

    def ready(self, status: str) -> None:
        """The service serves, for the first time or again.

        :param status: shown by ``systemctl status``
        """
        self._tell(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={status}")
        if self._watchdog is not None and self._address and not self._alive.running:
            self._alive.start(self._watchdog / 3)

    def reloading(self) -> None:
        """The configuration is read anew; :meth:`ready` follows, whatever came of it."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The service ends. It goes on to say that it is alive until the reactor ends, for that may take its time."""
        self._tell("STOPPING=1")

    def _tell(self, what: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(what.encode(), self._address)

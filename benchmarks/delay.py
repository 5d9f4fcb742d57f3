"""A long way between client and server, on one machine: a TCP relay that hands everything on a little later."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from typing import Self

#: Bytes that are taken at once, and that may be on their way in one direction, as on a fast and long line.
PIECE, ON_THE_WAY = 256 << 10, 64 << 20


class Way:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, target: socket.socket, seconds: float) -> None:
        self._source = source
        self._target = target
        self._seconds = seconds
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._count = 0
        self._changed = threading.Condition()
        for work in (self._take, self._give):
            threading.Thread(target=work, daemon=True).start()

    def _take(self) -> None:
        data = b"go"
        while data:
            try:
                data = self._source.recv(PIECE)
            except OSError:
                data = b""
            with self._changed:
                self._changed.wait_for(lambda: self._count < ON_THE_WAY)
                self._pieces.append((time.monotonic() + self._seconds, data))
                self._count += len(data)
                self._changed.notify_all()

    def _give(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: bool(self._pieces))
                    due, data = self._pieces.popleft()
                time.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    self._target.shutdown(socket.SHUT_WR)
                    return
                self._target.sendall(data)
                with self._changed:
                    self._count -= len(data)
                    self._changed.notify_all()


class Delay:
    """The relay.

    :param target: the port of the server
    :param round_trip: seconds
    :ivar port: where clients connect
    """

    def __init__(self, target: int, round_trip: float) -> None:
        self._target = target
        self._seconds = round_trip / 2
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                Way(client, server, self._seconds)
                Way(server, client, self._seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

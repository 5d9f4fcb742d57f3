"""The network between a client and the gateway, for tests that cut it: a TCP relay with a switch."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

#: Bytes passed on at once.
PIECE = 4096


class Relay:
    """Passes bytes between its own port and the gateway's.

    :ivar port: where clients connect
    :ivar sent: bytes that went from clients to the gateway
    :ivar received: bytes that went from the gateway to clients
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._connected = True
        self._cut_after: tuple[int, bool] | None = None
        self.happened = threading.Event()
        self.sent = self.received = 0
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, count: int, sent: bool = True) -> None:
        """Cut, as :meth:`cut` does, once exactly ``count`` more bytes went to the gateway, or without ``sent`` came from it;
        :attr:`happened` is set then."""
        with self._lock:
            self.happened.clear()
            self._cut_after = ((self.sent if sent else self.received) + count, sent)

    def cut(self) -> None:
        """Reset every connection, on both sides, and refuse new ones."""
        with self._lock:
            self._connected = False
            self._cut_after = None
            victims, self._open = self._open, set()
        for each in victims:
            _reset(each)
        self.happened.set()

    def restore(self) -> None:
        """Accept connections again."""
        with self._lock:
            self._connected = True

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:
            _reset(client)
            return
        with self._lock:
            connected = self._connected
            if connected:
                self._open |= {client, server}
        if not connected:
            _reset(client)
            _reset(server)
            return
        threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()
        self._pass(client, server, True)

    def _pass(self, source: socket.socket, target: socket.socket, sent: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(PIECE):
                allowed, cut = self._count(len(data), sent)
                target.sendall(data[:allowed])
                if cut:
                    self.cut()
                    return
            target.shutdown(socket.SHUT_WR)

    def _count(self, count: int, sent: bool) -> tuple[int, bool]:
        """How many of ``count`` bytes may pass, and whether it ends with them."""
        with self._lock:
            cut = False
            if self._cut_after is not None and self._cut_after[1] is sent:
                left = self._cut_after[0] - (self.sent if sent else self.received)
                count, cut = min(count, max(left, 0)), count >= left
            if sent:
                self.sent += count
            else:
                self.received += count
            return count, cut

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.cut()


def _reset(connection: socket.socket) -> None:
    """End it as a broken line does: no goodbye, and what was not sent is not sent."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it
        connection.close()

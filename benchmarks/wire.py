"""A client that costs little: blocking sockets, one buffer, ``sendfile``. What is measured shall be the server."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

_BUFFER = 1 << 20
_PATIENCE = 300

type_sink = Callable[[memoryview], Any]


class WrongAnswer(Exception):
    """A server did not do what it was asked; its figures would mean nothing."""


@attrs.frozen
class Answer:
    """A response without its body.

    :ivar headers: names in lower case
    :ivar length: bytes of body that were received
    """

    status: int
    headers: Mapping[str, str]
    length: int


@attrs.frozen
class Work:
    """What was done in which time.

    :ivar amount: bytes, requests or files
    """

    amount: float
    seconds: float


class Client:
    """One connection to a server on this machine; requests on it follow each other.

    :param tls: to speak TLS
    :param sleepless: look for the bodies of answers without ever falling asleep. Whoever sleeps has to be woken, by the server, where both are on one
        machine: in a virtual one that is most of what a large download costs it. Not for more clients than there are processors to spare, nor with TLS
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, sleepless: bool = False) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        # Python's own timeouts would make the socket a non-blocking one, with a poll before each call.
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _PATIENCE, 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket)
        self._port = port
        self._flags = socket.MSG_DONTWAIT if sleepless else 0
        self._buffer = memoryview(bytearray(_BUFFER))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, method: str, path: str, headers: Mapping[str, str], sink: type_sink | None = None) -> Answer:
        """A request without body; ``sink`` is shown the body of the response piece by piece."""
        self.begin(method, path, headers)
        return self._answer(method, sink)

    def upload(self, method: str, path: str, headers: Mapping[str, str], source: Path) -> Answer:
        """A request with the file ``source`` as its body."""
        size = source.stat().st_size
        self.begin(method, path, {**headers, "Content-Length": str(size)})
        with source.open("rb") as file:
            offset = 0
            while offset < size:
                offset += os.sendfile(self._socket.fileno(), file.fileno(), offset, size - offset)
        return self._answer(method, None)

    def begin(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Send the head of a request, and nothing else."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def _answer(self, method: str, sink: type_sink | None) -> Answer:
        head, rest = self._head()
        status_line, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        status = int(status_line.split()[1])
        if method == "HEAD" or status in (204, 304):
            expected: int | None = 0
        elif "chunked" in headers.get("transfer-encoding", ""):
            raise WrongAnswer("a chunked answer where one of known length was expected")
        else:
            expected = int(headers["content-length"]) if "content-length" in headers else None
        return Answer(status, headers, self._body(rest, expected, sink))

    def _head(self) -> tuple[bytes, bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self._socket.recv(65536)
            if not piece:
                raise WrongAnswer(f"the connection ended within the head: {received[:200]!r}")
            received += piece
        head, _, rest = received.partition(b"\r\n\r\n")
        return head, rest

    def _receive(self) -> int:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                return self._socket.recv_into(self._buffer, 0, self._flags)
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise TimeoutError(f"nothing came for {_PATIENCE} seconds") from None

    def _body(self, rest: bytes, expected: int | None, sink: type_sink | None) -> int:
        count = len(rest)
        if sink is not None and rest:
            sink(memoryview(rest))
        while expected is None or count < expected:
            got = self._receive()
            if not got:
                break
            if sink is not None:
                sink(self._buffer[:got])
            count += got
        if expected is not None and count != expected:
            raise WrongAnswer(f"{count} bytes of {expected} came")
        return count


def expect(answer: Answer, *statuses: int) -> Answer:
    """The answer, if it is one of those."""
    if answer.status not in statuses:
        raise WrongAnswer(f"expected {' or '.join(map(str, statuses))}, got {answer.status} {dict(answer.headers)}")
    return answer


def timed(amount: float, work: Callable[[], object]) -> Work:
    """Do ``work`` and say how long it took."""
    begun = time.perf_counter()
    work()
    return Work(amount, time.perf_counter() - begun)


def together(jobs: Iterable[Callable[[], object]]) -> None:
    """Do all of them at once, a thread for each; they spend their time in the kernel. Raises what the first that failed raised."""
    waiting = list(jobs)
    with ThreadPoolExecutor(len(waiting)) as pool:
        for done in [pool.submit(job) for job in waiting]:
            done.result()


def drained(port: int, path: str, headers: Mapping[str, str]) -> int:
    """Bytes that came, framing included, until the server closed: for answers of unknown length."""
    with Client(port) as client:
        client.begin("GET", path, {**headers, "Connection": "close"})
        head, rest = client._head()
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise WrongAnswer(f"expected 200, got {head[:300]!r}")
        return client._body(rest, None, None)

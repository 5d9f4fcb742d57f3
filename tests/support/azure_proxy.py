"""Between the gateway and Azurite: a proxy that speaks HTTP, loses answers, refuses, is busy, and does what Azurite cannot."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

import attrs

from tests.support.azurite import Azurite


@attrs.frozen
class Asked:
    """A request as it came.

    :ivar at: when, on a clock that only goes forward
    """

    method: str
    path: str
    query: dict[str, str]
    at: float

    @property
    def changes(self) -> bool:
        return self.method not in ("GET", "HEAD")


@attrs.frozen
class Refusal:
    """An answer that the storage never gave."""

    status: int
    code: str
    headers: dict[str, str] = attrs.Factory(dict)


#: What happens to a request instead: a refusal, or with ``LOST`` it is carried out and its answer lost.
LOST = "lost"
#: Headers that are for one connection alone.
_HOPS = frozenset({"connection", "keep-alive", "transfer-encoding", "server"})
type_rule = Callable[[Asked], "Refusal | str | None"]


class AzureProxy:
    """The proxy. Ends with the ``with`` block.

    :param fetches: make blocks of what other blobs have (Put Block From URL), as the service does and Azurite does not
    :ivar asked: every request so far
    :ivar rule: what to do to each
    :ivar met: whether :meth:`once_at` has happened
    """

    def __init__(self, azurite: Azurite, fetches: bool = False) -> None:
        self.azurite = azurite
        self.fetches = fetches
        self.asked: list[Asked] = []
        self.met = False
        self.rule: type_rule = lambda asked: None
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            def owner(self) -> AzureProxy:
                return proxy

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = Azurite.url_at(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def judge(self, asked: Asked) -> Refusal | str | None:
        """Note a request, and say what becomes of it."""
        with self._lock:
            self.asked.append(asked)
            return self.rule(asked)

    def once_at(self, number: int, what: Refusal | str, counts: Callable[[Asked], bool]) -> None:
        """Do ``what`` to the request of that number, from now on, of those that count."""
        seen, self.met = 0, False

        def rule(asked: Asked) -> Refusal | str | None:
            nonlocal seen
            if not counts(asked):
                return None
            seen += 1
            if seen != number + 1:
                return None
            self.met = True
            return what

        self.rule = rule

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that are cut are what it is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def owner(self) -> AzureProxy:
        raise NotImplementedError

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        proxy = self.owner()
        verdict = proxy.judge(Asked(self.command, parts.path, query, time.monotonic()))
        if isinstance(verdict, Refusal):
            self._answer(verdict.status, {"x-ms-error-code": verdict.code, **verdict.headers}, b"")
            return
        status, headers, content = self._forward(body)
        if verdict == LOST:
            with contextlib.suppress(OSError):
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        self._answer(status, headers, content)

    do_GET = do_HEAD = do_PUT = do_DELETE = _serve

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {name.lower(): value for name, value in self.headers.items() if name.lower() not in _HOPS}
        if "x-ms-copy-source" in self.headers and "comp=block" in self.path and self.owner().fetches:
            source = urlsplit(headers.pop("x-ms-copy-source"))
            fetched = {
                "host": headers["host"],
                "x-ms-version": headers["x-ms-version"],
                "x-ms-range": headers.pop("x-ms-source-range"),
            }
            fetched["If-Match"] = headers.pop("x-ms-source-if-match")
            status, answered, body = self._ask("GET", f"{source.path}?{source.query}", fetched, b"")
            if status != 206:
                return status, answered, b""
        headers["content-length"] = str(len(body))
        return self._ask(self.command, self.path, headers, body)

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.owner().azurite.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() in _HOPS:
                continue
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        self.send_header("Server", "Windows-Azure-Blob/1.0" if self.owner().fetches else "Azurite-Blob/3.35.0")
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

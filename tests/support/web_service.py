"""A small HTTP service in a thread, for what the gateway asks: identity providers, orchestrators."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import attrs


@attrs.frozen
class Asked:
    """One request. ``body`` is what its JSON says; headers have small names."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@attrs.frozen
class Reply:
    """An answer; ``raw`` goes out instead of JSON."""

    status: int = 200
    body: Any = None
    raw: bytes | None = None
    headers: dict[str, str] = attrs.Factory(dict)


class _Server(ThreadingHTTPServer):
    """Knows its connections, and ends them with itself."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connections: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class WebService:
    """Answers with what ``handler`` makes of each request. Ends with the ``with`` block.

    :ivar asked: all requests so far
    """

    def __init__(self, handler: Callable[[Asked], Reply]) -> None:
        self.asked: list[Asked] = []
        self.failures: list[BaseException] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                raw = self.rfile.read(length)
                fields = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, fields, json.loads(raw) if raw else None)
                service.asked.append(asked)
                try:
                    reply = handler(asked)
                except BaseException as failure:
                    service.failures.append(failure)
                    reply = Reply(500)
                body = reply.raw if reply.raw is not None else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in {"content-length": str(len(body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = _answer

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        self._handler = Handler
        self._server: _Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen; again on the same port after :meth:`stop`."""
        self._server = _Server(("127.0.0.1", self.port), self._handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections, and end those that are."""
        if self._server is not None:
            self._server.end()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        assert not self.failures, self.failures

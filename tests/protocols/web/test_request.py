"""Requests that begin with their headers: what a handler sees, and what the client gets. Also pins the private names of Twisted's
channel that ``channel.py`` relies on."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from tests.support.site import Client, Wire, answer_ok, listening
from tests.support.uploading import head
from vfgateway.errors import IncompleteBody, PermissionDenied, TooLarge
from vfgateway.protocols.web.body import MOST_WAITING
from vfgateway.protocols.web.request import StreamingRequest

MIB = 1 << 20


class Recorder:
    """A handler that reads what it is told to, and remembers."""

    def __init__(self, *, wait: bool = False) -> None:
        self.requests: list[StreamingRequest] = []
        self.chunks: list[Any] = []
        self.error: BaseException | None = None
        self.go: Deferred[None] | None = Deferred() if wait else None

    async def __call__(self, request: StreamingRequest) -> None:
        self.requests.append(request)
        try:
            if self.go is not None:
                await self.go
            while chunks := await request.body.read():
                self.chunks += chunks
        except BaseException as error:
            self.error = error
            raise
        await answer_ok(request)

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def failed(self) -> type[BaseException] | None:
        return type(self.error) if self.error is not None else None


async def refuse(request: StreamingRequest) -> None:
    """A handler that says no without looking at the body."""
    raise PermissionDenied("here")


def test_begins_with_the_headers() -> None:
    """The handler runs before the first byte of the body, with method, path, query and length."""
    handler = Recorder()
    wire = Wire(handler)
    wire.send(head("PUT", "/a%20b?x=1&y=", Content_Length=10))
    [request] = handler.requests
    assert (request.method, request.path, request.args) == (b"PUT", b"/a%20b", {b"x": [b"1"], b"y": [b""]})
    assert request.body.length == 10
    wire.send(b"01234")
    wire.send(b"56789")
    assert handler.body == b"0123456789"
    assert wire.status == 200


def test_body_in_the_same_segment() -> None:
    """A body that comes together with the head is not lost."""
    handler = Recorder()
    wire = Wire(handler)
    wire.send(head("PUT", "/", Content_Length=3) + b"abc")
    assert (handler.body, wire.status) == (b"abc", 200)


def test_chunked_body() -> None:
    """A body of unknown length ends with its last chunk, wherever the segments are cut."""
    handler = Recorder()
    wire = Wire(handler)
    for byte in head("PUT", "/", Transfer_Encoding="chunked") + b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: 1\r\n\r\n":
        wire.send(bytes([byte]))
    assert handler.requests[0].body.length is None
    assert (handler.body, wire.status) == (b"abcdefg", 200)


def test_holds_the_client_back() -> None:
    """What a handler does not read is not taken from the network, but for about a MiB; reading lets the client go on."""
    handler = Recorder(wait=True)
    wire = Wire(handler)
    wire.send(head("PUT", "/", Content_Length=8 * MIB))
    sent = 0
    while wire.transport.producerState == "producing":
        wire.send(b"x" * (64 << 10))
        sent += 64 << 10
        assert sent <= MOST_WAITING + (64 << 10)
    assert handler.go is not None
    handler.go.callback(None)
    assert wire.transport.producerState == "producing"
    while sent < 8 * MIB:
        wire.send(b"x" * (64 << 10))
        sent += 64 << 10
    assert (len(handler.body), wire.status) == (8 * MIB, 200)


def test_continue_is_sent_by_the_first_read() -> None:
    """A client that waits for ``100 Continue`` gets it when the handler wants the body, and only once."""
    handler = Recorder(wait=True)
    wire = Wire(handler)
    wire.send(head("PUT", "/", Content_Length=4, Expect="100-continue"))
    assert wire.answer == b""
    assert handler.go is not None
    handler.go.callback(None)
    assert wire.answer == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(b"ab")
    wire.send(b"cd")
    assert wire.answer.count(b"100 Continue") == 1
    assert wire.status == 200


def test_no_continue_once_the_body_comes() -> None:
    """A client that did not wait is not told to go on."""
    handler = Recorder(wait=True)
    wire = Wire(handler)
    wire.send(head("PUT", "/", Content_Length=4, Expect="100-continue") + b"ab")
    assert handler.go is not None
    handler.go.callback(None)
    wire.send(b"cd")
    assert b"100 Continue" not in wire.answer


def test_refusal_instead_of_continue() -> None:
    """A refusal reaches a client that waits before it has sent anything, and ends the connection."""
    wire = Wire(refuse)
    wire.send(head("PUT", "/", Content_Length=1 << 40, Expect="100-continue"))
    assert b"100 Continue" not in wire.answer
    assert wire.status == 403
    assert b"\r\nConnection: close\r\n" in wire.answer


def test_other_expectations_fail() -> None:
    """417 for what we do not know (RFC 9110 section 10.1.1)."""
    wire = Wire(Recorder())
    wire.send(head("PUT", "/", Content_Length=1, Expect="miracles"))
    assert wire.status == 417


def test_small_unread_body_keeps_the_connection() -> None:
    """A refusal with little left to come reads the rest and serves the next request, as if the body had been read."""
    wire = Wire(refuse)
    wire.send(head("PUT", "/1", Content_Length=10) + b"01234")
    assert wire.status == 403
    assert b"Connection: close" not in wire.answer
    wire.send(b"56789" + head("GET", "/2"))
    assert wire.answer.count(b"HTTP/1.1 403") == 2


def test_large_unread_body_ends_the_connection() -> None:
    """What is left of a refused body is never taken for a request."""
    wire = Wire(refuse)
    wire.send(head("PUT", "/1", Content_Length=100 * MIB) + head("GET", "/smuggled"))
    assert b"\r\nConnection: close\r\n" in wire.answer
    wire.send(head("GET", "/smuggled"))
    assert wire.answer.count(b"HTTP/1.1 ") == 1
    wire.clock.advance(60)
    assert wire.transport.disconnecting


async def test_refusal_is_read_although_the_client_sends() -> None:
    """A client that does not listen while it sends still finds the answer: the connection is not reset under it."""
    async with listening(refuse) as port:
        client = await Client.open(port)
        client.send(head("PUT", "/", Content_Length=64 * MIB) + b"x" * (8 * MIB))
        assert b"403 Forbidden" in await client.until(b"request_id")
        await client.lost
        assert b"403 Forbidden" in client.received


def test_leaving_in_the_middle_of_a_body() -> None:
    """The reader gets what did arrive and then ``IncompleteBody``; it is not cancelled."""
    handler = Recorder()
    wire = Wire(handler)
    wire.send(head("PATCH", "/", Content_Length=10) + b"01234")
    wire.lose()
    assert handler.body == b"01234"
    assert isinstance(handler.error, IncompleteBody)
    assert (handler.error.expected, handler.error.received) == (10, 5)


def test_leaving_while_work_is_done() -> None:
    """Work that changes something goes on when its client leaves; its answer is dropped without complaint."""
    handler = Recorder(wait=True)
    wire = Wire(handler)
    wire.send(head("PUT", "/", Content_Length=3) + b"abc")
    wire.lose()
    assert handler.go is not None
    handler.go.callback(None)
    assert (handler.body, handler.error) == (b"abc", None)


def test_leaving_cancels_a_reader() -> None:
    """Work that only reads ends when nobody waits for it any more."""
    handler = Recorder(wait=True)
    wire = Wire(handler)
    wire.send(head("GET", "/"))
    wire.lose()
    assert isinstance(handler.error, CancelledError)


def test_leaving_cancels_a_writer_of_answers() -> None:
    """Once an answer is under way, its client's leaving ends it, whatever the method."""
    errors: list[BaseException] = []

    async def forever(request: StreamingRequest) -> None:
        request.write(b"begun")
        try:
            await Deferred()
        except CancelledError as error:
            errors.append(error)
            raise

    wire = Wire(forever)
    wire.send(head("POST", "/"))
    wire.lose()
    assert len(errors) == 1


def test_pipelined_requests() -> None:
    """Requests sent without waiting are answered one after the other, each with its own body."""
    bodies: list[bytes] = []

    async def echo(request: StreamingRequest) -> None:
        bodies.append(await request.body.read_all(100))
        await answer_ok(request, bodies[-1] or b"none")

    wire = Wire(echo)
    wire.send(head("PUT", "/", Content_Length=1) + b"a" + head("GET", "/") + head("PUT", "/", Content_Length=1) + b"b")
    assert bodies == [b"a", b"", b"b"]
    assert wire.answer.count(b"HTTP/1.1 200 OK") == 3


def test_silence_in_a_wanted_body() -> None:
    """A client that stops sending is given up after a time, and what it sent can be kept."""
    handler = Recorder()
    wire = Wire(handler, body_timeout=30)
    wire.send(head("PUT", "/", Content_Length=10) + b"01234")
    wire.clock.advance(29)
    assert handler.failed() is None
    wire.clock.advance(2)
    assert handler.failed() is IncompleteBody
    assert handler.body == b"01234"


def test_silence_while_we_work() -> None:
    """A client is not blamed for the time that a handler takes."""
    handler = Recorder(wait=True)
    wire = Wire(handler, body_timeout=30)
    wire.send(head("PUT", "/", Content_Length=10))
    wire.clock.advance(10_000)
    assert handler.go is not None
    handler.go.callback(None)
    wire.send(b"0123456789")
    assert wire.status == 200


def test_a_trickling_head_has_its_time() -> None:
    """A head that comes byte by byte ends with its time, however often a byte comes."""
    wire = Wire(Recorder(), idle=60)
    wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
    for _ in range(13):
        wire.clock.advance(5)
        wire.send(b"x")
    assert wire.transport.disconnecting


def test_idle_connections_end() -> None:
    """A connection that was kept open is closed when nothing follows."""
    wire = Wire(Recorder(), idle=60)
    wire.send(head("GET", "/"))
    wire.clock.advance(59)
    assert not wire.transport.disconnecting
    wire.clock.advance(2)
    assert wire.transport.disconnecting


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + (b"X: " + b"y" * 9_000 + b"\r\n") * 8 + b"\r\n", 431),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        (b"PUT / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx", 400),
        (b"PUT / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\nx", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", 400),
    ],
)
def test_what_is_no_request(sent: bytes, status: int) -> None:
    """Heads that are too large or cannot be read are refused, no handler sees them, and nothing after them is believed."""
    handler = Recorder()
    wire = Wire(handler)
    wire.send(sent + head("GET", "/smuggled"))
    assert (wire.status, wire.answer.count(b"HTTP/1.1 ")) == (status, 1)
    assert handler.requests == []


def test_broken_chunks() -> None:
    """A body whose coding breaks is an incomplete one, answered as such, and the connection ends."""
    wire = Wire(Recorder())
    wire.send(head("PUT", "/", Transfer_Encoding="chunked") + b"3\r\nabc\r\nzz\r\n")
    assert wire.status == 400
    assert b"\r\nConnection: close\r\n" in wire.answer


def test_absolute_form() -> None:
    """A request through a proxy names scheme and host in its target; both forms are the same (RFC 9112 section 3.2.2)."""
    handler = Recorder()
    Wire(handler).send(head("GET", "http://storage.example.org/a?b=c"))
    [request] = handler.requests
    assert (request.path, request.args) == (b"/a", {b"b": [b"c"]})
    assert request.external_base == "http://storage.example.org"


def test_old_clients() -> None:
    """HTTP/1.0 is answered and closed."""
    wire = Wire(Recorder())
    wire.send(b"PUT / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
    assert b" 200 OK" in wire.answer
    assert wire.transport.disconnecting


def test_read_all_is_bounded() -> None:
    """A body for memory is refused when it is declared too large, or turns out to be."""
    errors: list[TooLarge] = []

    async def small(request: StreamingRequest) -> None:
        try:
            await request.body.read_all(4)
        except TooLarge as error:
            errors.append(error)
            raise

    Wire(small).send(head("POST", "/", Content_Length=5))
    Wire(small).send(head("POST", "/", Transfer_Encoding="chunked") + b"5\r\nabcde\r\n0\r\n\r\n")
    assert [(error.limit, error.wanted) for error in errors] == [(4, 5), (4, 5)]


def test_unexpected_errors_say_nothing() -> None:
    """A bug is answered with 500 as JSON, an identifier to find it by, and not a word more."""

    async def broken(request: StreamingRequest) -> None:
        raise RuntimeError("the password is hunter2")

    wire = Wire(broken)
    wire.send(head("GET", "/"))
    assert wire.status == 500
    assert b"application/problem+json" in wire.answer
    assert b"hunter2" not in wire.answer
    assert b"\r\nX-Request-Id: " in wire.answer


def test_error_after_the_answer_began() -> None:
    """An answer that cannot be completed is cut, so that it does not look whole."""

    async def broken(request: StreamingRequest) -> None:
        request.write(b"first")
        raise RuntimeError("later")

    wire = Wire(broken)
    wire.send(head("GET", "/"))
    assert wire.answer.endswith(b"5\r\nfirst\r\n")
    assert wire.transport.disconnecting


async def test_large_body_over_a_socket() -> None:
    """A large body arrives byte for byte, and chunks that are kept are not overwritten by later ones."""
    handler = Recorder()
    content = b"".join(i.to_bytes(4, "big") for i in range(8 * MIB // 4))
    async with listening(handler) as port:
        client = await Client.open(port)
        client.send(head("PUT", "/", Content_Length=len(content)) + content + head("GET", "/next"))
        received = await client.until(b"ok")
        while received.count(b"HTTP/1.1 200 OK") < 2:
            client.received = client.received.replace(b"\r\n\r\nok", b"\r\n\r\nOK", 1)
            received = await client.until(b"\r\n\r\nok")
    assert handler.body == content
    assert any(isinstance(chunk, memoryview) for chunk in handler.chunks)  # taken past the protocol
    assert [request.path for request in handler.requests] == [b"/", b"/next"]


async def test_large_body_cut_over_a_socket() -> None:
    """All that arrived before the cut reaches the reader."""
    handler = Recorder()
    async with listening(handler) as port:
        client = await Client.open(port)
        client.send(head("PUT", "/", Content_Length=64 * MIB) + b"x" * (3 * MIB + 17))
        client.close()
        await client.lost
        while handler.error is None:
            await _turn()
    assert isinstance(handler.error, IncompleteBody)
    assert len(handler.body) == handler.error.received == 3 * MIB + 17


async def test_slow_handler_over_a_socket() -> None:
    """However much a client would send, no more than a few MiB are taken before the handler reads."""
    handler = Recorder(wait=True)
    async with listening(handler) as port:
        client = await Client.open(port)
        client.send(head("PUT", "/", Content_Length=256 * MIB) + b"x" * (32 * MIB))
        while not handler.requests:
            await _turn()
        for _ in range(300):
            await _turn()
        assert handler.requests[0].body.received <= 2 * MIB
        await client.cut()


async def _turn() -> None:
    """Let the reactor do what is due."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    await deferLater(reactor, 0.001)

# mypy: disallow-untyped-calls=False
"""Large writes over TLS: they arrive whole and in order, whoever reads slowly; it pins the private names that they use."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from tests.support.process import PATIENCE
from tests.support.tls import certificate
from vfgateway.protocols.web.tls import PIECE, LargeWrites, ReloadingCertificate, speaking_tls

#: Small ones are gathered by Twisted for its next turn; large ones go at once, and must not overtake them.
WRITES = [
    b"head" * 3,
    bytes(range(256)) * 8192,
    b"-" * PIECE,
    b"between",
    b"x" * (PIECE + 1),
    b"y" * (9 << 20),
    b"tail",
]


class Talker(Protocol):
    """Sends everything to whoever says something, and closes."""

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        assert isinstance(transport, LargeWrites)
        for piece in WRITES:
            transport.write(piece)
        transport.loseConnection()


@contextmanager
def listening(folder: Path) -> Iterator[int]:
    """A server; its port."""
    pem = folder / "certificate.pem"
    pem.write_bytes(certificate().dumpPEM())
    creator = ReloadingCertificate(pem, None, reactor)
    creator.load()
    loop: Any = reactor
    port = loop.listenTCP(0, speaking_tls(creator, Factory.forProtocol(Talker)), interface="127.0.0.1")
    try:
        yield port.getHost().port
    finally:
        port.stopListening()


def fetch(port: int, version: ssl.TLSVersion, room: int) -> bytes:
    """Everything that comes, in a thread; ``room`` is what the socket holds for who reads."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    received = bytearray()
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        plain.settimeout(PATIENCE)
        plain.connect(("127.0.0.1", port))
        with context.wrap_socket(plain) as client:
            client.sendall(b"go on")
            while piece := client.recv(1 << 20):
                received += piece
    return bytes(received)


@pytest.mark.parametrize("room", [4 << 20, 16 << 10], ids=["a large buffer", "a small buffer"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_large_and_small_writes_come_in_order(tmp_path: Path, version: ssl.TLSVersion, room: int) -> None:
    """By each version of the protocol, where all goes at once, and where most has to wait."""
    with listening(tmp_path) as port:
        received = await deferToThread(fetch, port, version, room)
    assert len(received) == sum(map(len, WRITES))
    assert received == b"".join(WRITES)

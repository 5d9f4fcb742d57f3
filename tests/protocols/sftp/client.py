"""A client that speaks SFTP packet by packet, so that it can send what no real client would. paramiko carries the bytes."""

from __future__ import annotations

import struct
from types import TracebackType
from typing import Any, Self

import paramiko

from tests.support.process import ALICE


def string(data: bytes) -> bytes:
    """A string with its length."""
    return struct.pack(">I", len(data)) + data


class RawSftp:
    """One channel, past INIT.

    :param window: bytes that may come before the client has read any
    """

    def __init__(self, port: int, init: bool = True, window: int | None = None) -> None:
        self._transport = paramiko.Transport(("127.0.0.1", port))
        self._transport.connect(username=ALICE[0], password=ALICE[1])
        self.channel = self._transport.open_session(window)
        self.channel.settimeout(20)
        self.channel.invoke_subsystem("sftp")
        self._count = 0
        self.extensions: dict[bytes, bytes] = {}
        if init:
            self.send(b"\1\0\0\0\3")
            answer = self._exactly(struct.unpack(">I", self._exactly(4))[0])
            assert answer[:5] == b"\2\0\0\0\3"
            rest = answer[5:]
            while rest:
                name, rest = take(rest)
                value, rest = take(rest)
                self.extensions[name] = value

    def exchange_keys(self) -> None:
        """Ask for new keys, and wait until they are in use."""
        self._transport.renegotiate_keys()

    def send(self, packet: bytes) -> None:
        """A packet, whatever it is, with its length."""
        self.channel.sendall(string(packet))

    def request(self, kind: int, body: bytes) -> int:
        """Send a request; its number."""
        self._count += 1
        self.send(struct.pack(">BI", kind, self._count) + body)
        return self._count

    def answer(self) -> tuple[int, int, bytes]:
        """The next answer: kind, number, body."""
        packet = self._exactly(struct.unpack(">I", self._exactly(4))[0])
        kind, number = struct.unpack(">BI", packet[:5])
        return kind, number, packet[5:]

    def ask(self, kind: int, body: bytes) -> tuple[int, bytes]:
        """Send a request and return the answer to it: kind and body."""
        number = self.request(kind, body)
        kind, answered, body = self.answer()
        assert answered == number
        return kind, body

    def status(self, kind: int, body: bytes) -> tuple[int, str]:
        """Send a request that is answered by a status: code and text."""
        answered, rest = self.ask(kind, body)
        assert answered == 101, (answered, rest)
        return struct.unpack(">I", rest[:4])[0], take(rest[4:])[0].decode()

    def open(self, path: bytes, flags: int = 1) -> bytes:
        """The handle of a file, as it stands in a request."""
        kind, body = self.ask(3, string(path) + struct.pack(">II", flags, 0))
        assert kind == 102, body
        return body

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.channel.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def ends(self) -> bool:
        """Whether the server closes the channel, without an answer or after one."""
        try:
            while self.channel.recv(65536):
                pass
        except (OSError, EOFError):
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        self._transport.close()


def take(data: bytes) -> tuple[bytes, bytes]:
    """A string and what follows."""
    (length,) = struct.unpack(">I", data[:4])
    return data[4 : 4 + length], data[4 + length :]

"""From a socket into a file by the kernel alone: for the threads of a volume, while a client sends much."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

#: Bytes of a pipe: as many as the kernel gives to anybody.
PIPE: Final = 1 << 20
#: Bytes and seconds after which a thread ends, so that the reactor can say whether it goes on.
MOST, LONGEST = 32 << 20, 0.25
#: Milliseconds for which a thread waits until its client has sent so many bytes more; who sends less is read by the reactor.
PAUSE, WORTH_WAKING = 10, 256 << 10
#: Bytes that are copied at once where a file system cannot do it.
COPIED: Final = 64 << 10
#: Pipes kept for the next one.
_KEPT: Final = 4

_pipes: list[_Pipe] = []


class _Pipe:
    """An empty pipe."""

    def __init__(self) -> None:
        self.end, self.mouth = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with suppress(OSError):  # there are many already, or the administrator wants less
            fcntl.fcntl(self.mouth, fcntl.F_SETPIPE_SZ, PIPE)

    @staticmethod
    def take() -> _Pipe:
        """One that is used by nobody."""
        try:
            return _pipes.pop()
        except IndexError:
            return _Pipe()

    def close(self) -> None:
        os.close(self.mouth)
        os.close(self.end)

    def pour(self, count: int, descriptor: int, offset: int) -> Iterator[int]:
        """Write what is in it; yields the bytes of each call."""
        while count:
            try:
                written = os.splice(self.end, descriptor, count, offset_dst=offset)
            except OSError:  # the file system cannot do it; or it takes no more, and says so again
                written = _copy(self.end, min(count, COPIED), descriptor, offset)
            yield written
            offset += written
            count -= written


def _copy(source: int, count: int, descriptor: int, offset: int) -> int:
    data = os.read(source, count)
    written = 0
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], offset + written)
    return written


class Splice:
    """Moves up to ``most`` bytes from a socket that is not read otherwise. Call it once, in a thread; close it when that has ended.

    :ivar taken: bytes that were taken from the socket, stored or not
    """

    def __init__(self, plain: socket.socket, most: int) -> None:
        self._socket = plain.dup()  # which the reactor may close meanwhile
        self._most = most
        self.taken = 0

    def close(self) -> None:
        """The reactor may read the socket again."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._socket.close()

    def __call__(self, descriptor: int, offset: int) -> Iterator[int]:
        """Write to a file from ``offset`` on, yielding the bytes of each call. It ends when the client pauses, has left, or has been served for a while."""
        try:
            pipe = _Pipe.take()
        except OSError:  # there are too many files open: to read works without another one
            return
        empty = False
        try:
            until = time.monotonic() + LONGEST
            while self.taken < self._most and time.monotonic() < until:
                count = self._take(pipe)
                if not count:
                    break
                self.taken += count
                for written in pipe.pour(count, descriptor, offset):
                    offset += written
                    yield written
            empty = True
        finally:
            if empty and len(_pipes) < _KEPT:
                _pipes.append(pipe)
            else:
                pipe.close()

    def _take(self, pipe: _Pipe) -> int:
        """Bytes that are in the pipe now; 0 if nothing comes, for whatever reason: the reactor will find out."""
        for _ in range(2):
            try:
                number = self._socket.fileno()
                return os.splice(number, pipe.mouth, min(PIPE, self._most - self.taken), flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                least = min(WORTH_WAKING, self._most - self.taken)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
                looking = select.poll()
                looking.register(self._socket, select.POLLIN)
                looking.poll(PAUSE)
            except OSError:
                break
        return 0

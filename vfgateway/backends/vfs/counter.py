"""A process that counts a tree beside us: ``find`` of the GNU findutils, which takes less time than Python and none of the reactor's.

It is told a directory by descriptor, follows no link, and says sizes and never names, so there is nothing to be decoded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from functools import cache
from typing import Self

from vfgateway.model import Usage

#: What each kind of entry is said as: a size; a size and an identity, of a file with several names; nothing, of all others.
_SAYS = (
    *("(", "-type", "f", "-links", "1", "-printf", "%s\\n"),
    *("-o", "-type", "f", "-printf", "=%s %D:%i\\n"),
    *("-o", "-printf", "0\\n", ")"),
)


@cache
def _program() -> str | None:
    return shutil.which("find")


class Counter:
    """A count under way.

    :ivar usage: what has been counted
    :ivar failed: it ended before its time, and the count is worth nothing
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._rest = b""
        self._shared: set[bytes] = set()
        self.usage = Usage()
        self.failed = False

    @classmethod
    def start(cls, top: int, hide: str | None) -> Self | None:
        """Count below an open directory, but for ``hide`` in it; ``None`` where there is no such program."""
        program = _program()
        if program is None:
            return None
        hidden = () if hide is None else ("-path", f"./{hide}", "-prune", "-o")
        command = [program, ".", "-ignore_readdir_race", "-mindepth", "1", *hidden, *_SAYS]
        try:
            return cls(
                subprocess.Popen(
                    command,
                    cwd=f"/proc/self/fd/{top}",
                    env={"LC_ALL": "C"},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            )
        except OSError:
            return None

    def go_on(self, seconds: float) -> bool:
        """Take in what it says, for so long; whether there is more. While nobody does, it waits."""
        assert self._process.stdout is not None
        until = time.monotonic() + seconds
        while data := os.read(self._process.stdout.fileno(), 1 << 16):
            self._take(data)
            if time.monotonic() >= until:
                return True
        # 1: something could not be read, which is passed over. Without a word at all it was another find, that knows not what we ask.
        status = self._process.wait()
        self.failed = status not in (0, 1) or (status == 1 and not self.usage.files)
        return False

    def _take(self, data: bytes) -> None:
        whole, _, self._rest = (self._rest + data).rpartition(b"\n")
        lines = whole.split()
        count = whole.count(b"\n") + bool(whole)
        if b"=" in whole:
            lines = [self._own(line) for line in whole.split(b"\n")]
        self.usage += Usage(sum(map(int, lines)), count)

    def _own(self, line: bytes) -> bytes:
        """The size that a line adds."""
        if not line.startswith(b"="):
            return line
        size, _, identity = line[1:].partition(b" ")
        if identity in self._shared:
            return b"0"
        self._shared.add(identity)
        return size

    def close(self) -> None:
        """End it. Idempotent."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

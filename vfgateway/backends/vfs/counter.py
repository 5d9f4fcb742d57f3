"""A process that counts a tree beside us: ``find`` of the GNU findutils, which takes less time than Python and none of the reactor's.

It is told a directory by descriptor, follows no link, and says depths and sizes. The only names that it says are those of the directories at the
top, each before what lies in it, as bytes that nobody decodes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from functools import cache
from typing import Self

from vfgateway.model import Usage
from vfgateway.treeusage import LOOSE, TreeUsage

#: What each kind of entry is said as. After its depth, a size; a size and an identity, of a file with several names; nothing, of all others.
#: But of directories at the top, the name between two NULs.
_SAYS = (
    *("(", "-type", "f", "-links", "1", "-printf", "%d %s\\n"),
    *("-o", "-type", "f", "-printf", "%d =%s@%D:%i\\n"),
    *("-o", "-type", "d", "!", "-path", "./*/*", "-printf", "\\0%f\\0"),
    *("-o", "-printf", "%d 0\\n", ")"),
)
#: The depth of what lies at the top.
TOP = b"1"


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
        self._folder = LOOSE
        self._shared: set[bytes] = set()
        self.usage = TreeUsage()
        self.failed = False

    @classmethod
    def start(cls, top: int, hide: str | None, hidden: str) -> Self | None:
        """Count below an open directory, but for ``hide`` in it, and what has a name of the pattern ``hidden`` anywhere; ``None`` where there
        is no such program."""
        program = _program()
        if program is None:
            return None
        left_out = [] if hide is None else ["-path", f"./{hide}", "-prune", "-o"]
        if hidden:
            left_out += ["-name", hidden, "-prune", "-o"]
        command = [program, ".", "-ignore_readdir_race", "-mindepth", "1", *left_out, *_SAYS]
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
        self.failed = status not in (0, 1) or (status == 1 and not self.usage.total.files)
        return False

    def _take(self, data: bytes) -> None:
        pieces = (self._rest + data).split(b"\0")
        if len(pieces) % 2:
            pieces[-1], _, self._rest = pieces[-1].rpartition(b"\n")
        else:  # it is in the middle of a name
            self._rest = b"\0" + pieces.pop()
        for number, piece in enumerate(pieces):
            if number % 2:
                self._folder = piece
                self.usage.add(piece, Usage(0, 1))
            elif piece:
                self._count(piece)

    def _count(self, lines: bytes) -> None:
        fields = lines.split()
        depths, sizes = fields[::2], fields[1::2]
        if b"=" in lines:
            sizes = [self._own(size) for size in sizes]
        if TOP not in depths:
            self.usage.add(self._folder, Usage(sum(map(int, sizes)), len(sizes)))
            return
        for at_top, folder in ((True, LOOSE), (False, self._folder)):
            chosen = [int(size) for depth, size in zip(depths, sizes, strict=True) if (depth == TOP) == at_top]
            if chosen:
                self.usage.add(folder, Usage(sum(chosen), len(chosen)))

    def _own(self, size: bytes) -> bytes:
        """The size that an entry adds."""
        if not size.startswith(b"="):
            return size
        size, _, identity = size[1:].partition(b"@")
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

"""Who of several processes has how many connections: a few words of memory that they all see.

Left to itself the kernel hands most connections on a shared socket to one process. So whoever has more than another leaves the next one
to it for a moment; if nobody took it by then, it was right to take it after all.
"""

from __future__ import annotations

import mmap
import os

#: Bytes of one process's number.
WIDTH = 4
#: The number of a process that accepts nothing.
AWAY = (1 << 32) - 1
#: Seconds for which a connection is left to others.
MOMENT = 0.002


def create(processes: int) -> int:
    """The descriptor of a table for so many processes, all of them away."""
    number = os.memfd_create("vfgateway-shares")
    os.write(number, AWAY.to_bytes(WIDTH, "little") * processes)
    return number


def mark_away(number: int, place: int) -> None:
    """A process is gone, whatever it thought last."""
    os.pwrite(number, AWAY.to_bytes(WIDTH, "little"), place * WIDTH)


class Share:
    """One process's place in the table.

    :param number: the descriptor; it is closed
    :param place: which process this is
    """

    def __init__(self, number: int, place: int) -> None:
        with open(number, "r+b") as file:
            self._memory = memoryview(mmap.mmap(file.fileno(), 0)).cast("I")
        self._place = place
        self._open = 0

    def come(self) -> None:
        """From now on connections are accepted."""
        self._memory[self._place] = self._open

    def leave(self) -> None:
        """No more."""
        self._memory[self._place] = AWAY

    def opened(self) -> None:
        """Count one connection more."""
        self._open += 1
        self._memory[self._place] = self._open

    def closed(self) -> None:
        """Count one less."""
        self._open -= 1
        if self._memory[self._place] != AWAY:
            self._memory[self._place] = self._open

    def is_largest(self) -> bool:
        """Whether another has fewer."""
        return min(self._memory) < self._open

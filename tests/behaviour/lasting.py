"""What lasts at a site with two processes, so that it may lose what it rests on: downloads whose reader does not read."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import requests

from tests.behaviour.doors import EveryDoor, HttpDoor
from tests.support.process import PATIENCE

#: Far more than a socket's buffers hold, so that the download is under way while its reader does not read.
LARGE = 96 << 20


class TwoProcesses(EveryDoor):
    """A site with two workers."""

    def _configuration(self, volumes: object) -> str:
        return super()._configuration(volumes).replace("workers = 1", "workers = 2")  # type: ignore[arg-type]


class SlowDownload:
    """A GET over a connection of its own, whose reader stops after the first bytes."""

    def __init__(self, answer: requests.Response) -> None:
        assert answer.status_code == 200, answer.text
        self._ports = [
            name[1] for name in (answer.raw._connection.sock.getpeername(), answer.raw._connection.sock.getsockname())
        ]
        self._pieces = answer.iter_content(64 << 10)
        self.got = len(next(self._pieces))

    @classmethod
    def by(cls, door: HttpDoor, path: str) -> Self:
        """As the user of a door."""
        return cls(requests.get(door.url(path), auth=door.login, stream=True, timeout=PATIENCE))

    def rest(self) -> int:
        """Bytes in all, up to the end or the cut."""
        try:
            for piece in self._pieces:
                self.got += len(piece)
        except (requests.RequestException, OSError):
            pass
        return self.got

    @property
    def is_over(self) -> bool:
        """Whether the gateway has let go of the connection; its reader need not have noticed yet."""
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ends = [f":{port:04X}" for port in self._ports]
        return not any(row[1].endswith(ends[0]) and row[2].endswith(ends[1]) and row[3] == "01" for row in rows)

"""What benchmarks of single volumes share: one stream through the gateway by HTTP, a listing by WebDAV, and turns with whoever does the same
without it. Both sides take turns, so that a busy machine is busy for both; what counts is the median of the ratios."""

from __future__ import annotations

import http.client
import io
import statistics
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from benchmarks.contest import MIB
from benchmarks.meter import Meter
from tests.behaviour.doors import EveryDoor
from tests.support.process import ALICE, VFolderOfAlice

#: Bytes that the client sends or takes at once.
PIECE = MIB
#: Entries of a long listing.
ENTRIES = 10_000


class Zeros(io.RawIOBase):
    """A file of so many bytes, without the bytes."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        count = self._left if size < 0 else min(size, self._left)
        self._left -= count
        return bytes(count)


def by_gateway(data: VFolderOfAlice, method: str, name: str, size: int = 0) -> int:
    """Send or fetch a file; the bytes that came."""
    parts = urlsplit(data.url(name))
    login = b64encode(":".join(ALICE).encode()).decode()
    connection = http.client.HTTPConnection(parts.netloc, timeout=600)
    headers = {"Authorization": f"Basic {login}", "Content-Length": str(size)}
    connection.request(method, parts.path, Zeros(size) if size else None, headers)
    answer = connection.getresponse()
    assert answer.status < 300, answer.read()
    count = 0
    while piece := answer.read(PIECE):
        count += len(piece)
    connection.close()
    return count


def list_by_gateway(data: VFolderOfAlice) -> int:
    """Every entry of a directory with its size and time, as WebDAV tells it."""
    site = data.site
    assert isinstance(site, EveryDoor)
    parts = urlsplit(f"{site.dav_url}/{data.name}/many/")
    login = b64encode(":".join(ALICE).encode()).decode()
    connection = http.client.HTTPConnection(parts.netloc, timeout=600)
    asked = b'<propfind xmlns="DAV:"><prop><getcontentlength/><getlastmodified/><resourcetype/></prop></propfind>'
    connection.request("PROPFIND", parts.path, asked, {"Authorization": f"Basic {login}", "Depth": "1"})
    found = connection.getresponse().read().count(b"response>") // 2 - 1
    connection.close()
    return found


def took(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def contest(
    name: str, rounds: int, gateway: Meter, ours: Callable[[], object], bare: Callable[[], object], size: int = 0
) -> None:
    """Take turns, and tell; with the processor time that the gateway took for each of its turns, and its memory at most."""
    ratios: list[float] = []
    best = [float("inf"), float("inf")]
    gateway.forget_peak()
    spent = gateway.cpu()
    for number in range(rounds):
        pair: Sequence[Callable[[], object]] = (ours, bare) if number % 2 else (bare, ours)
        times = {work: took(work) for work in pair}
        ratios.append(times[bare] / times[ours])
        best = [min(best[0], times[ours]), min(best[1], times[bare])]
    rate = (
        f"{size / best[0] / 1e6:7.0f} {size / best[1] / 1e6:7.0f} MB/s" if size else f"{best[0]:7.2f} {best[1]:7.2f} s"
    )
    ratio = f"{statistics.median(ratios):.2f} of the bare speed ({min(ratios):.2f} to {max(ratios):.2f})"
    cost = f"{(gateway.cpu() - spent) / rounds:.2f} s of processor, {gateway.peak() / MIB:.0f} MiB at most"
    print(f"{name:28} {rate}   {ratio}; gateway: {cost}", flush=True)


def streams(
    data: VFolderOfAlice,
    gateway: Meter,
    rounds: int,
    size: int,
    write: Callable[[], object],
    read: Callable[[], object],
) -> None:
    """One stream up and one down, beside those who ``write`` and ``read`` as much without the gateway."""
    amount = f"{size // MIB} MiB"
    contest(f"upload of {amount}", rounds, gateway, lambda: by_gateway(data, "PUT", "ours", size), write, size)
    contest(f"download of {amount}", rounds, gateway, lambda: by_gateway(data, "GET", "ours"), read, size)


def listing(data: VFolderOfAlice, gateway: Meter, rounds: int, bare: Callable[[], object]) -> None:
    """A directory ``many`` of :data:`ENTRIES` files, which is there."""
    assert list_by_gateway(data) == ENTRIES
    contest(f"listing of {ENTRIES:,} entries", rounds, gateway, lambda: list_by_gateway(data), bare)

"""Many clients at once, idle and active: ``python -m benchmarks.clients``, part of ``make bench``."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import Any, Protocol

import asyncssh
import attrs

from benchmarks.area import Area
from benchmarks.contest import MIB
from benchmarks.doors import Doors
from benchmarks.gateway import LOGIN
from benchmarks.report import Finding, Section
from benchmarks.storage import folder
from benchmarks.wire import WrongAnswer

#: How many come in at a time.
DOORWAY = 32

ABOUT = """{idle:,} connections are opened, log in, ask once and stay; then {active:,} of them ask again and again, as fast as they are answered, for {seconds} seconds, while the
others stay. HTTP: a file of 4 KiB; WebDAV: the properties of one; SFTP: its attributes. One process of the gateway; the client is one process of Python's asyncio and asyncssh, which is at least as
busy, so what is told of latency is both. *Served* says how many answers the connection got that got fewest, and the one that got most."""


@attrs.frozen
class Effort:
    """How much is done."""

    rounds: int
    idle: int
    active: int
    seconds: float


WHOLE, QUICK = Effort(1, 2000, 200, 5.0), Effort(1, 60, 20, 1.0)


class Door(Protocol):
    """A protocol, as these clients use it."""

    async def enter(self) -> Any:
        """A connection that is logged in."""

    async def ask(self, connection: Any) -> None:
        """Something small."""

    async def leave(self, connection: Any) -> None:
        """Close it."""


@attrs.frozen
class HttpDoor:
    """One request, over and over.

    :ivar status: of a good answer
    """

    port: int
    request: bytes
    status: bytes

    async def enter(self) -> Any:
        connection = await asyncio.open_connection("127.0.0.1", self.port)
        await self.ask(connection)
        return connection

    async def ask(self, connection: Any) -> None:
        reader, writer = connection
        writer.write(self.request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 " + self.status):
            raise WrongAnswer(repr(head[:300]))
        if b"\r\ncontent-length:" in head:
            length = head.partition(b"\r\ncontent-length:")[2]
            await reader.readexactly(int(length.partition(b"\r\n")[0]))
        else:  # chunked
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
            await reader.readexactly(2)

    async def leave(self, connection: Any) -> None:
        connection[1].transport.abort()


@attrs.frozen
class SftpDoor:
    """A session with a key."""

    port: int
    key: str

    async def enter(self) -> Any:
        ssh = await asyncssh.connect(
            "127.0.0.1", self.port, username="alice", client_keys=[self.key], known_hosts=None, config=None
        )
        connection = ssh, await ssh.start_sftp_client()
        await self.ask(connection)
        return connection

    async def ask(self, connection: Any) -> None:
        await connection[1].stat("data/file")

    async def leave(self, connection: Any) -> None:
        connection[0].abort()


def doors(gateway: Doors) -> dict[str, Door]:
    """All there are."""
    site, login = gateway.site, LOGIN["Authorization"]
    head = "{} {} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {}\r\n{}\r\n"
    get = head.format("GET", gateway.folder.url("file").removeprefix(site.client_url), login, "")
    find = head.format("PROPFIND", "/data/file", login, "Depth: 0\r\nContent-Length: 0\r\n")
    return {
        "HTTP": HttpDoor(site.client_port, get.encode(), b"200"),
        "WebDAV": HttpDoor(site.dav_port, find.encode(), b"207"),
        "SFTP": SftpDoor(site.sftp_port, str(site.key)),
    }


@attrs.define
class Found:
    """What a protocol did with them: bytes, milliseconds of each answer, answers of each connection."""

    idle: int = 0
    busy: int = 0
    taken: list[float] = attrs.field(factory=list)
    served: list[int] = attrs.field(factory=list)


async def crowd(door: Door, gateway: Doors, effort: Effort) -> Found:
    """Let them come, and some of them ask."""
    found, entrance = Found(), asyncio.Semaphore(DOORWAY)

    async def enter() -> Any:
        async with entrance:
            return await door.enter()

    async def work(connection: Any, until: float) -> None:
        count = 0
        while (begun := time.perf_counter()) < until:
            await door.ask(connection)
            found.taken.append((time.perf_counter() - begun) * 1000)
            count += 1
        found.served.append(count)

    await door.leave(await door.enter())
    before = gateway.resident()
    connections = await asyncio.gather(*(enter() for _ in range(effort.idle)))
    after = gateway.resident()
    until = time.perf_counter() + effort.seconds
    await asyncio.gather(*(work(connection, until) for connection in connections[: effort.active]))
    found.idle, found.busy = after - before, gateway.meter.peak() - after
    for connection in connections:
        await door.ask(connection)  # all are still there
        await door.leave(connection)
    return found


def section(effort: Effort, only: Sequence[str] | None = None) -> Section:
    """One protocol after the other, each with a gateway of its own."""
    findings, series, failures = [], dict[str, Sequence[float]](), list[str]()
    for name in ("HTTP", "WebDAV", "SFTP"):
        if only and name not in only:
            continue
        print(f"{effort.idle} connections by {name}", flush=True)
        try:
            with folder() as place, Doors(place / "gateway") as gateway:
                (gateway.folder.root / "file").write_bytes(bytes(4096))
                found = asyncio.run(crowd(doors(gateway)[name], gateway, effort))
        except Exception as failure:
            failures.append(f"Not measured: {name} ({type(failure).__name__}: {failure}).")
            continue
        findings += told(name, found, effort)
        series[f"{name}, {effort.active} at once"] = sorted(found.taken)[:: max(1, len(found.taken) // 1000)]
    about = ABOUT.format(idle=effort.idle, active=effort.active, seconds=f"{effort.seconds:g}")
    return Section("Many clients", about, findings=findings, series=series, failures=failures)


def told(name: str, found: Found, effort: Effort) -> list[Finding]:
    """In figures."""
    middle, late = statistics.median(found.taken), sorted(found.taken)[int(len(found.taken) * 0.99)]
    rate = len(found.taken) / effort.seconds
    beside = f"median {middle:.0f} ms, {rate:,.0f} answers/s, served {min(found.served)} to {max(found.served)} each"
    active = f"{effort.active} at once by {name}"
    return [
        Finding(
            f"{name}-idle", f"memory, each of {effort.idle:,} idle by {name}", found.idle / effort.idle / 1024, "KiB"
        ),
        Finding(
            f"{name}-memory",
            f"memory, {active}",
            found.busy / MIB / effort.active,
            "MiB each",
            2.0,
            "when they are idle",
        ),
        Finding(f"{name}-late", f"99 % of answers, {active}", late, "ms", None, beside),
    ]


AREA = Area("clients", section, WHOLE, QUICK)

if __name__ == "__main__":
    AREA.main()

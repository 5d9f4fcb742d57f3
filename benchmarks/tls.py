"""A large file by HTTPS beside nginx: ``python -m benchmarks.tls``, part of ``make bench``."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from benchmarks.area import Area
from benchmarks.contest import BYTES, GIB, MIB, Contest, Entrant, hold_all
from benchmarks.files import write_noise
from benchmarks.gateway import LOGIN, Gateway
from benchmarks.peers.nginx import Nginx
from benchmarks.report import Section
from benchmarks.storage import MEMORY, folder
from benchmarks.wire import Client, Work, WrongAnswer, expect, timed
from tests.support.process import free_port
from tests.support.tls import certificate

ABOUT = """One client, TLS 1.3 with AES-256-GCM and the same certificate for both; nginx runs one worker. The file has {large:,} MiB."""


@attrs.frozen
class Effort:
    """How much is done: bytes of the file."""

    rounds: int
    large: int


WHOLE, QUICK = Effort(5, GIB), Effort(2, 64 * MIB)


def fetching(server: Gateway | Nginx, path: str, headers: Mapping[str, str], large: Path) -> Entrant:
    """Who fetches it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    size = large.stat().st_size

    def fetch(number: int) -> None:
        received = bytearray()
        with Client(server.port, context) as client:
            answer = expect(client.request("GET", path, headers, None if number else received.extend), 200)
        if answer.length != size or (not number and received != large.read_bytes()):
            raise WrongAnswer(f"{server.title} sent something else")

    def run(number: int) -> Work:
        return timed(size, lambda: fetch(number))

    return Entrant(server, run)


def contests(gateway: Gateway, nginx: Nginx, served: Path) -> Iterator[Contest]:
    """The one there is."""
    ours = fetching(gateway, gateway.path("none", "large"), LOGIN, served / "large")
    theirs = fetching(nginx, "/files/large", {}, served / "large")
    yield Contest("https", "download over TLS", MEMORY, BYTES, ours, theirs, 0.8)


@contextmanager
def arena(place: Path, effort: Effort) -> Iterator[tuple[Gateway, Nginx, Path]]:
    """Both up and running."""
    shown = place / "certificate.pem"
    shown.write_bytes(certificate().dumpPEM())
    shown.chmod(0o600)
    with ExitStack() as running:
        gateway = running.enter_context(Gateway(place / "gateway", ("none",), shown))
        served = gateway.folders["none"].root
        write_noise(served / "large", effort.large)
        nginx = Nginx(place / "nginx", free_port(), served, certificate=shown)
        running.enter_context(nginx)
        yield gateway, nginx, served


def section(effort: Effort, only: Sequence[str] | None = None) -> Section:
    """Hold it, for the report."""
    with folder() as place, arena(place, effort) as (gateway, nginx, served):
        outcomes, failures = hold_all(contests(gateway, nginx, served), effort.rounds, only)
    return Section("HTTPS", ABOUT.format(large=effort.large // MIB), outcomes, failures=failures)


AREA = Area("tls", section, WHOLE, QUICK)

if __name__ == "__main__":
    AREA.main()

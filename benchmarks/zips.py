"""Directories as zip archives: ``python -m benchmarks.zips``, part of ``make bench``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

import attrs

from benchmarks.area import Area
from benchmarks.contest import FILES, MIB, Contest, Entrant, hold_all
from benchmarks.files import write_small
from benchmarks.gateway import Gateway
from benchmarks.peers.copyparty import Copyparty
from benchmarks.peers.daemon import program
from benchmarks.report import Section
from benchmarks.storage import MEMORY, folder
from benchmarks.wire import Work, WrongAnswer, drained, timed
from tests.support.process import free_port

#: Bytes of each file.
LARGER, SMALLER = 100 << 10, 4 << 10

ABOUT = """Members are stored, not compressed, by everybody. `zip -0 -r -` writes to a pipe of a MiB, which is read and thrown away; the others answer by HTTP."""


@attrs.frozen
class Effort:
    """How much is done: files in each directory."""

    rounds: int
    files: int


WHOLE, QUICK = Effort(5, 10_000), Effort(2, 500)


class ZipCommand:
    """Info-ZIP's ``zip``, and what it cost: it runs once for each archive."""

    def __init__(self) -> None:
        said = subprocess.run([program("zip"), "-v"], capture_output=True, text=True, check=True).stdout
        found = re.search(r"This is Zip (\S+)", said)
        self.title = f"zip {found[1] if found else ''}".strip()
        self._cpu = 0.0
        self._peak = 0

    @property
    def meter(self) -> ZipCommand:
        """Itself."""
        return self

    def cpu(self) -> float:
        """Seconds so far."""
        return self._cpu

    def peak(self) -> int:
        """Bytes, since :meth:`forget_peak`."""
        return self._peak

    def forget_peak(self) -> None:
        """Begin anew."""
        self._peak = 0

    def archive(self, directory: Path) -> int:
        """Make one; bytes that came."""
        command = [program("zip"), "-q", "-0", "-r", "-", directory.name]
        process = subprocess.Popen(command, cwd=directory.parent, stdout=subprocess.PIPE, pipesize=MIB)
        assert process.stdout is not None
        buffer, count = bytearray(MIB), 0
        with process.stdout:
            while got := os.readv(process.stdout.fileno(), [buffer]):
                count += got
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise WrongAnswer(f"zip ended with {process.returncode}")
        self._cpu += used.ru_utime + used.ru_stime
        self._peak = max(self._peak, used.ru_maxrss << 10)
        return count


def contests(gateway: Gateway, copyparty: Copyparty, served: Path, files: int, spare: Path) -> Iterator[Contest]:
    """Beside the command, and beside the other server that makes them."""
    command = ZipCommand()

    def ours(name: str) -> Entrant:
        return fetching(gateway, lambda: gateway.archive_path("none", name), served / name, files, spare)

    def archive(_: int) -> Work:
        return timed(files, lambda: command.archive(served / "larger"))

    title = f"zip of {files:,} files of 100 KiB"
    yield Contest("zip", title, MEMORY, FILES, ours("larger"), Entrant(command, archive), 0.8)
    theirs = fetching(copyparty, lambda: "/files/smaller/?zip", served / "smaller", files, spare)
    yield Contest("zip-small", f"zip of {files:,} files of 4 KiB", MEMORY, FILES, ours("smaller"), theirs)


def fetching(server: Gateway | Copyparty, path: Callable[[], str], directory: Path, files: int, spare: Path) -> Entrant:
    """Who fetches an archive of ``directory``; it is compared with that in the round that does not count."""

    def run(number: int) -> Work:
        if not number:
            check_zip(f"http://127.0.0.1:{server.port}{path()}", directory, spare)
        target = path()
        return timed(files, lambda: drained(server.port, target, {}))

    return Entrant(server, run)


def check_zip(url: str, directory: Path, spare: Path) -> None:
    """Fetch a zip into ``spare`` and compare each member with the file of that name in ``directory``."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url) as answer, spare.open("wb") as file:
        shutil.copyfileobj(answer, file, MIB)
    try:
        with zipfile.ZipFile(spare) as archive:
            members = {PurePosixPath(info.filename).name: info for info in archive.infolist() if not info.is_dir()}
            if set(members) != {path.name for path in directory.iterdir()}:
                raise WrongAnswer(f"{url}: {len(members)} members instead of the files in {directory}")
            for name, info in members.items():
                if archive.read(info) != (directory / name).read_bytes():
                    raise WrongAnswer(f"{url}: {info.filename} is not the file")
    finally:
        spare.unlink()


@contextmanager
def arena(place: Path, files: int) -> Iterator[tuple[Gateway, Copyparty, Path]]:
    """Both up and running."""
    with ExitStack() as running:
        gateway = running.enter_context(Gateway(place / "gateway", ("none",)))
        served = gateway.folders["none"].root
        for name, size in (("larger", LARGER), ("smaller", SMALLER)):
            write_small(served / name, files, size)
        copyparty = Copyparty(place / "copyparty", free_port(), served)
        running.enter_context(copyparty)
        yield gateway, copyparty, served


def section(effort: Effort, only: Sequence[str] | None = None) -> Section:
    """Hold them, for the report."""
    with folder() as place, arena(place, effort.files) as (gateway, copyparty, served):
        held = contests(gateway, copyparty, served, effort.files, place / "spare.zip")
        outcomes, failures = hold_all(held, effort.rounds, only)
    return Section("Archives", ABOUT, outcomes, failures=failures)


AREA = Area("zips", section, WHOLE, QUICK)

if __name__ == "__main__":
    AREA.main()

"""Files to be moved, and whether they arrived."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.contest import MIB
from benchmarks.wire import WrongAnswer


def write_noise(path: Path, size: int) -> None:
    """A file that nobody can make smaller."""
    with path.open("wb") as file:
        for offset in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - offset)))


def write_small(directory: Path, count: int, size: int) -> None:
    """Files ``file-00000`` and so on, each different."""
    directory.mkdir(parents=True)
    for number in range(count):
        (directory / f"file-{number:05}").write_bytes(os.urandom(size))


def must_equal(path: Path, source: Path) -> None:
    """Compare a stored file with what was sent, byte for byte."""
    with path.open("rb", buffering=0) as stored, source.open("rb", buffering=0) as sent:
        while True:
            piece = sent.read(MIB)
            if stored.read(MIB) != piece:
                raise WrongAnswer(f"{path} is not what was sent")
            if not piece:
                return


def synced(path: Path) -> None:
    """What a careful client of a server that does not sync has to do after each file: the file, then its name."""
    for each in (path, path.parent):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

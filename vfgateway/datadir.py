"""Who uses the data directory: any number of gateways' processes together, or one command that replaces what lies there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vfgateway.errors import ConfigurationError, Conflict


class InUse:
    """Says, from :meth:`take` to :meth:`release`, that a process uses the data directory, and whatever becomes of that process.

    ``flock`` on the directory itself, so that nothing is left there and nobody's death has to be noticed. Where a file system has no such
    locks, nothing is kept from anybody.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1

    def take(self) -> None:
        """``ConfigurationError`` while :func:`alone` has it."""
        self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            message = f"{self._folder} is being worked on by a `vfgateway db` command: start again when that has ended"
            raise ConfigurationError("gateway.data_dir", message) from None
        except OSError:
            return

    def release(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep gateways from starting meanwhile. ``Conflict`` if one runs."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # no locks here: see InUse
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(f"a gateway runs with {folder}: stop it first (systemctl stop vfgateway)") from None
        yield
    finally:
        os.close(descriptor)

"""``mount(8)`` and ``umount(8)``. Blocking calls."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vfgateway.mounting.errors import MountFailed

_MOUNT: Final = "/bin/mount"
_UMOUNT: Final = "/bin/umount"
_ENVIRONMENT: Final = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def mount(fstype: str, source: str, place: Path, options: Sequence[str], timeout: float) -> None:
    """Mount. ``MountFailed``."""
    _call([_MOUNT, "-t", fstype, "-o", ",".join(options), "--", source, str(place)], timeout)


def unmount(place: Path, timeout: float) -> None:
    """Unmount, unless something there is in use. ``MountFailed``."""
    _call([_UMOUNT, "--", str(place)], timeout)


def _call(command: Sequence[str], timeout: float) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT,
            timeout=timeout,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MountFailed(f"{Path(command[0]).name} does not end within {timeout:.0f} seconds") from None
    except OSError as error:
        raise MountFailed(f"cannot run {command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[:500]
        raise MountFailed(said or f"{Path(command[0]).name} ended with {done.returncode}")

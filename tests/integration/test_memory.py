"""How much memory the gateway needs does not depend on how much passes through it."""

from __future__ import annotations

from pathlib import Path

from benchmarks import crowd
from benchmarks.gateway import Gateway

MIB = 1 << 20
#: Of each transfer: about a minute on two cores.
SIZE = 2048 * MIB
MOST = 200 * MIB


def test_eight_uploads_and_eight_downloads_at_once(tmp_path: Path) -> None:
    """Half of the uploads by PUT, half by tus; under 200 MiB from the start on (``VmHWM``)."""
    with Gateway(tmp_path, ("sync",)) as gateway:
        before = gateway.meter.peak()
        peak = max(before, crowd.hold(gateway, "sync", SIZE))
        assert peak < MOST, f"{peak / MIB:.0f} MiB"

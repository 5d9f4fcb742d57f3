"""How much memory the gateway needs does not depend on how much passes through it. With as much as takes a minute and a half::

    VFGATEWAY_TRANSFER=2048 pytest tests/integration/test_memory.py

(mebibytes of each transfer)."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks import crowd
from benchmarks.gateway import Gateway

MIB = 1 << 20
#: Of each transfer: far more than is allowed in all.
SIZE = int(os.environ.get("VFGATEWAY_TRANSFER", "512")) * MIB
MOST = 200 * MIB


def test_eight_uploads_and_eight_downloads_at_once(tmp_path: Path) -> None:
    """Half of the uploads by PUT, half by tus; under 200 MiB from the start on (``VmHWM``)."""
    with Gateway(tmp_path, ("sync",)) as gateway:
        before = gateway.meter.peak()
        peak = max(before, crowd.hold(gateway, "sync", SIZE))
        assert peak < MOST, f"{peak / MIB:.0f} MiB"

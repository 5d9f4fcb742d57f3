"""Azure Blob Storage through the gateway, beside the vendor's library on the same Azurite: ``python -m benchmarks.azureblob [--quick]``.

One stream up and one down by HTTP, and a listing. Both sides take turns, so that a busy machine is busy for both; what counts is the median
of the ratios.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.contest import GIB, MIB
from benchmarks.meter import Meter
from benchmarks.volumes import ENTRIES, Zeros, listing, streams
from tests.support.azure_site import AzureSite
from tests.support.azurite import Azurite
from tests.support.process import GatewayProcess

#: What the library is allowed to do side by side; the gateway does as much.
PARALLEL = 4


class Nowhere(io.BytesIO):
    """Takes everything, anywhere, and keeps nothing."""

    def write(self, data: Any) -> int:
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return offset


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="256 MiB instead of 1 GiB")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    size = 256 * MIB if options.quick else GIB
    with tempfile.TemporaryDirectory() as folder, Azurite() as azurite:
        site = AzureSite(Path(folder) / "site", azurite)
        with GatewayProcess(site) as process:
            gateway = Meter(process.pid)
            data = site.populate(name="data")
            there = site.container(data.vfid)
            print(f"{'':28} {'ours':>7} {'library':>7}")
            blob = there.get_blob_client("bare")
            streams(
                data,
                gateway,
                options.rounds,
                size,
                lambda: blob.upload_blob(Zeros(size), length=size, overwrite=True, max_concurrency=PARALLEL),
                lambda: blob.download_blob(max_concurrency=PARALLEL).readinto(Nowhere()),
            )
            for number in range(ENTRIES):
                there.upload_blob(f"many/{number:05}", b"")
            listing(data, gateway, options.rounds, lambda: list(there.walk_blobs("many/")))


if __name__ == "__main__":
    main()

"""A share through the gateway, beside smbprotocol by itself on the same Samba: ``python -m benchmarks.smb [--quick]``.

One stream up and one down by HTTP, and a listing by WebDAV. Both sides are encrypted and take turns; what counts is the median of the ratios.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import smbclient

from benchmarks.contest import GIB, MIB
from benchmarks.meter import Meter
from benchmarks.volumes import ENTRIES, listing, streams
from tests.support.process import GatewayProcess
from tests.support.samba import Samba
from tests.support.samba_site import SambaSite

#: Bytes that the library is given, or asked for, at once: about what suits it best.
LARGE = 4 * MIB


class Bare:
    """The library's own way to work with files."""

    def __init__(self, samba: Samba) -> None:
        self._share = "\\\\127.0.0.1\\data\\"
        self._options = {"port": samba.port}
        smbclient.register_session(
            "127.0.0.1", samba.user, samba.password, port=samba.port, encrypt=True, require_signing=True
        )

    def at(self, path: Path) -> str:
        return self._share + str(path).replace("/", "\\")

    def write(self, path: Path, size: int) -> None:
        """As durable as the gateway does it."""
        with smbclient.open_file(self.at(path), mode="wb", buffering=0, **self._options) as file:
            piece = bytes(LARGE)
            for _ in range(size // LARGE):
                file.write(piece)
            file.fd.flush()

    def read(self, path: Path, size: int) -> None:
        with smbclient.open_file(self.at(path), mode="rb", buffering=0, share_access="rwd", **self._options) as file:
            while size:
                size -= len(file.read(LARGE))

    def list(self, path: Path) -> int:
        """With the facts of each entry, which come along."""
        return sum(bool(entry.smb_info.end_of_file + 1) for entry in smbclient.scandir(self.at(path), **self._options))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="256 MiB instead of 1 GiB")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    size = 256 * MIB if options.quick else GIB
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, Samba(Path(folder) / "server") as samba:
        site = SambaSite(Path(folder) / "site", samba)
        with GatewayProcess(site) as process:
            gateway = Meter(process.pid)
            data = site.populate(name="data")
            print(f"{'':28} {'ours':>7} {'library':>7}")
            bare, place = Bare(samba), data.root.relative_to(samba.share)
            streams(
                data,
                gateway,
                options.rounds,
                size,
                lambda: bare.write(place / "bare", size),
                lambda: bare.read(place / "bare", size),
            )
            (data.root / "many").mkdir()
            for number in range(ENTRIES):
                (data.root / "many" / f"{number:05}").touch()
            listing(data, gateway, options.rounds, lambda: bare.list(place / "many"))


if __name__ == "__main__":
    main()

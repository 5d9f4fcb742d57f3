"""What hostile or merely large requests cost: the memory of a gateway that answers them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.dav_clients import dav_url
from tests.support.dav_site import DavSite
from tests.support.process import ALICE, PATIENCE, GatewayProcess, VFolderOfAlice
from tests.support.webdav import basic

MIB = 1 << 20
ENTRIES = 100_000
#: By which the gateway may grow over what it needs for small requests.
MOST = 30 * MIB


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway of the test's own, with one vfolder, that has answered a request of every kind."""
    site = DavSite(tmp_path / "site", {"local": {"path": "volume", "durability": "none"}})
    with GatewayProcess(site) as process:
        yield process


@pytest.fixture
def vfolder(gateway: GatewayProcess) -> VFolderOfAlice:
    """Its vfolder."""
    vfolder = gateway.site.populate()
    url = dav_url(vfolder)
    for method, fields in (("PUT", {}), ("PROPFIND", {"Depth": "1"}), ("PROPPATCH", {})):
        body = (
            b"<propertyupdate xmlns='DAV:'><set><prop><x/></prop></set></propertyupdate>"
            if method == "PROPPATCH"
            else None
        )
        assert requests.request(method, f"{url}/warm", data=body, headers=fields, auth=ALICE, timeout=PATIENCE).ok
    (vfolder.root / "warm").unlink()
    return vfolder


def peak(process: GatewayProcess) -> int:
    """The most bytes that the gateway ever had in memory."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


@pytest.mark.parametrize("dead", [False, True], ids=["plain", "with properties"])
def test_a_listing_of_a_hundred_thousand(gateway: GatewayProcess, vfolder: VFolderOfAlice, dead: bool) -> None:
    """All entries come, and to a client that stops reading they wait on disk, not in memory."""
    (vfolder.root / "many").mkdir()
    descriptor = os.open(vfolder.root / "many", os.O_DIRECTORY)
    for number in range(ENTRIES):
        os.close(os.open(f"entry-{number:06}", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)
    if dead:
        body = b"<propertyupdate xmlns='DAV:'><set><prop><x>kept</x></prop></set></propertyupdate>"
        url = f"{dav_url(vfolder)}/many/entry-000042"
        assert requests.request("PROPPATCH", url, data=body, auth=ALICE, timeout=PATIENCE).status_code == 207
    before = peak(gateway)
    assert isinstance(gateway.site, DavSite)
    with socket.create_connection(("127.0.0.1", gateway.site.dav_port), PATIENCE) as client:
        head = f"PROPFIND /{vfolder.name}/many HTTP/1.1\r\nHost: x\r\nDepth: 1\r\nConnection: close\r\nAuthorization: {basic(*ALICE)}\r\n\r\n"
        client.sendall(head.encode())
        received = [client.recv(1000)]
        # Whatever the gateway does for others happens while this client does not read.
        assert requests.get(f"{dav_url(vfolder)}/", auth=ALICE, timeout=PATIENCE).ok
        while data := client.recv(MIB):
            received.append(data)
    answer = b"".join(received)
    assert answer.startswith(b"HTTP/1.1 207 ")
    assert answer.endswith(b"0\r\n\r\n")

    assert answer.count(b"<D:response>") == ENTRIES + 1
    assert (b">kept<" in answer) is dead
    grown = peak(gateway) - before
    assert grown < MOST, f"{grown / MIB:.1f} MiB"

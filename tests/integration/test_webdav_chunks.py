"""rclone sends large files in chunks, as Nextcloud has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.dav_site import DavSite
from tests.support.process import ALICE, PATIENCE, GatewayProcess


def test_rclone(tmp_path: Path) -> None:
    """A file of many chunks and one of one, twice; afterwards nothing is left aside, and what was sent is charged once."""
    site = DavSite(tmp_path / "site", {"local": {"path": "volume", "durability": "none"}})
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep/large file").write_bytes(os.urandom(3_300_000))
    (tree / "small").write_bytes(b"x")
    os.utime(tree / "deep/large file", (1_000_000_000, 1_000_000_000))
    binary = str(Path(sys.executable).with_name("rclone"))
    obscured = subprocess.run([binary, "obscure", ALICE[1]], capture_output=True, text=True, check=True).stdout.strip()
    with GatewayProcess(site):
        vfolder = site.populate()
        url = f"{site.dav_url}/{vfolder.name}/.uploads/dav/files/{ALICE[0]}"
        remote = {"TYPE": "webdav", "URL": url, "VENDOR": "nextcloud", "USER": ALICE[0], "PASS": obscured}
        remote |= {"NEXTCLOUD_CHUNK_SIZE": "1M"}
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        environment |= {f"RCLONE_CONFIG_DAV_{name}": value for name, value in remote.items()}

        def rclone(*arguments: str) -> str:
            command = [binary, "--config", "/dev/null", "--retries", "1", *arguments]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout + done.stderr

        for _ in range(2):
            told = rclone("sync", "-vv", str(tree), "dav:tree")
            rclone("check", "--download", str(tree), "dav:tree")
            placed = vfolder.root / "tree/deep/large file"
            assert placed.stat().st_mtime == 1_000_000_000
            assert vfolder.stages == []
            assert vfolder.charged == (3_300_001, 4)
            placed.write_bytes(b"old")  # to be sent again
            assert "large file" in told
            vfolder.site.manager("POST", "/vfgateway/v1/vfolders/" + vfolder.vfid.rpartition("/")[2] + "/recount")
        log = (site.folder / "output").read_text()
        assert log.count('"method": "MOVE", "path": "/data/.uploads/dav/uploads/alice/') == 2

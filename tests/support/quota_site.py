"""A gateway whose storage refuses what is too much, and what each protocol says then."""

from __future__ import annotations

from collections.abc import Mapping

import requests

from tests.support.process import ALICE, PATIENCE, VFolderOfAlice, eventually, free_port
from tests.support.sftp import SftpSite

#: Who a gateway is that is nobody.
NOBODY = 65534
MIB = 1 << 20
TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}


class QuotaSite(SftpSite):
    """With every protocol that people store files by."""

    def _configuration(self, volumes: Mapping[str, Mapping[str, object]]) -> str:
        self.dav_port = free_port()
        lines = ["[frontends.webdav]", f'endpoint = "tcp:{self.dav_port}:interface=127.0.0.1"', ""]
        return "\n".join([super()._configuration(volumes), *lines])

    def limited(self, volume: str, name: str, limit: int) -> VFolderOfAlice:
        """A vfolder with a limit."""
        folder = self.populate(volume, name)
        self.manager("PATCH", self.about(folder), {"limit_bytes": limit})
        return folder

    def about(self, folder: VFolderOfAlice) -> str:
        """Where the manager API has it."""
        return f"/vfgateway/v1/vfolders/{folder.vfid[-32:]}"

    def dav(self, folder: VFolderOfAlice, name: str, content: bytes) -> requests.Response:
        """Store by WebDAV."""
        url = f"http://127.0.0.1:{self.dav_port}/{folder.name}/{name}"
        return self.http.put(url, data=content, auth=ALICE, timeout=PATIENCE)

    def is_refused_by_all(self, folder: VFolderOfAlice, size: int) -> None:
        """Assert that a file of so many bytes, which only the storage knows to be too large, is refused as a limit's by every protocol, and leaves
        nothing."""
        before, large = set(folder.published()), bytes(size)
        answer = folder.put("large", large)
        assert (answer.status_code, answer.json()["type"].rpartition("/quota/")[2]) == (507, "exceeded")
        url = folder.upload_url("large", len(large))
        answer = self.http.patch(url, data=large, headers=TUS, timeout=PATIENCE)
        assert (answer.status_code, answer.json()["resource"]) == (507, "bytes")
        assert self.http.delete(url, headers=TUS, timeout=PATIENCE).ok
        answer = self.dav(folder, "large", large)
        assert answer.status_code == 507
        assert "quota-not-exceeded" in answer.text
        file = self.folder / "large"
        file.write_bytes(large)
        done = self.sftp(f'put "{file}" {folder.name}/large\n', check=False)
        assert done.returncode != 0
        assert "Failure" in done.stderr
        self.sftp(f"-rm {folder.name}/large\n")
        eventually(lambda: not folder.stages, "nothing is left aside")
        assert set(folder.published()) == before

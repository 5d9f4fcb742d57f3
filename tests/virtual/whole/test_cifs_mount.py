"""The kernel's CIFS, mounted as agents mount it, from a real Samba."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.samba import Samba
from vfgateway.mounting.errors import MountFailed
from vfgateway.mounting.mounts import Mounts
from vfgateway.mounting.settings import MountedVolume, MountingSettings


def test_mounted_for_an_agent(tmp_path: Path) -> None:
    """With a password that only its file has; a wrong one is refused, and nothing is left mounted."""
    with Samba(tmp_path / "samba") as samba:
        settings = MountingSettings(root=tmp_path / "mnt", state=tmp_path / "state")
        about = {"fstype": "cifs", "path": "//127.0.0.1/data", "options": f"port={samba.port},vers=3.1.1"}

        def mounts(name: str, password: str) -> Mounts:
            secret = tmp_path / name
            secret.write_text(f"username={samba.user}\npassword={password}\n")
            secret.chmod(0o600)
            mount = about | {"credentials_file": str(secret)}
            return Mounts(settings, [MountedVolume.model_validate({"name": name, "mount": mount})])

        share = mounts("share", samba.password)
        place = share.take("share", "container-1")
        (place / "of-a-job").write_bytes(b"content")
        assert (samba.share / "of-a-job").read_bytes() == b"content"
        assert share.give_back("share", "container-1")
        assert list(place.iterdir()) == []
        with pytest.raises(MountFailed):
            mounts("wrong", "wrong").take("wrong", "container-1")

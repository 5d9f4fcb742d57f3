"""``[volumes.NAME]`` with ``backend = "cephfs"``."""

from __future__ import annotations

from pydantic import Field

from vfgateway.backends.vfs import VfsSettings


class CephFsSettings(VfsSettings):
    """As of a mounted directory, and:

    :ivar snapshot_dir: what the mount calls the directories of snapshots (``client_snapdir`` of ceph-fuse, ``snapdirname`` of the kernel)
    """

    snapshot_dir: str = Field(default=".snap", pattern=r"^\.[^/*?\[\]]+$")

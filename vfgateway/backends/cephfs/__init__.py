"""A directory of a CephFS, mounted by the kernel or by ceph-fuse: a ``vfs`` volume with Ceph's limits, figures and snapshots."""

from vfgateway.backends.cephfs.settings import CephFsSettings
from vfgateway.backends.cephfs.volume import CephFsVolume, CephFsVolumeFactory

__all__ = ["CephFsSettings", "CephFsVolume", "CephFsVolumeFactory"]

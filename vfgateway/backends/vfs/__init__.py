"""Any mounted directory as a volume: local disk, NFS, CephFS, Lustre and the like."""

from vfgateway.backends.vfs.settings import VfsSettings
from vfgateway.backends.vfs.volume import VfsVolume, VfsVolumeFactory

__all__ = ["VfsSettings", "VfsVolume", "VfsVolumeFactory"]

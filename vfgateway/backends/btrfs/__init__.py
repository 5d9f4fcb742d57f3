"""A directory on Btrfs: a subvolume for each vfolder, with snapshots and clones at once."""

from vfgateway.backends.btrfs.limited import BtrfsVolumeFactory, LimitedBtrfsVolume
from vfgateway.backends.btrfs.settings import BtrfsSettings
from vfgateway.backends.btrfs.volume import BtrfsVolume

__all__ = ["BtrfsSettings", "BtrfsVolume", "BtrfsVolumeFactory", "LimitedBtrfsVolume"]

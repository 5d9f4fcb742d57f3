"""A directory on Btrfs: a subvolume for each vfolder, with snapshots and clones at once."""

from vfgateway.backends.btrfs.volume import BtrfsVolume, BtrfsVolumeFactory

__all__ = ["BtrfsVolume", "BtrfsVolumeFactory"]

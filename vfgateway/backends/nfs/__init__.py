"""A directory that is mounted by NFS: a ``vfs`` volume that knows what such mounts do now and then."""

from vfgateway.backends.nfs.volume import NfsVolume, NfsVolumeFactory

__all__ = ["NfsVolume", "NfsVolumeFactory"]

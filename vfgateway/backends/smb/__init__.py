"""Vfolders on a share of an SMB server (Windows, Samba, a NAS, Azure Files), without mounting it."""

from vfgateway.backends.smb.settings import SmbSettings
from vfgateway.backends.smb.volume import SmbVolume, SmbVolumeFactory

__all__ = ["SmbSettings", "SmbVolume", "SmbVolumeFactory"]

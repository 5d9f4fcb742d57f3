"""XFS and ext4 with project quota: each vfolder is a project, which the kernel limits and counts, whoever writes.

Everything else is the mounted directory's (:mod:`vfgateway.backends.vfs`).
"""

from vfgateway.backends.projectquota.settings import ProjectQuotaSettings
from vfgateway.backends.projectquota.volume import Ext4VolumeFactory, ProjectQuotaVolume, XfsVolumeFactory

__all__ = ["Ext4VolumeFactory", "ProjectQuotaSettings", "ProjectQuotaVolume", "XfsVolumeFactory"]

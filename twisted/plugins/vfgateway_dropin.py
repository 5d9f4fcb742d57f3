"""Everything that vfgateway brings as plugins, by name; importing this imports none of it."""

from twisted.application.service import ServiceMaker

from vfgateway.interfaces import IAuthenticatorFactory, IFrontEnd, IVolumeFactory
from vfgateway.plugins import LazyPlugin

vfgateway = ServiceMaker(
    "vfgateway", "vfgateway.tap", "A storage gateway: virtual folders over HTTP with resumable uploads.", "vfgateway"
)

client = LazyPlugin(
    IFrontEnd,
    "client",
    "Downloads, archives and resumable uploads over HTTP, for people and programs",
    "vfgateway.protocols.client.frontend.ClientFrontEnd",
)
manager = LazyPlugin(
    IFrontEnd,
    "manager",
    "The API that an orchestrator and the vfgateway command drive",
    "vfgateway.protocols.manager.frontend.ManagerFrontEnd",
)
webdav = LazyPlugin(
    IFrontEnd,
    "webdav",
    "Vfolders as a network drive: Finder, Explorer, GNOME Files, davfs2, rclone",
    "vfgateway.protocols.webdav.frontend.WebDavFrontEnd",
)
sftp = LazyPlugin(
    IFrontEnd,
    "sftp",
    "SFTP, scp and mounts by sshfs, for people and programs",
    "vfgateway.protocols.sftp.frontend.SftpFrontEnd",
)
memory = LazyPlugin(
    IVolumeFactory,
    "memory",
    "in memory: for tests and demonstrations, gone with the process",
    "vfgateway.backends.memory.MemoryVolumeFactory",
)
vfs = LazyPlugin(
    IVolumeFactory,
    "vfs",
    "any mounted directory: local disk, NFS, CephFS, Lustre and the like",
    "vfgateway.backends.vfs.VfsVolumeFactory",
)
nfs = LazyPlugin(
    IVolumeFactory,
    "nfs",
    "a directory mounted by NFS: survives stale handles and servers that are away",
    "vfgateway.backends.nfs.NfsVolumeFactory",
)
cephfs = LazyPlugin(
    IVolumeFactory,
    "cephfs",
    "a mounted CephFS, with Ceph's limits and snapshots of vfolders",
    "vfgateway.backends.cephfs.CephFsVolumeFactory",
)
xfs = LazyPlugin(
    IVolumeFactory,
    "xfs",
    "a directory on XFS, with a project quota for each vfolder",
    "vfgateway.backends.projectquota.XfsVolumeFactory",
)
ext4 = LazyPlugin(
    IVolumeFactory,
    "ext4",
    "a directory on ext4, with a project quota for each vfolder",
    "vfgateway.backends.projectquota.Ext4VolumeFactory",
)
btrfs = LazyPlugin(
    IVolumeFactory,
    "btrfs",
    "a directory on Btrfs: a subvolume for each vfolder, with snapshots and instant clones",
    "vfgateway.backends.btrfs.BtrfsVolumeFactory",
)
azureblob = LazyPlugin(
    IVolumeFactory,
    "azureblob",
    "Azure Blob Storage: a container per vfolder",
    "vfgateway.backends.azureblob.AzureBlobVolumeFactory",
)
smb = LazyPlugin(
    IVolumeFactory,
    "smb",
    "a share of Windows, Samba, a NAS or Azure Files, without mounting it",
    "vfgateway.backends.smb.SmbVolumeFactory",
)
accounts = LazyPlugin(
    IAuthenticatorFactory,
    "accounts",
    "people and keys in the gateway's own database",
    "vfgateway.authenticators.accounts.AccountsFactory",
)
ldap = LazyPlugin(
    IAuthenticatorFactory,
    "ldap",
    "people and groups of a directory (OpenLDAP, FreeIPA, Active Directory)",
    "vfgateway.authenticators.ldap.LdapFactory",
)
jwt = LazyPlugin(
    IAuthenticatorFactory,
    "jwt",
    "bearer tokens of an identity provider (OpenID Connect)",
    "vfgateway.authenticators.jwt.JwtFactory",
)
manager_accounts = LazyPlugin(
    IAuthenticatorFactory,
    "manager",
    "people whom the orchestrator knows, and the vfolders that it opens to them",
    "vfgateway.authenticators.manager.ManagerFactory",
)

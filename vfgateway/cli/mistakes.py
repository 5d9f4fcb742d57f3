"""Every mistake that ``vfgateway doctor`` knows, by a name that stays: scripts look for it, and the manual lists it."""

from __future__ import annotations

from enum import StrEnum

from vfgateway.findings import Finding


class Mistake(StrEnum):
    """What can be wrong. Only what is not ``ok`` has one."""

    # The gateway itself
    INSTALLATION = "installation"
    CONFIGURATION = "configuration"
    GATEWAY_DOWN = "gateway_down"
    OTHER_VERSION = "other_version"
    OTHER_CONFIGURATION = "other_configuration"
    DESCRIPTORS = "descriptors"
    CAPABILITIES = "capabilities"
    # Its data
    DATA_DIR_OPEN = "data_dir_open"
    DATA_DIR_UNUSABLE = "data_dir_unusable"
    FOREIGN_FILES = "foreign_files"
    DATABASE_UNUSABLE = "database_unusable"
    DATABASE_SCHEMA = "database_schema"
    DATABASE_LOCKED = "database_locked"
    DATABASE_REMOTE = "database_remote"
    # Disks and volumes
    DISK_FULL = "disk_full"
    DISK_READ_ONLY = "disk_read_only"
    DISK_SILENT = "disk_silent"
    NOT_MOUNTED = "not_mounted"
    SOFT_MOUNT = "soft_mount"
    VOLUME_UNUSABLE = "volume_unusable"
    VOLUME_UNAVAILABLE = "volume_unavailable"
    VOLUMES_OVERLAP = "volumes_overlap"
    VOLUME_SCATTERED = "volume_scattered"
    # Ports and proxies
    PORT_TAKEN = "port_taken"
    PORT_FORBIDDEN = "port_forbidden"
    ADDRESS_UNKNOWN = "address_unknown"
    PORT_SILENT = "port_silent"
    PROXY_NOT_TRUSTED = "proxy_not_trusted"
    PROXY_PROTOCOL = "proxy_protocol"
    EVERYBODY_TRUSTED = "everybody_trusted"
    # Names, time, TLS
    HOST_UNKNOWN = "host_unknown"
    CLOCK = "clock"
    NO_TLS = "no_tls"
    CERTIFICATE_UNREADABLE = "certificate_unreadable"
    CERTIFICATE_TIME = "certificate_time"
    CERTIFICATE_NAME = "certificate_name"
    CERTIFICATE_KEY = "certificate_key"
    # Who may come in
    SECRET_READABLE = "secret_readable"
    SECRET_WEAK = "secret_weak"
    NO_AUTHENTICATORS = "no_authenticators"
    AUTHENTICATOR_UNAVAILABLE = "authenticator_unavailable"


def wrong(mistake: Mistake, what: str, detail: str) -> Finding:
    """Something that needs attention.

    :param detail: what is wrong, and what to do
    """
    return Finding(what, False, detail, mistake)

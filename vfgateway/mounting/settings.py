"""What is to be mounted: ``/etc/vfgateway/mounts.toml``, and volumes in the scheme that agents read from etcd."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError, field_validator

from vfgateway.mounting.errors import SourceUnavailable
from vfgateway.section import ConfigPath, Section, locate
from vfgateway.tomlfile import NotToml, read

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class MountSettings(Section):
    """``[volumes.mount]``, of the volume above.

    :ivar at: mounted when the supervisor starts and kept, or while somebody uses it
    :ivar fstype: as ``mount -t`` takes it
    :ivar path: what is mounted: ``//server/share/folder``, ``server:/export``
    :ivar options: as ``mount -o`` takes them
    :ivar credentials_file: a file that only its owner can read, with lines such as ``username=...`` and ``password=...``
        (``cifs``), or the key alone (``ceph``)
    """

    at: Literal["startup", "requested"] = "requested"
    fstype: str
    path: str
    options: str = Field(default="", repr=False)
    credentials_file: ConfigPath | None = None


class MountedVolume(Section):
    """``[[volumes]]``, one for each.

    :ivar name: also of the directory that it is mounted on
    :ivar mount: what is mounted there
    """

    name: str
    mount: MountSettings

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("should be up to 64 letters, digits, '.', '_' and '-', a letter or digit first")
        return value


class EtcdSettings(Section):
    """``[etcd]``: volumes from there, beside those of the file, which come first.

    :ivar endpoints: URLs of its members; the first that answers is asked
    :ivar prefix: below which ``volumes/NAME/mount/{at,fstype,path,options}`` lie
    :ivar username: who logs in, if that is asked for
    :ivar password_file: holds the password
    """

    endpoints: tuple[str, ...]
    prefix: str = "/vfgateway"
    username: str = ""
    password_file: ConfigPath | None = None


class MountingSettings(Section):
    """The file.

    :ivar root: where volumes are mounted, each on a directory with its name
    :ivar state: who uses what, and secrets for ``mount``; only root can read it
    :ivar fstypes: types of file systems that are admitted on this host
    :ivar timeout: seconds after which ``mount`` is given up
    :ivar every: seconds between two looks of the supervisor
    """

    root: ConfigPath = Path("/mnt/vfgateway")
    state: ConfigPath = Path("/var/lib/vfgateway-mounts")
    fstypes: tuple[str, ...] = ("cifs", "smb3", "nfs", "nfs4", "ceph", "lustre", "glusterfs")
    timeout: float = Field(default=60.0, gt=0, le=3600)
    every: float = Field(default=10.0, gt=0, le=3600)
    etcd: EtcdSettings | None = None
    volumes: tuple[MountedVolume, ...] = ()


def load(path: Path) -> MountingSettings:
    """Read the file. ``SourceUnavailable``."""
    try:
        return MountingSettings.model_validate(locate(read(path.read_text("utf-8")), path.absolute().parent))
    except (OSError, UnicodeDecodeError) as error:
        raise SourceUnavailable(f"cannot read {path}: {getattr(error, 'strerror', error)}") from None
    except NotToml as error:
        raise SourceUnavailable(f"{path}, line {error.line}: {error}") from None
    except ValidationError as error:
        raise SourceUnavailable(f"{path}: {mistakes(error)}") from None


def mistakes(error: ValidationError) -> str:
    """What is wrong, without the values: they may be secret."""
    told = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in told)

"""Bodies of the reference's routes, as its managers send and read them (reference 2.2 to 2.6)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from vfgateway.protocols.manager.fields import AnyVolume, NewVfid, Scope, Size, Vfid, Word
from vfgateway.protocols.web.fields import WHOLE, Answer, Closed, Open, RelPath

# --- status ---


class Status(Answer):
    """A sign of life."""

    status: Literal["ok"] = "ok"
    type: Literal["manager-facing"] = "manager-facing"
    storage_proxy: str = Field(serialization_alias="storage-proxy")


class Check(Answer):
    """How one thing that the gateway depends on was when it was last looked at."""

    service_group: str
    component_id: str
    is_healthy: bool
    last_checked_at: str
    error_message: str | None


class Connectivity(Answer):
    """All checks together."""

    overall_healthy: bool
    connectivity_checks: list[Check]
    timestamp: str


class HealthReport(Answer):
    """How the gateway is."""

    status: Literal["ok", "degraded", "error"]
    version: str
    component: str
    connectivity: Connectivity


# --- volumes ---


class OfVolume(Closed):
    """A volume."""

    volume: AnyVolume


class VolumeInfo(Answer):
    """A volume as managers know it."""

    name: str
    backend: str
    path: str
    fsprefix: str = "."
    capabilities: list[str]


class VolumeList(Answer):
    """All volumes, in the order of the configuration."""

    volumes: list[VolumeInfo]


class HardwareInfo(Answer):
    """How a volume's storage is."""

    status: Literal["healthy", "degraded", "offline", "unavailable"]
    status_info: str | None
    metadata: dict[str, str]


class Metric(Answer):
    """Rates: operations and bytes per second, microseconds per operation."""

    iops_read: float
    iops_write: float
    io_bytes_read: float
    io_bytes_write: float
    io_usec_read: float
    io_usec_write: float


class PerformanceReport(Answer):
    """Rates and when they were observed (ISO 8601)."""

    metric: Metric
    observed_at: str


class FsUsage(Answer):
    """Room on a whole volume in bytes; −1 where the storage does not tell."""

    capacity_bytes: int
    used_bytes: int


class OldQuota(Closed):
    """A quota of one vfolder, which is no longer asked for here."""

    volume: AnyVolume
    vfid: Vfid | None = None


class OldQuotaChange(OldQuota):
    """The same, to be set; the size in any form."""

    size_bytes: int | float | str


# --- quota scopes ---


class OfScope(Closed):
    """A quota scope of a volume."""

    volume: AnyVolume
    qsid: Scope


class ScopeOptions(Closed):
    """What limits a scope; 0 is no limit."""

    limit_bytes: Size


class ScopeCreation(OfScope):
    """A new quota scope."""

    options: ScopeOptions | None = None
    extra_args: dict[str, Any] | None = None


class ScopeChange(OfScope):
    """A new limit."""

    options: ScopeOptions


class ScopeUsage(Answer):
    """What a scope holds, and may hold; ``null`` where nothing limits it."""

    used_bytes: int | None
    limit_bytes: int | None


# --- vfolders ---


class OfFolder(Closed):
    """A vfolder on a volume."""

    volume: AnyVolume
    vfid: Vfid


class FolderCreationOptions(Open):
    """Of these one is looked at."""

    initial_max_size_for_quota_scope: Size | None = None


class FolderCreation(Closed):
    """A new vfolder; ``mode`` is the octal mode as a decimal number (493 is 0755)."""

    volume: AnyVolume
    vfid: NewVfid
    mode: Annotated[int, Field(strict=True, ge=0, le=0o7777), WHOLE] | None = 493
    options: FolderCreationOptions | None = None


class FolderClone(Open):
    """A vfolder to copy, and what to call the copy."""

    src_volume: AnyVolume
    src_vfid: Vfid
    dst_volume: AnyVolume | None = None
    dst_vfid: NewVfid


class FolderMount(OfFolder):
    """Where to find a vfolder; ``subpath`` is only checked. ``principal``: for which user, by name or UUID, it will be mounted (not
    the reference's). ``remote``: also say what a host needs to mount the storage by itself (not the reference's)."""

    subpath: RelPath = Field(default=".", validate_default=True)
    principal: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    remote: bool = False


class RemoteSource(Answer):
    """What a host needs: as ``mount -t``, its source and ``mount -o`` take it, without secrets; by which name the host knows those,
    empty if there are none; and where the vfolder lies below the place on which that is mounted."""

    type: str
    source: str
    options: str
    credentials: str
    path: str


class MountPath(Answer):
    """Where agents find it, unless it has no path on this host; with a principal, also the permission that the mount must have; if that was
    asked for, how another host gets to it."""

    sparse = True

    path: str | None = None
    remote: RemoteSource | None = None
    permission: Literal["ro", "rw", "rwd"] | None = None


class Started(Answer):
    """A background task that was begun."""

    bgtask_id: str


class FolderUsage(Answer):
    """What a vfolder holds: all entries below its root, and the bytes of its files."""

    file_count: int
    used_bytes: int


class UsedBytes(Answer):
    """The bytes of a vfolder's files."""

    used_bytes: int


class Metadata(OfFolder):
    """Metadata, which is not kept."""

    payload: Any = None


class Ok(Answer):
    """Done."""

    status: Literal["ok"] = "ok"


# --- files ---


class OfFile(OfFolder):
    """A file or directory of a vfolder."""

    relpath: RelPath


def _one_or_many(value: Any) -> list[str]:
    many = [value] if isinstance(value, str) else value
    if not isinstance(many, list) or not all(isinstance(item, str) for item in many):
        raise ValueError("expected a path or a list of paths")
    if len(many) > 50:
        raise ValueError("expected at most 50 paths")
    return many


class Mkdir(OfFolder):
    """One directory, or up to fifty. Paths are judged one by one, for the report."""

    relpath: Annotated[
        list[str],
        PlainValidator(_one_or_many),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 50}]}),
    ]
    parents: Word = True
    exist_ok: Word = False


class MkdirItem(Answer):
    """What became of one directory."""

    msg: str | None
    item: str


class MkdirResults(Answer):
    """What became of each."""

    success: list[MkdirItem]
    failed: list[MkdirItem]


class MkdirReport(Answer):
    """What became of a request for directories."""

    results: MkdirResults


class ItemStat(Answer):
    """Facts about an entry: ``mode`` with its type bits, times in ISO 8601."""

    mode: int
    size: int
    created: str
    modified: str


class Item(Answer):
    """An entry of a directory. ``name_b64`` has the exact bytes where they are not UTF-8."""

    name: str
    name_b64: str | None = None
    type: Literal["FILE", "DIRECTORY", "SYMLINK"]
    stat: ItemStat
    symlink_target: str


class ItemList(Answer):
    """A directory. ``truncated`` is there, and true, where it holds more than is listed."""

    sparse: ClassVar[bool] = True

    items: list[Item]
    truncated: bool | None = None


_ONE_NAME = WithJsonSchema({"type": "string", "pattern": "^[^/]+$"})


class Rename(OfFile):
    """A new name in the same directory."""

    new_name: Annotated[str, _ONE_NAME]
    is_dir: Word = False


class Move(OfFolder):
    """A move within a vfolder."""

    src_relpath: RelPath
    dst_relpath: RelPath


class Deletion(OfFolder):
    """Files to remove; directories only if ``recursive``."""

    relpaths: list[RelPath]
    recursive: Word = False


class DownloadSession(OfFile):
    """A file or directory that somebody will fetch. ``archive`` makes no difference to the token."""

    archive: Word = False
    unmanaged_path: str | None = None


class ArchiveSession(Open):
    """Files and directories that somebody will fetch as one archive."""

    volume: AnyVolume
    virtual_folder_id: Vfid
    files: Annotated[list[RelPath], Field(min_length=1)]
    filename: str | None = None


class UploadSession(OfFile):
    """A file that somebody will send."""

    size: Size


class Token(Answer):
    """What the client has to show."""

    token: str

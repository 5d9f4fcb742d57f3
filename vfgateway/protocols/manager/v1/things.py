"""Bodies about vfolders, grants, tokens, uploads, tasks, locks and volumes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from vfgateway.protocols.manager.fields import Size, VolumeName
from vfgateway.protocols.web.fields import WHOLE, Answer, Closed, Flag, Limit, Name, RelPath, Time, Uuid

#: A user or group by name or UUID.
Account = Annotated[str, Field(min_length=1, max_length=255)]
#: A vfolder as people say it: ``OWNER/NAME``, ``NAME``, a vfid, or its last 32 digits.
FolderName = Annotated[str, Field(min_length=1, max_length=600)]
type_kind = Literal["user", "group"]

# --- vfolders ---


class VFolderInfo(Answer):
    """A vfolder. ``id`` is the orchestrator's vfid, ``folder`` its last 32 digits, ``owner_id`` and ``kind`` say whose it is, ``owner`` is that
    account's name if there is one. Bytes and files are as charged; ``null`` limits nothing; times in epoch seconds."""

    id: str
    folder: str
    name: str
    named: bool
    owner: str | None
    owner_id: str | None
    kind: type_kind
    volume: str
    scope: str | None
    status: Literal["ready", "cloning", "trashed", "deleting"]
    read_only: bool
    permission: Literal["none", "ro", "rw", "rwd"]
    used_bytes: int
    used_files: int
    limit_bytes: int | None
    limit_files: int | None
    created: float
    expires: float | None


class VFolderList(Answer):
    """Vfolders, oldest first."""

    vfolders: list[VFolderInfo]


class VFolderFilter(Closed):
    """Which vfolders to list."""

    volume: VolumeName | None = None
    owner: Account | None = None


class VFolderName(Closed):
    """Which vfolder is meant."""

    vfolder: FolderName


class VFolderCreation(Closed):
    """A new vfolder of a user or group, by name or UUID. A UUID needs no account yet, but then ``kind`` must be given."""

    owner: Account
    name: Name
    volume: VolumeName | None = None
    kind: type_kind | None = None
    id: Uuid | None = None
    limit_bytes: Limit | None = None
    limit_files: Limit | None = None
    mode: Annotated[int, Field(strict=True, ge=0, le=0o7777), WHOLE] | None = None
    expires: Time | None = None


class VFolderChange(Closed):
    """What is given changes: names a vfolder that the orchestrator made, gives it an owner. ``null`` lifts. Nobody writes to one that is
    ``read_only``."""

    name: Name | None = None
    owner: Account | None = None
    kind: type_kind = "user"
    limit_bytes: Limit | None = None
    limit_files: Limit | None = None
    expires: Time | None = None
    read_only: Flag = False


class VFolderClone(Closed):
    """What to call the copy of a vfolder, and where it is to lie: beside its source by default."""

    owner: Account
    name: Name
    kind: type_kind | None = None
    volume: VolumeName | None = None


class VFolderMove(Closed):
    """Where a vfolder is to go, and what may be lost on the way: by default nothing."""

    volume: VolumeName
    cancel_uploads: bool = False
    drop_snapshots: bool = False


class OnVolume(Closed):
    """Tells vfolders with the same digits apart."""

    volume: VolumeName | None = None


class UsageReport(Answer):
    """What a vfolder holds, counted just now."""

    used_bytes: int
    used_files: int


class TaskStarted(Answer):
    """A background task that was begun."""

    task: str


# --- grants ---


class GrantInfo(Answer):
    """A vfolder opened to a user or group; ``subject`` is the account's name if there is one."""

    id: str
    kind: type_kind
    subject: str | None
    subject_id: str
    permission: Literal["ro", "rw", "rwd"]
    created: float
    expires: float | None


class GrantList(Answer):
    """The grants of a vfolder, oldest first; expired ones too."""

    grants: list[GrantInfo]


def _permission(value: Any) -> str:
    if value == "wd":
        return "rwd"
    if value not in ("ro", "rw", "rwd"):
        raise ValueError("expected ro, rw or rwd")
    return str(value)


class GrantCreation(Closed):
    """Opens a vfolder to one account, by name or UUID, in place of an earlier grant to it."""

    kind: type_kind
    subject: Account
    permission: Annotated[str, PlainValidator(_permission), WithJsonSchema({"enum": ["ro", "rw", "rwd", "wd"]})]
    expires: Time | None = None


# --- tokens ---


class DownloadToken(Closed):
    """A file or directory to be fetched by whoever has the URL."""

    vfolder: FolderName
    path: RelPath


class UploadToken(Closed):
    """A file to be sent by whoever has the URL."""

    vfolder: FolderName
    path: RelPath
    size: Size


class ArchiveToken(Closed):
    """Files and directories to be fetched as one zip by whoever has the URL."""

    vfolder: FolderName
    paths: Annotated[list[RelPath], Field(min_length=1)]
    filename: Annotated[str, Field(max_length=255)] | None = None


class MintedToken(Answer):
    """A token, and a URL that holds it (a path alone, where the client front end's address is not known); ``expires`` in epoch
    seconds. ``upload`` identifies the upload it is for."""

    token: str
    url: str
    expires: float
    upload: str | None = None


# --- uploads ---


class UploadInfo(Answer):
    """An upload under way: ``offset`` bytes are there of ``size`` (``null``: not said yet)."""

    id: str
    vfolder: str
    volume: str
    path: str
    size: int | None
    offset: int
    state: str
    owner_id: str | None
    created: float
    expires: float


class UploadList(Answer):
    """Uploads, oldest first."""

    uploads: list[UploadInfo]


class VFolderChoice(Closed):
    """Of which vfolder; of all by default."""

    vfolder: FolderName | None = None


# --- tasks ---


class TaskInfo(Answer):
    """A background task: ``done`` of ``total`` units (0: not known). ``attempt`` counts how often it was begun; one that failed and waits is
    tried again at ``not_before``. ``request_id`` and ``user`` are of the request that began it."""

    id: str
    name: str
    state: str
    message: str
    done: int
    total: int
    attempt: int
    created: float
    not_before: float | None
    started: float | None
    finished: float | None
    request_id: str
    user: str


class TaskFilter(Closed):
    """Which tasks to list."""

    state: Literal["queued", "running", "done", "failed", "cancelled"] | None = None
    name: Annotated[str, Field(max_length=64)] | None = None


class TaskList(Answer):
    """Tasks, the newest first."""

    tasks: list[TaskInfo]


# --- locks ---


class LockInfo(Answer):
    """A lock; ``expires`` is ``null`` for one without end."""

    token: str
    vfolder: str
    volume: str
    path: str
    infinite: bool
    exclusive: bool
    owner: str
    created: float
    expires: float | None


class LockList(Answer):
    """Locks, oldest first."""

    locks: list[LockInfo]


# --- the gateway itself ---


class VolumeDetails(Answer):
    """A volume and how it is. Room is ``null`` while it is not available, −1 where the storage does not tell."""

    name: str
    backend: str
    path: str
    capabilities: list[str]
    state: Literal["healthy", "degraded", "offline", "unavailable"]
    info: str | None
    metadata: dict[str, str]
    capacity_bytes: int | None
    used_bytes: int | None
    available_bytes: int | None
    vfolders: int


class VolumeDetailsList(Answer):
    """All volumes, in the order of the configuration."""

    volumes: list[VolumeDetails]


class BackendInfo(Answer):
    """A kind of volume that can be configured."""

    name: str
    summary: str


class BackendList(Answer):
    """All of them by name."""

    backends: list[BackendInfo]


class Finding(Answer):
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str


class DoctorReport(Answer):
    """What an administrator wants to know first when something is wrong. Holds no secret."""

    version: str
    python: str
    platform: str
    process: int
    uptime: float
    configuration: str | None
    data_dir: str
    database: str
    front_ends: list[str]
    authenticators: list[str]
    open_descriptors: int
    descriptor_limit: int
    findings: list[Finding]

"""The frozen values that front ends, services and volumes exchange. Sizes are bytes, times are epoch nanoseconds
where the name ends in ``_ns`` and epoch seconds (float) elsewhere."""

from __future__ import annotations

import enum
import re
from fnmatch import fnmatchcase
from typing import Final, NamedTuple
from uuid import UUID

import attrs

from vfgateway.errors import InvalidArgument
from vfgateway.paths import FolderPath

# --- identifiers -------------------------------------------------------------------------------------


class ScopeKind(enum.Enum):
    """Whom a quota scope belongs to."""

    USER = "user"
    PROJECT = "project"


_SCOPE = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]*):([A-Za-z0-9][A-Za-z0-9_-]*)")


@attrs.frozen(order=True)
class QuotaScopeId:
    """``user:<uuid>`` or ``project:<uuid>``: the owner of vfolders and the carrier of limits."""

    kind: ScopeKind = attrs.field(order=lambda kind: kind.value)
    uuid: UUID

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.uuid}"

    @classmethod
    def parse(cls, text: str) -> QuotaScopeId:
        """Read the textual form; the kind in any case. Raises :class:`InvalidArgument`."""
        match = _SCOPE.fullmatch(text)
        if match is None:
            raise InvalidArgument("qsid", f"expected user:<uuid> or project:<uuid>, got {text!r}")
        try:
            return cls(ScopeKind(match[1].lower()), UUID(match[2]))
        except ValueError:
            raise InvalidArgument("qsid", f"expected user:<uuid> or project:<uuid>, got {text!r}") from None


@attrs.frozen(order=True)
class VFolderId:
    """``<scope>/<32 hex>``; ``scope`` is ``None`` for the old form, a bare UUID."""

    scope: QuotaScopeId | None
    folder: UUID

    def __str__(self) -> str:
        return f"{self.scope}/{self.folder.hex}" if self.scope else self.folder.hex

    @classmethod
    def parse(cls, text: str) -> VFolderId:
        """Read the textual form, with or without dashes in the folder's UUID. Raises :class:`InvalidArgument`."""
        scope, _, folder = text.rpartition("/")
        try:
            return cls(QuotaScopeId.parse(scope) if scope else None, UUID(folder))
        except ValueError:
            raise InvalidArgument("vfid", f"expected <scope>/<uuid>, got {text!r}") from None


# --- files -------------------------------------------------------------------------------------------


class FileType(enum.Enum):
    """What a directory entry is."""

    FILE = "FILE"
    DIRECTORY = "DIRECTORY"
    SYMLINK = "SYMLINK"
    OTHER = "OTHER"


class FileStat(NamedTuple):
    """What a volume knows of one entry; links are described, not followed, unless the caller asked otherwise. A tuple, since one is made
    for each entry of each listing, and nothing of that kind is made faster.

    :ivar size: bytes of a file's content; 0 for a directory
    :ivar mode: permission bits only (no type bits, no set-id bits)
    :ivar identity: opaque text that changes whenever the content may have changed (inode, ctime and size on disk,
        the ETag of an object store). Two equal identities mean the same bytes. No quotes, printable ASCII.
    :ivar nlink: names that share the file; 1 where the storage has no hard links
    :ivar target: where a link points: as it was written, or relative where it leads into a place in which jobs see the vfolder
        (``IJobLinks``); ``None`` for everything else
    """

    type: FileType
    size: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int
    identity: str
    atime_ns: int = 0
    nlink: int = 1
    target: str | None = None

    @property
    def is_file(self) -> bool:
        return self.type is FileType.FILE

    @property
    def is_dir(self) -> bool:
        return self.type is FileType.DIRECTORY


class DirEntry(NamedTuple):
    """One name of a directory with its facts. A tuple as :class:`FileStat` is."""

    name: str
    stat: FileStat


@attrs.frozen
class Attrs:
    """Attributes to change; ``None`` leaves one as it is. ``mode`` loses its set-id bits on the way."""

    mode: int | None = None
    mtime_ns: int | None = None
    atime_ns: int | None = None


@attrs.frozen
class Expect:
    """The state in which a target must be found for a change to happen; see the constants below."""

    identity: str | None = None
    absent: bool = False

    @classmethod
    def same(cls, identity: str) -> Expect:
        """The target must exist with exactly this identity."""
        return cls(identity=identity)


#: Replace whatever file is there, or create one.
ANY: Final = Expect()
#: Nothing may be there; fail with ``AlreadyExists`` otherwise, atomically.
ABSENT: Final = Expect(absent=True)


class OpenMode(enum.Flag):
    """How a file is opened. ``WRITE`` asks for ``IRandomWrite``; the rest is as in ``open(2)``."""

    READ = enum.auto()
    WRITE = enum.auto()
    CREATE = enum.auto()
    EXCLUSIVE = enum.auto()
    TRUNCATE = enum.auto()


@attrs.frozen
class Published:
    """The outcome of a publish, rename or remove: what now stands at the target and what had to give way.

    :ivar stat: the new state of the target; ``None`` after a removal
    :ivar replaced: the file that lost its name (its ``nlink`` as counted *before*), ``None`` if nothing did
    """

    stat: FileStat | None
    replaced: FileStat | None = None


# --- volumes -----------------------------------------------------------------------------------------


@attrs.frozen
class NameRules:
    """What a volume can call a file.

    :ivar case_folding: ``a`` and ``A`` are one file (SMB); keys of locks and properties fold the same way
    :ivar forbidden: characters that no name may hold
    :ivar longest: bytes of the longest name
    :ivar hidden: a shell pattern of names that the storage keeps for itself, at any depth: for clients nothing has them, or can get them
    """

    case_folding: bool = False
    forbidden: frozenset[str] = frozenset()
    longest: int = 255
    hidden: str = ""

    def fold(self, name: str) -> str:
        """The key under which the volume keeps ``name``."""
        return name.casefold() if self.case_folding else name

    def fold_path(self, path: FolderPath) -> FolderPath:
        """The path under which the volume keeps ``path``."""
        return FolderPath(tuple(self.fold(part) for part in path.parts)) if self.case_folding else path

    def hides(self, name: str) -> bool:
        """Whether the storage keeps ``name`` for itself."""
        return bool(self.hidden) and fnmatchcase(name, self.hidden)

    def allows(self, name: str) -> bool:
        """Whether a file can be called ``name``, apart from its length."""
        return self.forbidden.isdisjoint(name)


@attrs.frozen
class Space:
    """Room on a volume, in bytes; −1 where the storage does not tell."""

    capacity: int
    used: int
    available: int


class HealthState(enum.Enum):
    """The reference's words for a volume's hardware state."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    OFFLINE = "offline"
    UNAVAILABLE = "unavailable"


@attrs.frozen
class Snapshot:
    """A read-only picture of a vfolder.

    :ivar created: epoch seconds, by the storage's clock
    """

    label: str
    created: float


@attrs.frozen
class Health:
    """How a volume is: ``info`` is one sentence for the administrator, ``metadata`` vendor facts."""

    state: HealthState
    info: str | None = None
    metadata: dict[str, str] = attrs.Factory(dict)


@attrs.frozen
class PerformanceMetric:
    """Rates as the storage reports them: operations and bytes per second, microseconds per operation."""

    iops_read: float
    iops_write: float
    io_bytes_read: float
    io_bytes_write: float
    io_usec_read: float
    io_usec_write: float


@attrs.frozen
class RemoteMount:
    """What the host of an agent needs to mount the storage of a vfolder by itself.

    :ivar type: as ``mount -t`` takes it
    :ivar source: what is mounted: ``//server/share``, ``server:/export``
    :ivar options: as ``mount -o`` takes them; no secrets
    :ivar credentials: by which name the host knows the secrets that it takes; empty if it takes none
    :ivar path: where the vfolder lies below the place on which that is mounted; relative, with slashes
    """

    type: str
    source: str
    options: str
    credentials: str
    path: str


@attrs.frozen
class Usage:
    """What is stored: ``bytes`` is the sum of ``st_size`` of regular files (each inode once), ``files`` counts files,
    directories and links alike, without the root."""

    bytes: int = 0
    files: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.bytes + other.bytes, self.files + other.files)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.bytes - other.bytes, self.files - other.files)

    def __neg__(self) -> Usage:
        return Usage(-self.bytes, -self.files)


@attrs.frozen
class Limits:
    """The most that may be stored; ``None`` is no limit."""

    bytes: int | None = None
    files: int | None = None

    def rounded_up(self, step: int) -> Limits:
        """As storage keeps them that counts in ``step`` bytes: never less, and at least one."""
        size = None if self.bytes is None else max(1, -(-self.bytes // step)) * step
        return Limits(size, self.files)


@attrs.frozen
class FolderOptions:
    """How to make a vfolder's root: permission bits (``None``: the volume's configured mode)."""

    mode: int | None = None


@attrs.frozen
class Actor:
    """Who acts, as the storage sees it: numeric owner for new files where the volume is configured to use it, and a
    reference to credentials for storage that logs in per user.

    :ivar credential: the name of the account that acts; ``None`` where that is nobody with an account, but the gateway itself, the
        orchestrator, or a token that it minted
    """

    uid: int | None = None
    gid: int | None = None
    credential: str | None = None


# --- vfolders and people -----------------------------------------------------------------------------


class Permission(enum.IntEnum):
    """What a grant allows; a greater one includes the lesser (``design.md`` section 3)."""

    NONE = 0
    RO = 1
    RW = 2
    RWD = 3

    @classmethod
    def parse(cls, text: str) -> Permission:
        """Read ``ro``, ``rw``, ``rwd`` or the orchestrator's ``wd``. Raises :class:`InvalidArgument`."""
        words = {"ro": cls.RO, "rw": cls.RW, "rwd": cls.RWD, "wd": cls.RWD}
        try:
            return words[text.lower()]
        except KeyError:
            raise InvalidArgument("permission", f"expected ro, rw or rwd, got {text!r}") from None

    def __str__(self) -> str:
        return self.name.lower()


class VFolderStatus(enum.Enum):
    """The life of a vfolder."""

    READY = "ready"
    CLONING = "cloning"
    TRASHED = "trashed"
    DELETING = "deleting"


@attrs.frozen
class VFolder:
    """One row of the registry.

    :ivar key: the registry's own number for it, which stays when the vfolder moves to other storage
    :ivar name: what people call it; ``None`` until somebody names it (then its 32 hex digits are shown)
    :ivar owner: UUID of the owning user or group; ``None`` while only the orchestrator knows
    :ivar kind: whose it is: a user's or a group's (``project`` in the orchestrator's words)
    :ivar limits: of this vfolder alone; scopes and owners carry their own
    :ivar created: epoch seconds
    :ivar expires: epoch seconds after which it is removed, or ``None``
    :ivar read_only: nobody writes to it, whatever their rights
    """

    key: int
    id: VFolderId
    volume: str
    name: str | None
    owner: UUID | None
    kind: ScopeKind
    status: VFolderStatus
    limits: Limits
    created: float
    expires: float | None = None
    read_only: bool = False

    @property
    def display_name(self) -> str:
        return self.name or self.id.folder.hex

    @property
    def is_gone(self) -> bool:
        """Whether it is deleted for everybody, whatever is still there of it."""
        return self.status in (VFolderStatus.TRASHED, VFolderStatus.DELETING)

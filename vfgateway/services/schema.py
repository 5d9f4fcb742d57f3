"""The gateway's tables. Paths and names of files are stored as the bytes on disk (they need not be UTF-8); identifiers are
text; times are epoch seconds; sizes are bytes. Migrations in ``migrations/`` lead here; a test compares the two.
Tables of single areas are in modules of their own (``*_tables.py``)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: SQLite counts up by itself only for plain INTEGER keys.
key_type = BigInteger().with_variant(Integer, "sqlite")


def _vfolder_key() -> Column[int]:
    return Column("vfolder", key_type, ForeignKey("vfolders.key", ondelete="CASCADE"), nullable=False, index=True)


# --- people ------------------------------------------------------------------------------------------


def _origin() -> tuple[Column[str], Column[str]]:
    """Where an account came from: the authenticator's name and what it calls the account; both NULL for our own. An account with a
    source alone waits for whoever comes from there under its name."""
    return Column("source", String(64)), Column("subject", String(255))


users = Table(
    "users",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("email", String(255)),
    Column("administrator", Boolean, nullable=False, default=False),
    Column("active", Boolean, nullable=False, default=True),
    Column("uid", BigInteger),
    Column("gid", BigInteger),
    Column("limit_bytes", BigInteger),
    Column("limit_files", BigInteger),
    Column("created", Float, nullable=False),
    Column("expires", Float),
    *_origin(),
    # Counts up when the source is to be asked anew: answers remembered under another number are worth nothing.
    Column("revision", BigInteger, nullable=False, server_default="0"),
    Column("vouched", Float),  # when the source was last heard to know the account
    Column("withdrawn", Boolean, nullable=False, server_default=false()),  # the source knows it no more
    Index("uq_users_source_subject", "source", "subject", unique=True),
)

groups = Table(
    "groups",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("limit_bytes", BigInteger),
    Column("limit_files", BigInteger),
    Column("created", Float, nullable=False),
    *_origin(),
    Index("uq_groups_source_subject", "source", "subject", unique=True),
)

members = Table(
    "members",
    metadata,
    Column("group_id", String(36), ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("administrator", Boolean, nullable=False, default=False),
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    # password (Argon2id hash), public_key (OpenSSH line), api_key (SHA-256 of a random key)
    Column("kind", String(16), nullable=False),
    Column("label", String(255), nullable=False, default=""),
    Column("data", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("last_used", Float),
    Index("ix_credentials_kind_data", "kind", "data"),
)

# --- vfolders and rights --------------------------------------------------------------------------------

scopes = Table(
    "scopes",
    metadata,
    Column("volume", String(255), primary_key=True),
    Column("scope", String(64), primary_key=True),
    Column("limit_bytes", BigInteger),
    Column("limit_files", BigInteger),
    Column("created", Float, nullable=False),
)

vfolders = Table(
    "vfolders",
    metadata,
    Column("key", key_type, primary_key=True, autoincrement=True),
    Column("volume", String(255), nullable=False),
    Column("vfid", String(128), nullable=False),
    Column("folder", String(32), nullable=False, index=True),  # the last part of vfid, for those who know only that
    Column("scope", String(64), index=True),
    Column("name", String(255)),
    Column("kind", String(16), nullable=False),
    Column("owner", String(36), index=True),
    Column("status", String(16), nullable=False),
    Column("limit_bytes", BigInteger),
    Column("limit_files", BigInteger),
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("read_only", Boolean, nullable=False, server_default=false()),  # nobody writes: a shared dataset
    UniqueConstraint("volume", "vfid"),
    UniqueConstraint("owner", "name"),
    # A number is never given twice: other processes may still hold headroom or names under it.
    sqlite_autoincrement=True,
)

grants = Table(
    "grants",
    metadata,
    Column("id", String(32), primary_key=True),
    _vfolder_key(),
    Column("subject_kind", String(16), nullable=False),  # user or group
    Column("subject", String(36), nullable=False, index=True),
    Column("permission", String(8), nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("source", String(64)),  # the authenticator that gives and takes it; NULL: people here do
    UniqueConstraint("vfolder", "subject_kind", "subject"),
)

# A name once shown to a user stays, since mounts and scripts hold it.
shown_names = Table(
    "shown_names",
    metadata,
    Column("user_id", String(36), primary_key=True),
    Column("name", String(255), primary_key=True),
    _vfolder_key(),
    Column("base", String(255), nullable=False),  # what the vfolder was called when it was first shown so
)

# What a principal with `rw` created lately and may therefore remove again.
creations = Table(
    "creations",
    metadata,
    Column("vfolder", key_type, ForeignKey("vfolders.key", ondelete="CASCADE"), primary_key=True),
    Column("path", LargeBinary, primary_key=True),
    Column("principal", String(64), nullable=False),
    Column("created", Float, nullable=False, index=True),
)

# --- uploads -------------------------------------------------------------------------------------------

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(32), primary_key=True),
    _vfolder_key(),
    Column("principal", String(64)),  # user id, or NULL: belongs to the vfolder
    Column("target", LargeBinary, nullable=False),
    Column("size", BigInteger),  # NULL: not declared yet
    Column("mark", BigInteger, nullable=False),  # bytes that are certainly durable
    Column("boot_id", String(64), nullable=False),  # the boot that wrote what lies beyond the mark
    Column("unverified", Boolean, nullable=False, default=False),  # what lies beyond the mark awaits its checksum
    Column("state", String(16), nullable=False),  # open, partial, publishing, published
    Column("info", Text, nullable=False),  # JSON: metadata of the protocol
    Column("expected", Text),  # identity that the target must have, "" for none there, NULL for any
    Column("fence", BigInteger, nullable=False, default=0),  # of the lock under which it was begun
    Column("lifetime", Float, nullable=False),  # seconds without progress after which it expires
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False, index=True),
    Column("process", String(64)),  # the only process that has the stage, where stages do not outlive theirs
    Column("holder", String(64)),  # who writes now: the process
    Column("holder_serial", BigInteger, nullable=False, default=0),  # counts holders: the fence of the stage
    Column("holder_until", Float),
    Column("asked", BigInteger, nullable=False, default=0),  # the holder of this number shall let go
    Column("told", Float),  # when somebody was last told the mark
)

# --- quota ---------------------------------------------------------------------------------------------

# subject: "vfolder:KEY", "volume:NAME", "scope:VOLUME/SCOPE", "user:UUID" or "group:UUID" (the owner's sum over all volumes)
usage = Table(
    "usage",
    metadata,
    Column("subject", String(512), primary_key=True),
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("files", BigInteger, nullable=False, default=0),
)

# Hard limits of volumes; those of others are in their own rows.
volume_limits = Table(
    "volume_limits",
    metadata,
    Column("volume", String(255), primary_key=True),
    Column("limit_bytes", BigInteger),
    Column("limit_files", BigInteger),
)

# Limits of any subject that may be passed for some time.
soft_limits = Table(
    "soft_limits",
    metadata,
    Column("subject", String(512), primary_key=True),
    Column("bytes", BigInteger),
    Column("files", BigInteger),
    Column("grace", Float, nullable=False),  # seconds
)

# Limits and thresholds that usage is beyond, each told once. "soft": the time of grace runs.
crossings = Table(
    "crossings",
    metadata,
    Column("subject", String(512), primary_key=True),
    Column("resource", String(8), primary_key=True),  # bytes or files
    Column("level", String(16), primary_key=True),  # percent of the limit, soft, grace, over, refused
    Column("since", Float, nullable=False),
)

# Headroom taken out of a limit: a process's slab (holder "slab:PROCESS") or what an upload keeps (holder: the upload's id).
holds = Table(
    "holds",
    metadata,
    Column("holder", String(64), primary_key=True),
    Column("subject", String(512), primary_key=True, index=True),
    Column("process", String(64), nullable=False),  # who wrote it first
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("files", BigInteger, nullable=False, default=0),
    Column("recalled", Boolean, nullable=False, default=False),  # another process asks for what is unspent
)

# vfolders that a process changes: recounted if it dies before it has written its figures.
dirty = Table(
    "dirty",
    metadata,
    Column("process", String(64), primary_key=True),
    Column("vfolder", key_type, ForeignKey("vfolders.key", ondelete="CASCADE"), primary_key=True, index=True),
    Column("recount", Boolean, nullable=False, default=False),  # it died: the figure waits to be recounted
)

processes = Table(
    "processes",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("birth", BigInteger, nullable=False),  # start of the process in clock ticks since boot; 0: not known
    Column("started", Float, nullable=False),
    Column("heartbeat", BigInteger, nullable=False),  # counts up, so that jumping clocks kill nobody
)

# --- locks ---------------------------------------------------------------------------------------------

locks = Table(
    "locks",
    metadata,
    Column("token", String(64), primary_key=True),
    _vfolder_key(),
    Column("path", LargeBinary, nullable=False),  # folded as the volume folds names
    Column("infinite", Boolean, nullable=False),
    Column("exclusive", Boolean, nullable=False),
    Column("principal", String(64), nullable=False),
    Column("owner", Text, nullable=False),  # as the client describes itself
    Column("fence", key_type, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("description", Text, nullable=False, default=""),  # what a protocol keeps for its client (the owner in XML)
    Index("ix_locks_vfolder_path", "vfolder", "path"),
)

# Dead properties (RFC 4918 section 4): kept for whoever set them, without a meaning here.
properties = Table(
    "properties",
    metadata,
    Column("vfolder", key_type, ForeignKey("vfolders.key", ondelete="CASCADE"), primary_key=True),
    Column("path", LargeBinary, primary_key=True),  # folded, like those of locks
    Column("name", String(1024), primary_key=True),  # {namespace}local
    Column("parent", LargeBinary),  # the path above; NULL for the root
    Column("value", Text, nullable=False),  # the element in XML
    Index("ix_properties_vfolder_parent", "vfolder", "parent"),
)

# Changes that are about to become visible, one row a path; the lower serial goes first.
intents = Table(
    "intents",
    metadata,
    Column("serial", key_type, primary_key=True, autoincrement=True),
    Column("intent", String(32), nullable=False, index=True),
    _vfolder_key(),
    Column("path", LargeBinary, nullable=False),  # folded, like those of locks
    Column("tree", Boolean, nullable=False),  # with all below
    Column("process", String(64), nullable=False, index=True),
    Column("created", Float, nullable=False),
    Column("shared", Boolean, nullable=False, server_default=false()),  # goes along with others that are shared
)

# --- what has changed (RFC 6578) ------------------------------------------------------------------------

# vfolders of which somebody asked for a sync token: their changes are written down.
tracked = Table(
    "tracked",
    metadata,
    Column("vfolder", key_type, ForeignKey("vfolders.key", ondelete="CASCADE"), primary_key=True),
    Column("epoch", String(32), nullable=False),  # random: tokens of another epoch are worth nothing
    Column("serial", BigInteger, nullable=False),  # of the latest change
    Column("floor", BigInteger, nullable=False),  # changes up to this serial have been dropped
    Column("asked", Float, nullable=False),  # when somebody last asked
)

# The latest change of each path, whatever became of it.
changes = Table(
    "changes",
    metadata,
    Column("vfolder", key_type, ForeignKey("tracked.vfolder", ondelete="CASCADE"), primary_key=True),
    Column("path", LargeBinary, primary_key=True),
    Column("serial", BigInteger, nullable=False),
    Column("tree", BigInteger, nullable=False),  # serial of when all below it came along; 0: never
    Column("lost", BigInteger, nullable=False),  # serial of when what was below went without being named; 0: never
    Column("collection", Boolean, nullable=False),  # if it is gone: whether it was a directory
    Column("at", Float, nullable=False),
    Index("ix_changes_vfolder_serial", "vfolder", "serial"),
)

# --- the rest ------------------------------------------------------------------------------------------

tasks = Table(
    "tasks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("arguments", Text, nullable=False),  # JSON
    Column("state", String(16), nullable=False, index=True),  # queued, running, done, failed, cancelled
    Column("cancelling", Boolean, nullable=False, default=False),
    Column("message", Text, nullable=False, default=""),
    Column("done", BigInteger, nullable=False, default=0),
    Column("total", BigInteger, nullable=False, default=0),
    Column("attempt", Integer, nullable=False, default=0),
    Column("process", String(64)),
    Column("created", Float, nullable=False),
    Column("not_before", Float),
    Column("started", Float),
    Column("finished", Float),
    Column("request_id", String(64), nullable=False, default="", server_default=""),  # of the request that began it
    Column("who", String(255), nullable=False, default="", server_default=""),
)

# Scans, and what they found.
scans = Table(
    "scans",
    metadata,
    Column("id", String(36), primary_key=True),  # of the task
    Column("volume", String(255)),
    Column("vfid", String(80)),
    Column("fix", Boolean, nullable=False),
    Column("created", Float, nullable=False),
    Column("finished", Float),
    Column("cursor", BigInteger, nullable=False, default=0),
    Column("checked_vfolders", BigInteger, nullable=False, default=0),
    Column("checked_bytes", BigInteger, nullable=False, default=0),
    Column("checked_files", BigInteger, nullable=False, default=0),
)
findings = Table(
    "findings",
    metadata,
    Column("number", key_type, primary_key=True, autoincrement=True),
    Column("scan", String(36), ForeignKey("scans.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("volume", String(255), nullable=False),
    Column("vfid", String(80), nullable=False),
    Column("detail", Text, nullable=False),
    Column("fixed", Boolean, nullable=False),
)

# Counters: generations of caches ("vfolders", "accounts"), the fence of locks.
counters = Table(
    "counters",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# What plugins keep (``Runtime.state``).
state = Table(
    "state",
    metadata,
    Column("owner", String(255), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

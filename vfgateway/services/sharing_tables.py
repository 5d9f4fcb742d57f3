"""Tables of sharing between people: invitations, trash, share links, and the sessions of browsers. Conventions as in
:mod:`vfgateway.services.schema`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from vfgateway.services.schema import key_type, metadata


def _vfolder_key() -> Column[int]:
    return Column("vfolder", key_type, ForeignKey("vfolders.key", ondelete="CASCADE"), nullable=False, index=True)


def _user_id() -> Column[str]:
    return Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True)


# What somebody is offered and has not accepted yet.
invitations = Table(
    "invitations",
    metadata,
    Column("id", String(32), primary_key=True),
    _vfolder_key(),
    _user_id(),
    Column("role", String(8), nullable=False),  # ro, rw, rwd, or owner
    Column("keep", String(8)),  # with owner: what the former owner keeps
    Column("inviter", String(36)),  # user id; NULL: the orchestrator or an administrator without an account
    Column("message", Text, nullable=False),
    Column("grant_expires", Float),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False, index=True),
    UniqueConstraint("vfolder", "user_id"),
)

# vfolders that were deleted and can still be restored.
vfolder_trash = Table(
    "vfolder_trash",
    metadata,
    Column("vfolder", key_type, ForeignKey("vfolders.key", ondelete="CASCADE"), primary_key=True),
    Column("name", String(255)),  # which others may use meanwhile
    Column("deleted_by", String(255), nullable=False),  # a name, for people
    Column("deleted", Float, nullable=False),
    Column("purge_at", Float, nullable=False, index=True),
)

# Files and directories that were deleted within a vfolder; each lies in its reserved directory, called by its id.
file_trash = Table(
    "file_trash",
    metadata,
    Column("id", String(32), primary_key=True),
    _vfolder_key(),
    Column("path", LargeBinary, nullable=False),  # where it was
    Column("directory", Boolean, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes of a file; 0 for a directory
    Column("principal", String(64), nullable=False),  # as of creations
    Column("deleted_by", String(255), nullable=False),  # a name, for people
    Column("deleted", Float, nullable=False),
    Column("purge_at", Float, nullable=False, index=True),
)

# Share links: whoever has the secret may do one thing in one place.
share_links = Table(
    "share_links",
    metadata,
    Column("id", String(32), primary_key=True),
    _vfolder_key(),
    Column("path", LargeBinary, nullable=False),
    Column("kind", String(16), nullable=False),  # download or upload
    Column("digest", String(64), nullable=False, unique=True),  # SHA-256 of the secret
    Column("password", Text),  # Argon2id
    Column("label", String(255), nullable=False),
    Column("creator", String(36), index=True),  # user id, on whose rights it rests; NULL: an administrator's
    Column("created", Float, nullable=False),
    Column("expires", Float, index=True),
    Column("most_uses", Integer),
    Column("uses", Integer, nullable=False),
)

# People logged in with a browser.
web_sessions = Table(
    "web_sessions",
    metadata,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the cookie
    Column("id", String(32), nullable=False, unique=True),  # by which its owner can end it
    _user_id(),
    Column("address", String(64), nullable=False),
    Column("agent", String(255), nullable=False),
    Column("created", Float, nullable=False),
    Column("used", Float, nullable=False),
    Column("expires", Float, nullable=False, index=True),
    Column("credential", String(32), index=True),  # with which it was begun, if that is one of ours; it may be gone
)

"""Invitations, trash, share links, sessions of browsers, and vfolders that nobody writes to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0005"

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _vfolder(name: str) -> tuple[sa.Column[int], sa.ForeignKeyConstraint]:
    return sa.Column("vfolder", _KEY, nullable=False), sa.ForeignKeyConstraint(
        ["vfolder"], ["vfolders.key"], name=op.f(f"fk_{name}_vfolder"), ondelete="CASCADE"
    )


def _user(name: str) -> tuple[sa.Column[str], sa.ForeignKeyConstraint]:
    return sa.Column("user_id", sa.String(length=36), nullable=False), sa.ForeignKeyConstraint(
        ["user_id"], ["users.id"], name=op.f(f"fk_{name}_user_id"), ondelete="CASCADE"
    )


def upgrade() -> None:
    op.add_column("vfolders", sa.Column("read_only", sa.Boolean(), server_default=sa.false(), nullable=False))
    _invitations()
    _trash()
    _links()
    _sessions()


def _index(table: str, *columns: str, unique: bool = False) -> None:
    for column in columns:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=unique)


def _invitations() -> None:
    op.create_table(
        "invitations",
        sa.Column("id", sa.String(length=32), nullable=False),
        *_vfolder("invitations"),
        *_user("invitations"),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("keep", sa.String(length=8), nullable=True),
        sa.Column("inviter", sa.String(length=36), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("grant_expires", sa.Float(), nullable=True),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("vfolder", "user_id", name=op.f("uq_invitations_vfolder_user_id")),
    )
    _index("invitations", "vfolder", "user_id", "expires")


def _trash() -> None:
    op.create_table(
        "vfolder_trash",
        *_vfolder("vfolder_trash"),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("deleted_by", sa.String(length=255), nullable=False),
        sa.Column("deleted", sa.Float(), nullable=False),
        sa.Column("purge_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("vfolder", name=op.f("pk_vfolder_trash")),
    )
    _index("vfolder_trash", "purge_at")
    op.create_table(
        "file_trash",
        sa.Column("id", sa.String(length=32), nullable=False),
        *_vfolder("file_trash"),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("directory", sa.Boolean(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("principal", sa.String(length=64), nullable=False),
        sa.Column("deleted_by", sa.String(length=255), nullable=False),
        sa.Column("deleted", sa.Float(), nullable=False),
        sa.Column("purge_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file_trash")),
    )
    _index("file_trash", "vfolder", "purge_at")


def _links() -> None:
    op.create_table(
        "share_links",
        sa.Column("id", sa.String(length=32), nullable=False),
        *_vfolder("share_links"),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("label", sa.String(length=255), nullable=False),
        sa.Column("creator", sa.String(length=36), nullable=True),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=True),
        sa.Column("most_uses", sa.Integer(), nullable=True),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_share_links")),
        sa.UniqueConstraint("digest", name=op.f("uq_share_links_digest")),
    )
    _index("share_links", "vfolder", "creator", "expires")


def _sessions() -> None:
    op.create_table(
        "web_sessions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        *_user("web_sessions"),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("used", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_web_sessions")),
        sa.UniqueConstraint("id", name=op.f("uq_web_sessions_id")),
    )
    _index("web_sessions", "user_id", "expires")

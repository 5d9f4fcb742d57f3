"""What has changed in a vfolder since when, for sync tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "tracked",
        sa.Column("vfolder", _KEY, nullable=False),
        sa.Column("epoch", sa.String(length=32), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("floor", sa.BigInteger(), nullable=False),
        sa.Column("asked", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["vfolder"], ["vfolders.key"], name=op.f("fk_tracked_vfolder"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("vfolder", name=op.f("pk_tracked")),
    )
    op.create_table(
        "changes",
        sa.Column("vfolder", _KEY, nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("tree", sa.BigInteger(), nullable=False),
        sa.Column("lost", sa.BigInteger(), nullable=False),
        sa.Column("collection", sa.Boolean(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["vfolder"], ["tracked.vfolder"], name=op.f("fk_changes_vfolder"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("vfolder", "path", name=op.f("pk_changes")),
    )
    op.create_index("ix_changes_vfolder_serial", "changes", ["vfolder", "serial"])

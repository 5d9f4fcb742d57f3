"""Why there is each snapshot, and when the next is taken."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0014"

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _vfolder(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["vfolder"], ["vfolders.key"], name=op.f(f"fk_{table}_vfolder_vfolders"), ondelete="CASCADE"
    )


def upgrade() -> None:
    op.create_table(
        "vfolder_snapshots",
        sa.Column("vfolder", _KEY, nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("made_by", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        _vfolder("vfolder_snapshots"),
        sa.PrimaryKeyConstraint("vfolder", "label", name=op.f("pk_vfolder_snapshots")),
    )
    op.create_table(
        "snapshot_schedules",
        sa.Column("vfolder", _KEY, nullable=False),
        sa.Column("hourly", sa.Integer(), nullable=False),
        sa.Column("daily", sa.Integer(), nullable=False),
        sa.Column("weekly", sa.Integer(), nullable=False),
        sa.Column("monthly", sa.Integer(), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        _vfolder("snapshot_schedules"),
        sa.PrimaryKeyConstraint("vfolder", name=op.f("pk_snapshot_schedules")),
    )
    op.create_index("ix_snapshot_schedules_due", "snapshot_schedules", ["due"], unique=False)

"""Limits of volumes, soft limits, and what has been told of limits that were crossed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "volume_limits",
        sa.Column("volume", sa.String(length=255), nullable=False),
        sa.Column("limit_bytes", sa.BigInteger(), nullable=True),
        sa.Column("limit_files", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("volume", name=op.f("pk_volume_limits")),
    )
    op.create_table(
        "soft_limits",
        sa.Column("subject", sa.String(length=512), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("files", sa.BigInteger(), nullable=True),
        sa.Column("grace", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_soft_limits")),
    )
    op.create_table(
        "crossings",
        sa.Column("subject", sa.String(length=512), nullable=False),
        sa.Column("resource", sa.String(length=8), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "resource", "level", name=op.f("pk_crossings")),
    )
    # Volumes are charged from now on: with what their vfolders hold, and with the uploads under way in those.
    op.execute(
        "INSERT INTO usage (subject, bytes, files)"
        " SELECT 'volume:' || v.volume, SUM(u.bytes), SUM(u.files)"
        " FROM usage u JOIN vfolders v ON u.subject = 'vfolder:' || v.key GROUP BY v.volume"
    )
    op.execute(
        "INSERT INTO holds (holder, subject, process, bytes, files, recalled)"
        " SELECT h.holder, 'volume:' || v.volume, h.process, h.bytes, h.files, h.recalled"
        " FROM holds h JOIN vfolders v ON h.subject = 'vfolder:' || v.key WHERE h.holder NOT LIKE 'slab:%'"
    )

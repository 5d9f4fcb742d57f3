"""Where vfolders are being moved to, and where they have been."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_table(
        "vfolder_places",
        sa.Column("volume", sa.String(length=255), nullable=False),
        sa.Column("vfid", sa.String(length=128), nullable=False),
        sa.Column("vfolder", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("task", sa.String(length=36), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("volume", "vfid", name=op.f("pk_vfolder_places")),
    )
    op.create_index("ix_vfolder_places_vfolder", "vfolder_places", ["vfolder"], unique=False)

"""Where accounts and grants came from, for people whom a directory or an identity provider knows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0002"


def upgrade() -> None:
    for table in ("users", "groups"):
        op.add_column(table, sa.Column("source", sa.String(length=64), nullable=True))
        op.add_column(table, sa.Column("subject", sa.String(length=255), nullable=True))
        op.create_index(f"uq_{table}_source_subject", table, ["source", "subject"], unique=True)
    op.add_column("users", sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("users", sa.Column("vouched", sa.Float(), nullable=True))
    op.add_column("users", sa.Column("withdrawn", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("grants", sa.Column("source", sa.String(length=64), nullable=True))

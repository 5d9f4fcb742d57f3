"""Announcements that go along with each other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("intents", sa.Column("shared", sa.Boolean(), server_default=sa.false(), nullable=False))

"""Who was told how far an upload is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("told", sa.Float(), nullable=True))

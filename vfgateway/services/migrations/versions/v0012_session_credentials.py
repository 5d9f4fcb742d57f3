"""With what browsers were logged in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0007"


def upgrade() -> None:
    with op.batch_alter_table("web_sessions") as batch:
        batch.add_column(sa.Column("credential", sa.String(length=32), nullable=True))
    op.create_index("ix_web_sessions_credential", "web_sessions", ["credential"], unique=False)

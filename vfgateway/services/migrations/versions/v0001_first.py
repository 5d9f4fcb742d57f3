"""The first schema. It follows ``schema.py`` until the first release freezes it (``docs/decisions/database.md``)."""

from __future__ import annotations

from alembic import op

from vfgateway.services.schema import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())

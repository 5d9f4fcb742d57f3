"""Which description lies beside each vfolder on its volume."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "descriptions",
        sa.Column("vfolder", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["vfolder"], ["vfolders.key"], name=op.f("fk_descriptions_vfolder_vfolders"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("vfolder", name=op.f("pk_descriptions")),
    )

"""Usage by directory at the top of each vfolder. What is there already is nobody's share until it has been counted."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0012"

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    shares = op.create_table(
        "folder_usage",
        sa.Column("vfolder", _KEY, nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("stale", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["vfolder"], ["vfolders.key"], name=op.f("fk_folder_usage_vfolder_vfolders"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("vfolder", "name", name=op.f("pk_folder_usage")),
    )
    op.create_index("ix_folder_usage_stale", "folder_usage", ["stale"], unique=False)
    connection = op.get_bind()
    known = sa.text(
        "SELECT v.key, u.bytes, u.files FROM vfolders v JOIN usage u ON u.subject = 'vfolder:' || v.key"
        " WHERE u.bytes <> 0 OR u.files <> 0"
    )
    now = time.time()
    rows = [
        {"vfolder": row.key, "name": b"/", "bytes": row.bytes, "files": row.files, "stale": now}
        for row in connection.execute(known)
    ]
    if rows:
        connection.execute(sa.insert(shares), rows)

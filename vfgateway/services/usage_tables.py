"""Tables of usage beyond ``schema.usage``. Conventions as in :mod:`vfgateway.services.schema`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, LargeBinary, Table

from vfgateway.services.schema import key_type, metadata

# Shares of a vfolder's usage by directory at its top; together they are its usage.
folder_usage = Table(
    "folder_usage",
    metadata,
    Column("vfolder", key_type, ForeignKey("vfolders.key", ondelete="CASCADE"), primary_key=True),
    # folded as the volume folds names; empty: all that is no directory; "/": directories without a row of their own
    Column("name", LargeBinary, primary_key=True),
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("files", BigInteger, nullable=False, default=0),
    # Since when it is known to be wrong: part of it belongs to another. It waits to be counted.
    Column("stale", Float, index=True),
)

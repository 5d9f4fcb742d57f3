"""The table of what was done and what was refused: see :mod:`vfgateway.services.audit_records`."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, String, Table, Text

from vfgateway.services.schema import key_type, metadata

audit = Table(
    "audit",
    metadata,
    Column("number", key_type, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False, index=True),
    Column("last", Float, nullable=False),  # the latest of all that the row stands for
    Column("count", Integer, nullable=False),  # how many it stands for
    Column("event", String(32), nullable=False),
    Column("outcome", String(8), nullable=False),  # done, refused
    Column("who", String(255), nullable=False),
    Column("user_id", String(36)),
    Column("address", String(64), nullable=False),
    Column("protocol", String(16), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("volume", String(255)),
    Column("vfid", String(80)),
    Column("target", Text, nullable=False),  # the path, account or key that it is about, in words
    Column("refuser", String(16)),  # of a refusal: grant, limit, lock, backend, login, path
    Column("id", String(16)),  # what whoever was refused has been told
    Column("facts", Text, nullable=False),  # JSON
    Index("ix_audit_id", "id"),
    Index("ix_audit_who", "who", "number"),
)

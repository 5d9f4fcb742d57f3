"""What is known of the descriptions that vfolders carry. Conventions as in :mod:`vfgateway.services.schema`."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, String, Table

from vfgateway.services.schema import key_type, metadata

# The description that lies on the volume, by its SHA-256; without a row there is none, or an old one.
descriptions = Table(
    "descriptions",
    metadata,
    Column("vfolder", key_type, ForeignKey("vfolders.key", ondelete="CASCADE"), primary_key=True),
    Column("digest", String(64), nullable=False),
)

"""The table of moves to other storage. Conventions as in :mod:`vfgateway.services.schema`."""

from __future__ import annotations

from sqlalchemy import Column, Float, String, Table

from vfgateway.services.schema import key_type, metadata

# Where vfolders are being copied to, and where they have been. A row outlives its vfolder for as long as something of it may lie there.
vfolder_places = Table(
    "vfolder_places",
    metadata,
    Column("volume", String(255), primary_key=True),
    Column("vfid", String(128), primary_key=True),
    Column("vfolder", key_type, nullable=False, index=True),
    Column("state", String(16), nullable=False),  # coming, left, kept, gone
    Column("task", String(36), nullable=False),  # that moves it, or did
    Column("since", Float, nullable=False),
)

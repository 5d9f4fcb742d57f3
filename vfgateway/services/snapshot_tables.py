"""Tables of snapshots: why there is each, and when the next is taken. Conventions as in :mod:`vfgateway.services.schema`."""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Integer, String, Table

from vfgateway.services.schema import key_type, metadata


def _vfolder_key() -> Column[int]:
    return Column("vfolder", key_type, ForeignKey("vfolders.key", ondelete="CASCADE"), primary_key=True)


# What the storage does not know of its snapshots. Whether one is there, only the storage says.
vfolder_snapshots = Table(
    "vfolder_snapshots",
    metadata,
    _vfolder_key(),
    Column("label", String(100), primary_key=True),
    Column("reason", String(16), nullable=False),  # hand, schedule or restore
    Column("made_by", String(255), nullable=False),  # a name, for people
    Column("created", Float, nullable=False),
)

# Vfolders of which snapshots are taken by themselves; of each period so many are kept.
snapshot_schedules = Table(
    "snapshot_schedules",
    metadata,
    _vfolder_key(),
    Column("hourly", Integer, nullable=False),
    Column("daily", Integer, nullable=False),
    Column("weekly", Integer, nullable=False),
    Column("monthly", Integer, nullable=False),
    Column("due", Float, nullable=False, index=True),
)

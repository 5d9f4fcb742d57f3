"""What the database knows of snapshots: pure reads and writes."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

import attrs
from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from vfgateway.services.snapshot_tables import snapshot_schedules, vfolder_snapshots
from vfgateway.services.snapshotplans import PERIODS, Plan


class Reason(enum.Enum):
    """Why there is a snapshot."""

    HAND = "hand"
    SCHEDULE = "schedule"
    RESTORE = "restore"  # what a vfolder held before an earlier state was put back
    STORAGE = "storage"  # somebody took it without the gateway


@attrs.frozen
class Record:
    """Why there is a snapshot, and who made it, in words."""

    reason: Reason
    made_by: str
    created: float


@attrs.frozen
class Scheduled:
    """A vfolder of which snapshots are taken by themselves, and when the next one is."""

    vfolder: int
    plan: Plan
    due: float


def keep(connection: Connection, vfolder: int, label: str, record: Record) -> None:
    """Remember a snapshot, in place of an earlier one of that label."""
    forget(connection, vfolder, label)
    facts = {"reason": record.reason.value, "made_by": record.made_by[:255], "created": record.created}
    connection.execute(insert(vfolder_snapshots).values(vfolder=vfolder, label=label, **facts))


def forget(connection: Connection, vfolder: int, label: str) -> None:
    """A snapshot is gone."""
    here = (vfolder_snapshots.c.vfolder == vfolder) & (vfolder_snapshots.c.label == label)
    connection.execute(delete(vfolder_snapshots).where(here))


def all_of(connection: Connection, vfolder: int) -> Mapping[str, Record]:
    """What is known of a vfolder's snapshots, by label."""
    query = select(vfolder_snapshots).where(vfolder_snapshots.c.vfolder == vfolder)
    return {row.label: Record(Reason(row.reason), row.made_by, row.created) for row in connection.execute(query)}


def made_for_restores_before(connection: Connection, then: float) -> Sequence[tuple[int, str]]:
    """Vfolder and label of what was kept before a restore, and has been for long enough."""
    columns = vfolder_snapshots.c
    query = select(columns.vfolder, columns.label).where(
        columns.reason == Reason.RESTORE.value, columns.created <= then
    )
    return [(row.vfolder, row.label) for row in connection.execute(query.limit(1000))]


# --- schedules ---


def schedule_of(connection: Connection, vfolder: int) -> Scheduled | None:
    """The schedule of a vfolder, if it has one."""
    found = _scheduled(connection, snapshot_schedules.c.vfolder == vfolder)
    return found[0] if found else None


def due(connection: Connection, now: float) -> Sequence[Scheduled]:
    """Those whose time has come, those that wait longest first."""
    return _scheduled(connection, snapshot_schedules.c.due <= now)


def _scheduled(connection: Connection, where: ColumnElement[bool]) -> Sequence[Scheduled]:
    query = select(snapshot_schedules).where(where).order_by(snapshot_schedules.c.due).limit(1000)
    return [
        Scheduled(row.vfolder, Plan(**{period: getattr(row, period) for period in PERIODS}), row.due)
        for row in connection.execute(query)
    ]


def set_schedule(connection: Connection, scheduled: Scheduled) -> None:
    """Begin or change a schedule."""
    drop_schedule(connection, scheduled.vfolder)
    facts = attrs.asdict(scheduled.plan)
    connection.execute(insert(snapshot_schedules).values(vfolder=scheduled.vfolder, due=scheduled.due, **facts))


def put_off(connection: Connection, scheduled: Scheduled) -> None:
    """Say when the next one is to be taken, unless the schedule has been changed or ended meanwhile."""
    columns = snapshot_schedules.c
    same = [getattr(columns, period) == getattr(scheduled.plan, period) for period in PERIODS]
    mine = update(snapshot_schedules).where(columns.vfolder == scheduled.vfolder, *same)
    connection.execute(mine.values(due=scheduled.due))


def drop_schedule(connection: Connection, vfolder: int) -> bool:
    """End a schedule, and whether there was one."""
    return connection.execute(delete(snapshot_schedules).where(snapshot_schedules.c.vfolder == vfolder)).rowcount > 0

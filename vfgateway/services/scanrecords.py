"""What scans found, as the database keeps it; each function runs within one read or write."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import attrs
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from vfgateway.services.schema import findings, scans

#: Scans whose reports are kept.
KEPT = 50


class FindingKind(enum.Enum):
    """What can be wrong.

    - ``drift``: the figure of a vfolder is not what lies in it
    - ``missing``: a vfolder is registered, and its folder is not there
    - ``orphan``: a folder is there, and no vfolder is registered for it
    - ``leftovers``: stages that belong to no upload
    - ``misplaced``: something lies where only vfolders may
    - ``native``: the storage's own limit or usage of a quota scope is not ours
    - ``unreadable``: it could not be looked at
    """

    DRIFT = "drift"
    MISSING = "missing"
    ORPHAN = "orphan"
    LEFTOVERS = "leftovers"
    MISPLACED = "misplaced"
    NATIVE = "native"
    UNREADABLE = "unreadable"


@attrs.frozen
class Finding:
    """One thing that is wrong, or was.

    :ivar vfid: of the vfolder, as the manager API writes it; empty for a whole volume
    :ivar detail: one sentence
    :ivar fixed: whether the scan put it right
    """

    kind: FindingKind
    volume: str
    vfid: str
    detail: str
    fixed: bool = False


@attrs.frozen
class Scan:
    """One scan.

    :ivar id: of its task
    :ivar volume: what was to be looked at: one volume, or all for ``None``
    :ivar vfid: one vfolder on it; ``None`` for all
    :ivar fix: whether it repairs
    :ivar cursor: how far it has come: the last vfolder that was looked at
    :ivar created: epoch seconds, like ``finished``, which is ``None`` while it runs
    :ivar checked_bytes: bytes that were counted, ``checked_files`` files and directories
    """

    id: str
    volume: str | None
    vfid: str | None
    fix: bool
    created: float
    finished: float | None = None
    cursor: int = 0
    checked_vfolders: int = 0
    checked_bytes: int = 0
    checked_files: int = 0


def _scan_of(row: Row[Any]) -> Scan:
    return Scan(**{field.name: getattr(row, field.name) for field in attrs.fields(Scan)})


def add(connection: Connection, scan: Scan) -> None:
    """Enter a scan unless it is there (its task was begun before), and strike the oldest beyond :data:`KEPT`."""
    if get(connection, scan.id) is not None:
        return
    connection.execute(insert(scans).values(attrs.asdict(scan)))
    old = select(scans.c.id).order_by(scans.c.created.desc()).offset(KEPT)
    gone = [str(each) for each in connection.execute(old).scalars()]
    connection.execute(delete(findings).where(findings.c.scan.in_(gone)))
    connection.execute(delete(scans).where(scans.c.id.in_(gone)))


def get(connection: Connection, scan_id: str) -> Scan | None:
    """A scan, if it is remembered."""
    row = connection.execute(select(scans).where(scans.c.id == scan_id)).first()
    return _scan_of(row) if row else None


def some(connection: Connection) -> Sequence[tuple[Scan, int]]:
    """All that are remembered, the newest first, each with the number of its findings."""
    count = select(func.count()).where(findings.c.scan == scans.c.id).scalar_subquery()
    rows = connection.execute(select(scans, count.label("found")).order_by(scans.c.created.desc(), scans.c.id))
    return [(_scan_of(row), int(row.found)) for row in rows]


def last_of_everything(connection: Connection) -> float | None:
    """When the last scan of all volumes was begun."""
    everything = scans.c.volume.is_(None) & scans.c.vfid.is_(None)
    last: float | None = connection.execute(select(func.max(scans.c.created)).where(everything)).scalar()
    return last


def found(connection: Connection, scan_id: str) -> Sequence[Finding]:
    """The findings of a scan, in the order in which they were made."""
    rows = connection.execute(select(findings).where(findings.c.scan == scan_id).order_by(findings.c.number))
    return [Finding(FindingKind(row.kind), row.volume, row.vfid, row.detail, row.fixed) for row in rows]


def advance(connection: Connection, scan: Scan, new: Sequence[Finding]) -> None:
    """Note how far a scan has come, and what it found on the way, in one."""
    values = attrs.asdict(scan)
    connection.execute(update(scans).where(scans.c.id == values.pop("id")).values(values))
    if new:
        rows = [{**attrs.asdict(each), "kind": each.kind.value, "scan": scan.id} for each in new]
        connection.execute(insert(findings), rows)

"""What the table of moves says; each function runs within one read or write of the database."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from vfgateway.errors import Conflict, QuotaExceeded, VFolderExists
from vfgateway.model import VFolder, VFolderId, VFolderStatus
from vfgateway.services import changes as changelog
from vfgateway.services import registry, slabs
from vfgateway.services.description_tables import descriptions
from vfgateway.services.holds import recharge, taken_of, usage_of
from vfgateway.services.relocation_tables import vfolder_places
from vfgateway.services.schema import locks, properties, tasks, tracked, uploads, vfolders
from vfgateway.services.subjects import keys_of, subjects, vfolder_subject
from vfgateway.services.taskrecords import FINISHED
from vfgateway.services.uploads import UploadState


class State(enum.Enum):
    """What a place is to a vfolder: it is being copied there; was there and is still left there; what is left there has changed since, so that
    it stays; it is being removed there; or nothing is left, but others may still know it by that place."""

    COMING = "coming"
    LEFT = "left"
    KEPT = "kept"
    GOING = "going"
    GONE = "gone"


_LIES = [State.COMING.value, State.LEFT.value, State.GOING.value]


@attrs.frozen
class Place:
    """One row.

    :ivar vfolder: the registry's number
    :ivar task: that moves it there, or moved it away
    :ivar since: epoch seconds
    """

    volume: str
    vfid: VFolderId
    vfolder: int
    state: State
    task: str
    since: float


def _place(row: Row[Any]) -> Place:
    return Place(row.volume, VFolderId.parse(row.vfid), row.vfolder, State(row.state), row.task, row.since)


def _at(volume: str, vfid: VFolderId) -> Any:
    return (vfolder_places.c.volume == volume) & (vfolder_places.c.vfid == str(vfid))


def place_at(connection: Connection, volume: str, vfid: VFolderId) -> Place | None:
    """What is known of a place."""
    row = connection.execute(select(vfolder_places).where(_at(volume, vfid))).first()
    return None if row is None else _place(row)


def occupied(connection: Connection, volume: str) -> Sequence[VFolderId]:
    """Identifiers under which something lies on a volume that is on its way, or was left."""
    lies = vfolder_places.c.state.in_(_LIES)
    query = select(vfolder_places.c.vfid).where(vfolder_places.c.volume == volume, lies)
    return [VFolderId.parse(vfid) for vfid in connection.execute(query).scalars()]


def _is_active(connection: Connection, task: str) -> bool:
    ended = [state.value for state in FINISHED]
    query = select(tasks.c.id).where(tasks.c.id == task, tasks.c.state.not_in(ended))
    return connection.execute(query).first() is not None


def moving(connection: Connection, vfolder: int, but: str = "") -> bool:
    """Whether a task (other than ``but``) moves the vfolder."""
    return any(place.task != but and _is_active(connection, place.task) for place in coming(connection, vfolder))


def coming(connection: Connection, vfolder: int) -> Sequence[Place]:
    """Where a vfolder is being moved to."""
    mine = (vfolder_places.c.vfolder == vfolder) & (vfolder_places.c.state == State.COMING.value)
    return [_place(row) for row in connection.execute(select(vfolder_places).where(mine))]


def claim(connection: Connection, vfolder: VFolder, volume: str, task: str, now: float) -> Place | None:
    """Have the vfolder come to ``volume`` by ``task``; what was known of the place before. ``Conflict``, ``VFolderExists``."""
    if moving(connection, vfolder.key, but=task):
        raise Conflict("the vfolder is being moved already")
    if registry.has_id(connection, volume, vfolder.id):
        raise VFolderExists(vfolder.id)
    before = place_at(connection, volume, vfolder.id)
    if before is not None and before.state is State.KEPT:
        raise Conflict(
            f"what the vfolder left on volume {volume} has changed since: look what it is, and remove it there"
        )
    if before is not None and before.state is State.GOING:
        raise Conflict(f"what the vfolder left on volume {volume} is being removed; try again when that is done")
    row = {"vfolder": vfolder.key, "state": State.COMING.value, "task": task, "since": now}
    if before is None:
        connection.execute(insert(vfolder_places).values(volume=volume, vfid=str(vfolder.id), **row))
    else:
        connection.execute(update(vfolder_places).where(_at(volume, vfolder.id)).values(row))
    return before


def set_state(connection: Connection, place: Place, state: State) -> bool:
    """Go on from what ``place`` says to another state; ``False`` if it says something else by now, or a vfolder lies there again."""
    where = _at(place.volume, place.vfid) & (vfolder_places.c.task == place.task)
    where &= vfolder_places.c.state == place.state.value
    if registry.has_id(connection, place.volume, place.vfid):
        connection.execute(delete(vfolder_places).where(where))
        return False
    return connection.execute(update(vfolder_places).where(where).values(state=state.value)).rowcount > 0


def due(connection: Connection, left_before: float) -> Sequence[Place]:
    """Places at which something lies that can go: left before that, or copied by a task that has ended."""
    found = [_place(row) for row in connection.execute(select(vfolder_places).where(vfolder_places.c.state.in_(_LIES)))]
    return [
        place
        for place in found
        if (place.state is State.LEFT and place.since <= left_before)
        or (place.state is not State.LEFT and not _is_active(connection, place.task))
    ]


def forget_gone(connection: Connection) -> None:
    """Strike the places of vfolders that there are no more."""
    dead = vfolder_places.c.vfolder.not_in(select(vfolders.c.key))
    connection.execute(delete(vfolder_places).where(vfolder_places.c.state == State.GONE.value, dead))


# --- the step itself ---


def unfinished(connection: Connection, vfolder: int) -> int:
    """How many uploads are under way."""
    mine = (uploads.c.vfolder == vfolder) & (uploads.c.state != UploadState.PUBLISHED.value)
    count: int = connection.execute(select(func.count()).select_from(uploads).where(mine)).scalar_one()
    return count


def paths_of(connection: Connection, vfolder: int) -> Sequence[bytes]:
    """Folded paths that have locks or properties."""
    return [
        *connection.execute(select(locks.c.path).where(locks.c.vfolder == vfolder)).scalars(),
        *connection.execute(select(properties.c.path).where(properties.c.vfolder == vfolder).distinct()).scalars(),
    ]


def switch(connection: Connection, vfolder: VFolder, volume: str, task: str, now: float) -> VFolder:
    """From here on the vfolder lies on ``volume``. ``Conflict`` if it changed otherwise meanwhile; ``QuotaExceeded`` if it does not fit into
    the limits there."""
    key = vfolder.key
    present = registry.by_key(connection, key)
    if present.volume != vfolder.volume or present.status is not VFolderStatus.READY:
        raise Conflict(f"the vfolder is {present.status.value} by now")
    mine = _at(volume, vfolder.id) & (vfolder_places.c.state == State.COMING.value) & (vfolder_places.c.task == task)
    if not connection.execute(delete(vfolder_places).where(mine)).rowcount:
        raise Conflict("the move was given up meanwhile")
    before = keys_of(connection, key)
    connection.execute(update(vfolders).where(vfolders.c.key == key).values(volume=volume))
    recharge(connection, key, before)
    _refuse_too_much(connection, key, [subject for subject in keys_of(connection, key) if subject not in before], now)
    # All files have other identities now: whoever follows the vfolder lists it anew, and it is described in its new place.
    connection.execute(delete(tracked).where(tracked.c.vfolder == key))
    connection.execute(delete(descriptions).where(descriptions.c.vfolder == key))
    left = {"vfolder": key, "state": State.LEFT.value, "task": task, "since": now}
    connection.execute(insert(vfolder_places).values(volume=vfolder.volume, vfid=str(vfolder.id), **left))
    return registry.by_key(connection, key)


def _refuse_too_much(connection: Connection, vfolder: int, new: Sequence[str], now: float) -> None:
    used, taken = usage_of(connection, new), taken_of(connection, new, uploads_only=True)
    own = vfolder_subject(vfolder)
    mine = slabs.at_least_zero(usage_of(connection, [own])[own])
    for subject in subjects(connection, new, now):
        for resource in ("bytes", "files"):
            limit = getattr(subject.limits, resource)
            total = getattr(used[subject.key] + taken[subject.key], resource)
            coming = getattr(mine, resource)
            if limit is not None and total > limit:
                raise QuotaExceeded(subject.words, resource, limit, total - coming, coming)


def rename_paths(connection: Connection, vfolder: int, names: Mapping[bytes, bytes]) -> None:
    """Have locks and properties know paths as another volume folds them."""
    for table in (locks, properties):
        for before, after in names.items():
            here = (table.c.vfolder == vfolder) & (table.c.path == before)
            values: dict[str, Any] = {"path": after}
            if table is properties:
                values["parent"] = after.rpartition(b"/")[0] if after else None
            connection.execute(update(table).where(here).values(values))


def is_tracked(connection: Connection, vfolder: int) -> bool:
    """Whether the changes of a vfolder are written down."""
    return connection.execute(select(tracked.c.vfolder).where(tracked.c.vfolder == vfolder)).first() is not None


def untrack(connection: Connection, vfolder: int) -> None:
    """Write down the changes of a vfolder no more."""
    changelog.begin_epoch(connection, [vfolder])
    connection.execute(delete(tracked).where(tracked.c.vfolder == vfolder))

"""The table of uploads: what is staged, how much of it is durable, and who writes to it now.

A holder is fenced by its serial: every write of a holder names the serial that it was given, and finds no row once another has
been given the next.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, or_, select, update

from vfgateway.errors import UploadNotFound, VFolderMoved
from vfgateway.model import ABSENT, ANY, Expect
from vfgateway.paths import FolderPath, parse_text
from vfgateway.services import registry
from vfgateway.services.database import Database, bump
from vfgateway.services.schema import processes, uploads

#: Seconds for which a published upload is remembered, so that a client that missed the last answer can still learn of it.
PUBLISHED_KEPT = 24 * 3600.0
#: Counts the wishes that one process has for what another holds.
WISHES = "uploads-wanted"


class UploadState(enum.Enum):
    """The life of an upload. ``PARTIAL`` is one that will only ever be joined with others; ``PUBLISHING`` is the moment in which a crash
    leaves it open whether the file is there."""

    OPEN = "open"
    PARTIAL = "partial"
    PUBLISHING = "publishing"
    PUBLISHED = "published"


@attrs.frozen
class UploadRow:
    """One row.

    :ivar vfolder: the registry's number of the vfolder
    :ivar principal: whose it is; ``None`` for the vfolder's own
    :ivar size: bytes declared, ``None`` until the client says
    :ivar mark: bytes that are certainly durable
    :ivar boot_id: the boot that wrote what lies beyond the mark
    :ivar unverified: what lies beyond the mark has not been held against its checksum
    :ivar lifetime: seconds without progress after which it expires
    :ivar process: the only process that has the stage, where stages do not outlive theirs
    :ivar holder: the process that writes now, or that wrote last if ``holder_until`` has passed
    :ivar serial: counts holders
    :ivar asked: the holder of this serial is asked to let go; of this serial below zero, whatever its client does; 0 once more when it has refused
    :ivar told: when somebody was last told the mark, to go on there; ``None`` if nobody was since it is what it is
    """

    id: str
    vfolder: int
    principal: str | None
    target: FolderPath
    size: int | None
    mark: int
    boot_id: str
    unverified: bool
    state: UploadState
    info: Mapping[str, str]
    expect: Expect
    fence: int
    lifetime: float
    created: float
    expires: float
    process: str | None = None
    holder: str | None = None
    serial: int = 0
    holder_until: float | None = None
    asked: int = 0
    told: float | None = None


def path_of(raw: bytes) -> FolderPath:
    """A path as the table keeps it."""
    return parse_text(raw.decode("utf-8", "surrogateescape"))


def _row(row: Row[Any]) -> UploadRow:
    expect = ANY if row.expected is None else Expect.same(row.expected) if row.expected else ABSENT
    return UploadRow(
        id=row.id,
        vfolder=row.vfolder,
        principal=row.principal,
        target=path_of(row.target),
        size=row.size,
        mark=row.mark,
        boot_id=row.boot_id,
        unverified=row.unverified,
        state=UploadState(row.state),
        info=json.loads(row.info),
        expect=expect,
        fence=row.fence,
        lifetime=row.lifetime,
        created=row.created,
        expires=row.expires,
        process=row.process,
        holder=row.holder,
        serial=row.holder_serial,
        holder_until=row.holder_until,
        asked=row.asked,
        told=row.told,
    )


def _columns(row: UploadRow) -> dict[str, Any]:
    values = attrs.asdict(row, recurse=False)
    expect: Expect = values.pop("expect")
    return {
        **values,
        "target": bytes(row.target),
        "state": row.state.value,
        "info": json.dumps(dict(row.info)),
        "expected": "" if expect.absent else expect.identity,
        "holder_serial": values.pop("serial"),
    }


class Uploads:
    """Reads and writes the table.

    :param clock: tells the time in epoch seconds
    """

    def __init__(self, database: Database, clock: Any) -> None:
        self._database = database
        self._clock = clock

    async def add(self, row: UploadRow, volume: str) -> None:
        """Enter an upload whose stage lies on ``volume``, durably. ``VFolderMoved`` if the vfolder does not any more, ``VFolderNotFound``."""
        columns = _columns(row)
        columns.pop("serial", None)

        def write(connection: Connection) -> None:
            if registry.by_key(connection, row.vfolder).volume != volume:
                raise VFolderMoved(volume)
            connection.execute(insert(uploads).values(columns))

        await self._database.write(write)

    async def get(self, upload_id: str) -> UploadRow:
        """One upload. ``UploadNotFound``, also for one that has expired."""
        row = await self._database.read(lambda connection: _find(connection, upload_id))
        if row is None or row.expires <= self._clock.seconds():
            raise UploadNotFound(upload_id)
        return row

    async def list(
        self, vfolder: int | None = None, principal: str | None = None, unfinished: bool = False
    ) -> Sequence[UploadRow]:
        """Those of one vfolder, of one principal, or all; the oldest first. ``unfinished`` leaves out what is published."""
        query = select(uploads).order_by(uploads.c.created, uploads.c.id)
        if vfolder is not None:
            query = query.where(uploads.c.vfolder == vfolder)
        if principal is not None:
            query = query.where(uploads.c.principal == principal)
        if unfinished:
            query = query.where(uploads.c.state != UploadState.PUBLISHED.value)
        return await self._database.read(lambda connection: [_row(row) for row in connection.execute(query)])

    async def count_open(self) -> int:
        """How many are not published."""
        query = select(func.count()).select_from(uploads).where(uploads.c.state != UploadState.PUBLISHED.value)
        return int(await self._database.read(lambda connection: connection.execute(query).scalar_one()))

    async def expired(self, limit: int) -> Sequence[UploadRow]:
        """Up to ``limit`` uploads whose time has passed, or whose stage went with its process."""
        live = select(processes.c.id).where(processes.c.id == uploads.c.process).exists()
        orphaned = uploads.c.process.is_not(None) & (uploads.c.state != UploadState.PUBLISHED.value) & ~live
        over = or_(uploads.c.expires <= self._clock.seconds(), orphaned)
        query = select(uploads).where(over).order_by(uploads.c.expires).limit(limit)
        return await self._database.read(lambda connection: [_row(row) for row in connection.execute(query)])

    async def known(self, ids: Sequence[str]) -> frozenset[str]:
        """Those of ``ids`` that have a row."""
        query = select(uploads.c.id).where(uploads.c.id.in_(ids))
        return frozenset(await self._database.read(lambda connection: connection.execute(query).scalars().all()))

    async def is_alive(self, process: str | None) -> bool:
        """Whether a process is in the list of the living."""
        query = select(processes.c.id).where(processes.c.id == process)
        return await self._database.read(lambda connection: connection.execute(query).first() is not None)

    # --- holding ---

    async def take(self, upload_id: str, process: str, until: float) -> tuple[UploadRow, bool]:
        """Become the holder, unless another live process holds it: the row, with the new serial if so, and whether it is so.
        ``UploadNotFound``."""

        def write(connection: Connection) -> tuple[UploadRow, bool]:
            values = {"holder": process, "holder_until": until, "holder_serial": uploads.c.holder_serial + 1}
            free = (uploads.c.id == upload_id) & self._is_free(process)
            taken = connection.execute(update(uploads).where(free).values(values)).rowcount > 0
            row = _find(connection, upload_id)
            if row is None:
                raise UploadNotFound(upload_id)
            return row, taken

        return await self._database.write(write, durable=False)

    def _is_free(self, process: str) -> ColumnElement[bool]:
        """Within a process its own table of holders decides, so its name in the row keeps nobody of it out."""
        live = select(processes.c.id).where(processes.c.id == uploads.c.holder)
        return or_(
            uploads.c.holder.is_(None),
            uploads.c.holder == process,
            uploads.c.holder_until <= self._clock.seconds(),
            ~live.exists(),
        )

    async def tell(self, row: UploadRow) -> bool:
        """Leave word that somebody is told the mark now; ``False`` if the upload has been taken since."""
        free = _held(row.id, row.serial) & uploads.c.holder.is_(None)
        telling = update(uploads).where(free).values(told=self._clock.seconds())
        return await self._database.write(lambda connection: connection.execute(telling).rowcount > 0, durable=False)

    async def ask(self, upload_id: str, serial: int, force: bool = False) -> None:
        """Ask the holder of ``serial``, in another process, to let go; with ``force``, whatever its client does."""
        mine = _held(upload_id, serial) & (uploads.c.asked != -serial)
        asking = update(uploads).where(mine).values(asked=-serial if force else serial)

        def write(connection: Connection) -> None:
            connection.execute(asking)
            bump(connection, WISHES)

        await self._database.write(write, durable=False)

    async def wishes(self) -> int:
        """A number that is another after each :meth:`ask`, as any process knows it a moment later."""
        return await self._database.generation(WISHES)

    async def refuse(self, upload_id: str, serial: int) -> None:
        """Tell who asked that the holder of ``serial`` stays. No answer to those who force."""
        asked = _held(upload_id, serial) & (uploads.c.asked == serial)
        refusing = update(uploads).where(asked).values(asked=0)
        await self._database.write(lambda connection: connection.execute(refusing), durable=False)

    async def renew(self, held: Mapping[str, int], until: float) -> Mapping[str, int]:
        """Prolong what is held (serials by id); for each, still held, ``asked`` as in the row. What is missing was lost."""

        def write(connection: Connection) -> Mapping[str, int]:
            asked = {}
            for upload_id, serial in held.items():
                mine = _held(upload_id, serial)
                if connection.execute(update(uploads).where(mine).values(holder_until=until)).rowcount:
                    wish = connection.execute(select(uploads.c.asked).where(mine)).scalar() or 0
                    asked[upload_id] = wish if abs(wish) == serial else 0
            return asked

        return await self._database.write(write, durable=False)

    async def change(self, upload_id: str, serial: int, durable: bool = True, **values: Any) -> bool:
        """Write as the holder of ``serial``; ``False`` if another holds it now."""
        return await self._database.write(_changing(upload_id, serial, values), durable)

    async def remove(self, upload_id: str) -> None:
        """Strike an upload. No error if it is gone."""
        strike = delete(uploads).where(uploads.c.id == upload_id)
        await self._database.write(lambda connection: connection.execute(strike))


def _changing(upload_id: str, serial: int, values: dict[str, Any]) -> Callable[[Connection], bool]:
    if isinstance(values.get("target"), FolderPath):
        values["target"] = bytes(values["target"])
    if isinstance(values.get("state"), UploadState):
        values["state"] = values["state"].value
    if "info" in values:
        values["info"] = json.dumps(dict(values["info"]))
    statement = update(uploads).where(_held(upload_id, serial)).values(values)
    return lambda connection: connection.execute(statement).rowcount > 0


def published_values(size: int, now: float) -> dict[str, Any]:
    """What is written of an upload that has become a file of ``size`` bytes."""
    return {
        "state": UploadState.PUBLISHED,
        "mark": size,
        "size": size,
        "expires": now + PUBLISHED_KEPT,
        "holder": None,
        "holder_until": None,
    }


def conclude(connection: Connection, row: UploadRow, published: int | None, now: float) -> bool:
    """Write how an upload ended that a crash cut off: as a file of so many bytes, or (``None``) with nothing left. ``False``, if it has been
    put right meanwhile, or somebody is at it."""
    same = (uploads.c.id == row.id) & (uploads.c.state == row.state.value)
    if row.state is not UploadState.PUBLISHING:
        same &= uploads.c.holder_serial == row.serial
    if published is None:
        return connection.execute(delete(uploads).where(same)).rowcount > 0
    values = published_values(published, now) | {"state": UploadState.PUBLISHED.value}
    return connection.execute(update(uploads).where(same).values(values)).rowcount > 0


def changing(upload_id: str, serial: int, **values: Any) -> Callable[[Connection], None]:
    """A write in a holder's name, to be run with others in one transaction (``Reservation.settle``)."""
    change = _changing(upload_id, serial, values)

    def write(connection: Connection) -> None:
        change(connection)

    return write


def _held(upload_id: str, serial: int) -> ColumnElement[bool]:
    return (uploads.c.id == upload_id) & (uploads.c.holder_serial == serial)


def _find(connection: Connection, upload_id: str) -> UploadRow | None:
    row = connection.execute(select(uploads).where(uploads.c.id == upload_id)).one_or_none()
    return None if row is None else _row(row)

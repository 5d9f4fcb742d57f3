"""What the audit keeps: one entry for each thing that was done or refused. Functions here run within one read or write of the database.

What changes rights or destroys is entered in the transaction that does it (:func:`change`): there is no grant without its entry, and none
without its grant. Everything else goes through :class:`vfgateway.services.audit.Audit`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import attrs
from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update
from twisted.logger import Logger, LogLevel

from vfgateway import requestcontext
from vfgateway.plaintext import storable
from vfgateway.services.audit_tables import audit
from vfgateway.services.database import Database
from vfgateway.services.schema import groups, users, vfolders

T = TypeVar("T")

#: Rows that are removed in one write, so that nobody waits for long.
AT_ONCE = 2000
#: Characters of names and paths that are kept.
LONGEST = 1000

log = Logger(namespace="vfgateway.audit")


@attrs.frozen(kw_only=True)
class Entry:
    """One thing that was done or refused, or several alike.

    :ivar number: counts up; 0 before it is stored
    :ivar at: epoch seconds; ``last``: the same of the latest, where it stands for ``count`` of them
    :ivar event: what: ``login``, ``grant_added``, ``files_removed``, ``refusal`` and so on
    :ivar outcome: ``done`` or ``refused``
    :ivar who: the name of whoever did it, or tried to log in
    :ivar target: a path, an account, a key: in words
    :ivar refuser: of a refusal: as :attr:`vfgateway.errors.GatewayError.refuser`
    :ivar id: by which it can be asked for; whoever was refused has been told it. ``None`` for what was entered together with a change
    :ivar facts: whatever else is known; no secret
    """

    number: int = 0
    at: float
    last: float = 0.0
    count: int = 1
    event: str
    outcome: str = "done"
    who: str = ""
    user_id: str | None = None
    address: str = ""
    protocol: str = ""
    request_id: str = ""
    volume: str | None = None
    vfid: str | None = None
    target: str = ""
    refuser: str | None = None
    id: str | None = None
    facts: Mapping[str, Any] = attrs.Factory(dict)

    def tell(self) -> None:
        """The log's line of it."""
        known = {field.name: getattr(self, field.name) for field in attrs.fields(Entry)}
        facts = {name: value for name, value in known.pop("facts").items() if name not in known}
        facts = {f"new_{name}" if name in ("level", "format") else name: value for name, value in facts.items()}
        shown = {
            name: value for name, value in (known | facts).items() if name not in _UNTOLD and value not in (None, "")
        }
        line = " ".join(f"{name}={value}" for name, value in shown.items() if name != "event")
        text = f"{self.event}: {line}".replace("{", "{{").replace("}", "}}")
        log.emit(_LEVELS[self.outcome], text, log_event=self.event, **shown)


_UNTOLD = frozenset({"number", "at", "last"})
_LEVELS: Mapping[str, Any] = {"done": LogLevel.info, "refused": LogLevel.warn}


def entry_now(event: str, at: float, **about: Any) -> Entry:
    """An entry about what runs now (:mod:`vfgateway.requestcontext`)."""
    context = requestcontext.current()
    known: dict[str, Any] = {}
    if context is not None:
        origin = context.origin
        known = {"who": context.who, "address": origin.address, "protocol": origin.protocol}
        known |= {"request_id": origin.request_id, "user_id": str(context.user_id) if context.user_id else None}
        if context.vfolder is not None:
            known |= {"volume": context.vfolder.volume, "vfid": str(context.vfolder.id)}
    return Entry(event=event, at=at, last=at, **(known | about))


async def change(
    database: Database,
    generation: str,
    function: Callable[[Connection], T],
    event: str,
    at: float,
    *,
    vfolder: int | None = None,
    target: object = "",
    told: Callable[[T], Mapping[str, Any] | None] | None = None,
    **facts: Any,
) -> T:
    """As :meth:`vfgateway.services.database.Database.change`, with an entry in the same transaction.

    :param vfolder: the number of the vfolder that it is about
    :param told: what is known only once it was done: further facts, or any part of :class:`Entry`; ``None`` if nothing was done after all
    :param facts: whatever else is to be known; what is ``None`` is left out
    """
    entry = entry_now(event, at, target=str(target), facts=_plain(facts))

    def write(connection: Connection) -> tuple[T, Entry | None]:
        noted = entry if vfolder is None else placed(connection, entry, vfolder)
        outcome = function(connection)
        if told is not None:
            learned = told(outcome)
            if learned is None:
                return outcome, None
            known = dict(learned)
            key = known.pop("vfolder_key", None)
            parts = {name: known.pop(name) for name in ("target", "volume", "vfid") if name in known}
            noted = attrs.evolve(noted, facts=_plain({**noted.facts, **known}), **parts)
            noted = noted if key is None else placed(connection, noted, key)
        if vfolder is not None and not noted.target:  # it has a name only now
            noted = placed(connection, noted, vfolder)
        noted = _with_name(connection, noted)
        add(connection, [noted])
        return outcome, noted

    outcome, noted = await database.change(generation, write)
    if noted is not None:
        noted.tell()
    return outcome


def placed(connection: Connection, entry: Entry, vfolder: int) -> Entry:
    """The same entry, as one about a vfolder."""
    row = connection.execute(select(vfolders).where(vfolders.c.key == vfolder)).first()
    if row is None:
        return entry
    return attrs.evolve(entry, volume=row.volume, vfid=row.vfid, target=entry.target or row.name or "")


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in facts.items() if value is not None}
    return {name: value if type(value) in (bool, int, float) else str(value)[:LONGEST] for name, value in kept.items()}


def _with_name(connection: Connection, entry: Entry) -> Entry:
    """The same entry, with the name of the user or group that a grant is about: people know no UUIDs."""
    facts = dict(entry.facts)
    if "subject_kind" in facts:
        table = users if facts["subject_kind"] == "user" else groups
        found = connection.execute(select(table.c.name).where(table.c.id == facts["subject"])).scalar()
        facts["subject"] = found or facts["subject"]
    return attrs.evolve(entry, facts=facts)


# --- the table ---


def add(connection: Connection, entries: Sequence[Entry]) -> None:
    """Enter some."""
    rows = []
    for entry in entries:
        if entry.vfid is None and "vfolder_key" in entry.facts:
            entry = placed(connection, entry, entry.facts["vfolder_key"])
        row = {**attrs.asdict(entry, recurse=False), "facts": json.dumps(dict(entry.facts))}
        del row["number"]
        row["last"] = entry.last or entry.at
        for name in ("who", "target", "address", "request_id"):
            row[name] = storable(row[name])[: _LENGTHS.get(name, LONGEST)]
        rows.append(row)
    if rows:
        connection.execute(insert(audit), rows)


_LENGTHS = {"who": 255, "address": 64, "request_id": 64}


def count_up(connection: Connection, folded: Mapping[str, tuple[int, float]]) -> None:
    """Let rows that are there stand for more: how many, and the time of the latest, by their identifiers."""
    for entry_id, (count, last) in folded.items():
        values = {"count": audit.c["count"] + count, "last": last}
        connection.execute(update(audit).where(audit.c.id == entry_id).values(values))


@attrs.frozen(kw_only=True)
class Filter:
    """Which entries are wanted; ``None`` is all. ``vfid`` may be the last 32 digits; ``before`` and ``after`` are numbers."""

    since: float | None = None
    until: float | None = None
    who: str | None = None
    address: str | None = None
    protocol: str | None = None
    event: str | None = None
    outcome: str | None = None
    refuser: str | None = None
    vfid: str | None = None
    before: int | None = None
    after: int | None = None


def some(connection: Connection, wanted: Filter, limit: int) -> Sequence[Entry]:
    """The latest entries that fit, the oldest of them first."""
    query = _matching(wanted).order_by(audit.c.number.desc()).limit(limit)
    return [_entry_of(row) for row in connection.execute(query)][::-1]


def _matching(wanted: Filter) -> Select[Any]:
    query = select(audit)
    for name in ("who", "address", "protocol", "event", "outcome", "refuser"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(audit.c[name] == value)
    if wanted.vfid is not None:
        query = query.where((audit.c.vfid == wanted.vfid) | audit.c.vfid.endswith(f"/{wanted.vfid}", autoescape=True))
    if wanted.since is not None:
        query = query.where(audit.c.last >= wanted.since)
    if wanted.until is not None:
        query = query.where(audit.c.at <= wanted.until)
    if wanted.before is not None:
        query = query.where(audit.c.number < wanted.before)
    if wanted.after is not None:
        query = query.where(audit.c.number > wanted.after)
    return query


def by_id(connection: Connection, entry_id: str) -> Entry | None:
    """One entry."""
    row = connection.execute(select(audit).where(audit.c.id == entry_id)).first()
    return None if row is None else _entry_of(row)


def newest(connection: Connection) -> int:
    """The number of the latest entry; 0 if there is none."""
    return connection.execute(select(func.max(audit.c.number))).scalar() or 0


def strike(connection: Connection, before: float, most: int) -> bool:
    """Remove some of what is older than that, or beyond so many; whether there may be more."""
    old = select(audit.c.number).where(audit.c.at < before).order_by(audit.c.at).limit(AT_ONCE)
    beyond = select(audit.c.number).where(audit.c.number <= newest(connection) - most).limit(AT_ONCE)
    counts = [connection.execute(delete(audit).where(audit.c.number.in_(some))).rowcount for some in (old, beyond)]
    return max(counts) >= AT_ONCE


def _entry_of(row: Row[Any]) -> Entry:
    values = {
        field.name: row._mapping[field.name] for field in attrs.fields(Entry)
    }  # as an attribute, "count" is the tuple's
    return Entry(**(values | {"facts": json.loads(row.facts)}))

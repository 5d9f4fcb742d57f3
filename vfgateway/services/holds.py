"""What the tables of usage and holds say; each function runs within one read or write of the database.

The invariant: for every limited subject, ``usage + all holds <= limit``, unless the limit was lowered or files came in behind our
back; no function here makes it worse but :func:`add_usage`, which tells what is true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
from sqlalchemy import Connection, Table, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from vfgateway.model import Usage
from vfgateway.services import folderusage, slabs
from vfgateway.services.processes import SLAB
from vfgateway.services.schema import dirty, holds, processes, uploads, usage, vfolders
from vfgateway.services.subjects import Subject, forget_subject, keys_of, subjects_of, vfolder_subject
from vfgateway.treeusage import TreeUsage


@attrs.frozen
class Short:
    """Why headroom was not given.

    :ivar resource: ``bytes`` or ``files``
    :ivar taken: usage and holds together
    :ivar others: processes were asked to give back what they do not need; it is worth asking again
    :ivar recounting: a vfolder that this limit covers is to be recounted; its figure may be too high
    """

    subject: Subject
    resource: str
    taken: Usage
    others: bool
    recounting: bool


# Statements of the hot path are built once: building costs SQLAlchemy more than SQLite takes to answer.
_SPEND = (
    update(holds)
    .where(holds.c.holder == bindparam("slab"), holds.c.subject == bindparam("of"))
    .values(bytes=holds.c.bytes - bindparam("less"), files=holds.c.files - bindparam("fewer"))
)


#: The subjects of which others ask a ``slab``'s process for what it does not need.
RECALLED = select(holds.c.subject).where(holds.c.holder == bindparam("slab"), holds.c.recalled)


def _adds(table: Table, insert: Any) -> Any:
    statement = insert(table)
    more = {"bytes": table.c.bytes + statement.excluded.bytes, "files": table.c.files + statement.excluded.files}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=more)


_ADDING = {
    ("sqlite", usage): _adds(usage, sqlite.insert),
    ("sqlite", holds): _adds(holds, sqlite.insert),
    ("postgresql", usage): _adds(usage, postgresql.insert),
    ("postgresql", holds): _adds(holds, postgresql.insert),
}


def _adding(connection: Connection, table: Table) -> Any:
    """Adds to a row's figures, making the row if there is none."""
    return _ADDING[connection.dialect.name, table]


# --- usage ---


def usage_of(connection: Connection, subjects: Sequence[str]) -> Mapping[str, Usage]:
    """What is published, by subject; zero where nothing is known. May be negative for a while: when a process dies, what it has not
    written is missing until the recount, but what others removed of it is not; and files that came behind our back may go through us."""
    rows = connection.execute(select(usage).where(usage.c.subject.in_(subjects)))
    known = {row.subject: Usage(row.bytes, row.files) for row in rows}
    return {subject: known.get(subject, Usage()) for subject in subjects}


def add_usage(connection: Connection, changes: Mapping[str, Usage]) -> None:
    """Count changes, by subject. In an order that all processes share, so that none waits for another that waits for it."""
    rows = [
        {"subject": subject, "bytes": change.bytes, "files": change.files}
        for subject, change in sorted(changes.items())
        if change != Usage()
    ]
    if rows:
        connection.execute(_adding(connection, usage), rows)


def set_usage(connection: Connection, vfolder: int, counted: Usage | TreeUsage, now: float) -> None:
    """Replace a vfolder's figure by what was counted, and correct the sums that it is part of."""
    keys = keys_of(connection, vfolder)
    if keys:
        known = usage_of(connection, keys[:1])[keys[0]]
        if isinstance(counted, TreeUsage):
            folderusage.replace(connection, vfolder, counted)
            counted = counted.total
        else:
            folderusage.correct(connection, vfolder, counted - known, now)
        add_usage(connection, dict.fromkeys(keys, counted - known))


def forget_vfolder(connection: Connection, vfolder: int) -> None:
    """Take a vfolder's figure off the sums, and strike it with its holds."""
    set_usage(connection, vfolder, TreeUsage(), 0.0)
    subject = vfolder_subject(vfolder)
    connection.execute(delete(usage).where(usage.c.subject == subject))
    connection.execute(delete(holds).where(holds.c.subject == subject))
    recounted(connection, vfolder)
    connection.execute(delete(dirty).where(dirty.c.vfolder == vfolder))
    forget_subject(connection, subject)


def recharge(connection: Connection, vfolder: int, before: Sequence[str]) -> None:
    """Charge what a vfolder holds, uploads under way included, to those who carry it now instead of those ``before``. To be called in the write
    that changes its owner, so that no change of usage comes between the two."""
    after = keys_of(connection, vfolder)
    old, new = [key for key in before if key not in after], [key for key in after if key not in before]
    figure = usage_of(connection, after[:1])[after[0]]
    add_usage(connection, dict.fromkeys(old, -figure) | dict.fromkeys(new, figure))
    theirs = holds.c.holder.in_(select(uploads.c.id).where(uploads.c.vfolder == vfolder))
    for row in connection.execute(select(holds).where(theirs, holds.c.subject == after[0])).all():
        connection.execute(delete(holds).where(holds.c.holder == row.holder, holds.c.subject.in_(old)))
        for key in new:
            add_hold(connection, row.holder, row.process, key, Usage(row.bytes, row.files))


# --- holds ---


def add_hold(connection: Connection, holder: str, process: str, subject: str, amount: Usage) -> None:
    """Change what ``holder`` has of a subject."""
    row = {"holder": holder, "subject": subject, "process": process, "recalled": False}
    connection.execute(_adding(connection, holds), {**row, "bytes": amount.bytes, "files": amount.files})


def held_by(connection: Connection, holder: str) -> Mapping[str, Usage]:
    """All that a holder has, by subject."""
    rows = connection.execute(select(holds).where(holds.c.holder == holder))
    return {row.subject: Usage(row.bytes, row.files) for row in rows}


def drop_holds(connection: Connection, holder: str) -> None:
    """Give back all that a holder has."""
    connection.execute(delete(holds).where(holds.c.holder == holder))


def taken_of(connection: Connection, subjects: Sequence[str], uploads_only: bool = False) -> Mapping[str, Usage]:
    """The sum of all holds, by subject; or of those of uploads alone."""
    query = (
        select(holds.c.subject, func.sum(holds.c.bytes), func.sum(holds.c.files))
        .where(holds.c.subject.in_(subjects))
        .group_by(holds.c.subject)
    )
    if uploads_only:
        query = query.where(~is_slab)
    known = {subject: Usage(int(size), int(files)) for subject, size, files in connection.execute(query)}
    return {subject: known.get(subject, Usage()) for subject in subjects}


is_slab = holds.c.holder.startswith(SLAB, autoescape=True)
_something = (holds.c.bytes != 0) | (holds.c.files != 0)


def grant(
    connection: Connection,
    vfolder: int,
    holder: str,
    process: str,
    needs: Mapping[str, Usage],
    now: float,
    modest: frozenset[str] = frozenset(),
) -> Mapping[str, Usage] | Short:
    """Give ``holder`` what it needs of each subject, all or nothing; a slab gets something extra where there is plenty.

    :param needs: by subject, beyond what it has already; a subject that has come to be limited since may be missing
    :param modest: subjects of which nothing extra is taken
    :returns: what was added to its holds, or why nothing was
    """
    subjects = [subject for subject in subjects_of(connection, vfolder, now) if subject.key in needs]
    keys = [subject.key for subject in subjects]
    _lock_rows(connection, keys)
    published, taken = usage_of(connection, keys), taken_of(connection, keys)
    added: dict[str, Usage] = {}
    for subject in subjects:
        need = slabs.limited_part(needs[subject.key], subject.limits)
        sum_taken = slabs.at_least_zero(published[subject.key]) + taken[subject.key]
        left = slabs.headroom(subject.limits, sum_taken)
        resource = slabs.shortage(need, left)
        if resource is not None:
            return _short(connection, subject, resource, sum_taken, holder)
        if holder.startswith(SLAB):
            more = Usage() if subject.key in modest else slabs.surplus(need, left)
            added[subject.key] = need + more
        else:
            added[subject.key] = slabs.at_least_zero(needs[subject.key])
    for key, amount in added.items():
        if amount != Usage():
            add_hold(connection, holder, process, key, amount)
    return added


def _lock_rows(connection: Connection, keys: Sequence[str]) -> None:
    """Keep other processes from leasing on the same subjects until this write ends; SQLite lets one writer in at a time anyway."""
    if connection.dialect.name == "sqlite":
        return
    rows = [{"subject": key, "bytes": 0, "files": 0} for key in sorted(keys)]
    connection.execute(_adding(connection, usage), rows)


def _short(connection: Connection, subject: Subject, resource: str, taken: Usage, holder: str) -> Short:
    on_it = holds.c.subject == subject.key
    alive = holds.c.process.in_(select(processes.c.id))
    theirs = is_slab & (holds.c.holder != holder) & _something
    unanswered = select(holds.c.holder).where(on_it, theirs, holds.c.recalled, alive)
    others = connection.execute(unanswered.limit(1)).first() is not None
    return Short(subject, resource, taken, others, _is_recounting(connection, subject.key))


def recall(connection: Connection, subject: str, holder: str) -> bool:
    """Ask the other processes for what they do not need of a subject; whether there are any to ask."""
    theirs = update(holds).where(holds.c.subject == subject, is_slab, holds.c.holder != holder, _something)
    return connection.execute(theirs.values(recalled=True)).rowcount > 0


def give_back(connection: Connection, holder: str, amounts: Mapping[str, Usage]) -> None:
    """Take amounts off a slab, which answers a recall; nothing is left of a slab that is empty."""
    for subject, amount in amounts.items():
        mine = (holds.c.holder == holder) & (holds.c.subject == subject)
        less = {"bytes": holds.c.bytes - amount.bytes, "files": holds.c.files - amount.files, "recalled": False}
        connection.execute(update(holds).where(mine).values(less))
        connection.execute(delete(holds).where(mine, holds.c.bytes == 0, holds.c.files == 0))


def spend(connection: Connection, holder: str, amounts: Mapping[str, Usage]) -> None:
    """Take off a slab what has become usage."""
    rows = [{"slab": holder, "of": key, "less": amount.bytes, "fewer": amount.files} for key, amount in amounts.items()]
    if rows:
        connection.execute(_SPEND, rows)


# --- the dead ---


def _is_recounting(connection: Connection, subject: str) -> bool:
    kind, _, name = subject.partition(":")
    if kind == "vfolder":
        concerned = vfolders.c.key == int(name)
    elif kind == "scope":
        volume, _, scope = name.partition("/")
        concerned = (vfolders.c.volume == volume) & (vfolders.c.scope == scope)
    elif kind == "volume":
        concerned = vfolders.c.volume == name
    else:
        concerned = vfolders.c.owner == name
    query = select(dirty.c.vfolder).join(vfolders).where(dirty.c.recount, concerned)
    return connection.execute(query.limit(1)).first() is not None


def mark_dead(connection: Connection, dead: Sequence[str]) -> Sequence[int]:
    """Mark what dead processes were changing as to be recounted. Their slabs stay until then, for what they have spent may not be in
    the figures; holds of uploads that they never entered go at once. The keys of all vfolders to be recounted."""
    connection.execute(update(dirty).where(dirty.c.process.in_(dead)).values(recount=True))
    entered = select(uploads.c.id)
    left = holds.c.process.in_(dead) & ~is_slab & holds.c.holder.not_in(entered)
    connection.execute(delete(holds).where(left))
    drop_idle_slabs(connection, dead)
    waiting = select(dirty.c.vfolder).where(dirty.c.recount).distinct().order_by(dirty.c.vfolder)
    return list(connection.execute(waiting).scalars())


def drop_idle_slabs(connection: Connection, dead: Iterable[str]) -> None:
    """Give back the slabs of those dead processes that leave nothing to recount."""
    waiting = select(dirty.c.process).where(dirty.c.process.in_(dead))
    connection.execute(delete(holds).where(is_slab, holds.c.process.in_(dead), holds.c.process.not_in(waiting)))


def recounted(connection: Connection, vfolder: int) -> None:
    """The figure of a vfolder is true again."""
    waiting = (dirty.c.vfolder == vfolder) & dirty.c.recount
    dead = list(connection.execute(select(dirty.c.process).where(waiting)).scalars())
    if dead:
        connection.execute(delete(dirty).where(waiting))
        drop_idle_slabs(connection, dead)

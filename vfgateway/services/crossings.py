"""What usage has crossed: thresholds of a limit, the limit itself, a soft limit and the end of its grace. A crossing is a row of a table: who
enters it is the one who tells. So each is told once, by whichever process, until usage has fallen far enough for the row to go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from vfgateway.model import Usage
from vfgateway.services import slabs
from vfgateway.services.holds import taken_of, usage_of
from vfgateway.services.schema import crossings
from vfgateway.services.subjects import SOFT, Subject, subjects

#: More is used than the hard limit allows: it was lowered, or files came behind the gateway's back.
OVER = "over"
#: A soft limit's time of grace is over.
GRACE = "grace"
#: Something was refused.
REFUSED = "refused"

type_marks = Mapping[tuple[str, str], float]


@attrs.frozen
class Policy:
    """When to tell; see :class:`vfgateway.alert_settings.AlertSettings`."""

    thresholds: Sequence[int] = (80, 95, 100)
    hysteresis: float = 5.0
    quiet: float = 3600.0


@attrs.frozen
class Crossing:
    """Something that usage has crossed.

    :ivar level: percent of the limit, or ``soft``, :data:`GRACE`, :data:`OVER`, :data:`REFUSED`
    :ivar limit: the limit that it is about
    """

    subject: Subject
    resource: str
    level: str
    used: int
    limit: int


@attrs.frozen
class Level:
    """One level of one resource: whether usage is beyond it, and whether it is so far below that it may be told again."""

    name: str
    limit: int
    begun: bool
    ended: bool


@attrs.define
class Changes:
    """What is to become of a subject's rows."""

    begun: list[Crossing] = attrs.Factory(list)
    ended: list[tuple[str, str]] = attrs.Factory(list)

    def __bool__(self) -> bool:
        return bool(self.begun or self.ended)

    @property
    def moves_limits(self) -> bool:
        """Whether a time of grace begins or ends, which others have to know."""
        return any(crossing.level == SOFT for crossing in self.begun) or any(level == SOFT for _, level in self.ended)

    def loudest(self) -> Iterator[Crossing]:
        """Those to be told: of several thresholds passed at once only the highest."""
        for resource in ("bytes", "files"):
            mine = [crossing for crossing in self.begun if crossing.resource == resource]
            yield from (crossing for crossing in mine if crossing.level in (SOFT, GRACE, REFUSED))
            graded = [crossing for crossing in mine if crossing.level not in (SOFT, GRACE, REFUSED)]
            yield from graded[-1:]


def compare(subject: Subject, used: Usage, marks: type_marks, policy: Policy, now: float) -> Changes:
    """What has been crossed either way since ``marks`` were written. Pure."""
    changes = Changes()
    for resource in ("bytes", "files"):
        amount = max(0, getattr(used, resource))
        levels = {level.name: level for level in _levels(subject, resource, amount, marks, policy, now)}
        for level in levels.values():
            if level.begun and (resource, level.name) not in marks:
                changes.begun.append(Crossing(subject, resource, level.name, amount, level.limit))
        for where, name in marks:
            if where == resource and (name not in levels or levels[name].ended):
                changes.ended.append((where, name))
    return changes


def _levels(
    subject: Subject, resource: str, used: int, marks: type_marks, policy: Policy, now: float
) -> Iterator[Level]:
    """The levels of a resource, the lowest first."""
    hard: int | None = getattr(subject.hard, resource)
    soft: int | None = getattr(subject.soft, resource)
    if soft is not None:
        since = marks.get((resource, SOFT))
        over = since is not None and since + subject.soft.grace <= now
        yield Level(SOFT, soft, used > soft, used <= soft)
        yield Level(GRACE, soft, used > soft and over, used <= soft)
    if hard is not None:
        if hard:
            for percent in policy.thresholds:
                below = used * 100 < hard * (percent - policy.hysteresis)
                yield Level(str(percent), hard, used * 100 >= hard * percent, below)
        settled = used * 100 <= hard * (100 - policy.hysteresis)
        yield Level(OVER, hard, used > hard, settled)
    if hard is not None or soft is not None:
        told = marks.get((resource, REFUSED), now)
        limit = min(value for value in (hard, soft) if value is not None)
        settled = used * 100 <= limit * (100 - policy.hysteresis)
        yield Level(REFUSED, limit, False, settled and told + policy.quiet <= now)


# --- the table ---


def figures(connection: Connection, keys: Sequence[str]) -> Mapping[str, Usage]:
    """What counts against limits, by subject: published, and promised to uploads under way."""
    published, promised = usage_of(connection, keys), taken_of(connection, keys, uploads_only=True)
    return {key: slabs.at_least_zero(published[key]) + promised[key] for key in keys}


def compare_all(connection: Connection, keys: Sequence[str], policy: Policy, now: float) -> Mapping[str, Changes]:
    """Those of the subjects of which something has been crossed."""
    found = [subject for subject in subjects(connection, keys, now) if subject.has_limits]
    used = figures(connection, [subject.key for subject in found])
    marks = marks_of(connection, keys)
    changes = {
        subject.key: compare(subject, used[subject.key], marks.get(subject.key, {}), policy, now) for subject in found
    }
    for key in marks.keys() - changes.keys():  # its limits were lifted
        changes[key] = Changes(ended=list(marks[key]))
    return {key: change for key, change in changes.items() if change}


def marks_of(connection: Connection, keys: Sequence[str]) -> Mapping[str, type_marks]:
    """What is marked as crossed, by subject."""
    found: dict[str, dict[tuple[str, str], float]] = {}
    for row in connection.execute(select(crossings).where(crossings.c.subject.in_(keys))):
        found.setdefault(row.subject, {})[row.resource, row.level] = row.since
    return found


def marked_keys(connection: Connection) -> Sequence[str]:
    """All subjects of which something is marked."""
    return list(connection.execute(select(crossings.c.subject).distinct()).scalars())


def mark(connection: Connection, subject: str, resource: str, level: str, now: float) -> bool:
    """Mark a crossing; ``False`` if it was marked before."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    row = {"subject": subject, "resource": resource, "level": level, "since": now}
    return connection.execute(insert(crossings).values(row).on_conflict_do_nothing()).rowcount > 0


def unmark(connection: Connection, subject: str, resource: str, level: str) -> None:
    """Let a crossing be told again."""
    here = (crossings.c.subject == subject) & (crossings.c.resource == resource) & (crossings.c.level == level)
    connection.execute(delete(crossings).where(here))

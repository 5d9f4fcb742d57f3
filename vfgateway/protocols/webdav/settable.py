"""Changes of properties, as PROPPATCH (RFC 4918 section 9.2) and extended MKCOL (RFC 5689) ask for them: all of them, or none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Final

import attrs
from lxml import etree

from vfgateway.errors import TooLarge
from vfgateway.model import Attrs, FileStat
from vfgateway.paths import FolderPath
from vfgateway.protocols.webdav.documents import DAV, written
from vfgateway.protocols.webdav.faults import Refused, status_line
from vfgateway.protocols.webdav.live import EXECUTABLE, LIVE, MODIFIED, WIN32_MODIFIED
from vfgateway.protocols.webdav.rendering import MOST_NAMES, SETTABLE, empty_element
from vfgateway.services.session import FolderSession

_EPOCH: Final = re.compile(r"-?[0-9]{1,11}(?:\.[0-9]+)?")
#: Names under which clients set the time of the last change; the last one is Cyberduck's and Nextcloud's.
TIMES: Final = frozenset({MODIFIED, WIN32_MODIFIED, "{DAV:}lastmodified"})
_PROTECTED: Final = b"<D:error><D:cannot-modify-protected-property/></D:error>"


@attrs.frozen
class Change:
    """One property to set, or to remove (``element`` is ``None``)."""

    name: str
    element: etree._Element | None


@attrs.define
class Outcome:
    """What becomes of the changes.

    :ivar dead: what to keep, or with ``None`` to drop
    :ivar attributes: what to change of the file
    :ivar refused: statuses by name; with any of them nothing is changed
    """

    dead: dict[str, str | None] = attrs.Factory(dict)
    attributes: Attrs = attrs.Factory(Attrs)
    refused: dict[str, int] = attrs.Factory(dict)


def changes_in(root: etree._Element) -> Sequence[Change]:
    """What ``set`` and ``remove`` say, in document order. Raises :class:`Refused`."""
    changes: list[Change] = []
    for instruction in root:
        if instruction.tag not in (DAV + "set", DAV + "remove"):
            continue
        removes = instruction.tag == DAV + "remove"
        for prop in instruction.iterchildren(DAV + "prop"):
            changes += [Change(str(element.tag), None if removes else element) for element in prop]
    if not changes:
        raise Refused(400, "no property is named")
    if len(changes) > MOST_NAMES:
        raise Refused(400, "too many properties are named")
    return changes


def judge(changes: Sequence[Change], stat: FileStat | None) -> Outcome:
    """What each change would do. ``stat`` is what it would be done to; ``None`` for a collection in the making, whose kind may be named."""
    outcome = Outcome()
    for change in changes:
        status = _judge_one(change, stat, outcome)
        if status:
            outcome.refused[change.name] = status
    return outcome


def _judge_one(change: Change, stat: FileStat | None, outcome: Outcome) -> int:
    name, element = change.name, change.element
    if name in TIMES and element is not None:
        moment = _moment(str(element.xpath("string()")).strip())
        if moment is None:
            return 409
        outcome.attributes = attrs.evolve(outcome.attributes, mtime_ns=moment)
        return 0
    if name == EXECUTABLE and element is not None and stat is not None and stat.is_file:
        flag = 0o111 if (element.text or "").strip() == "T" else 0
        readable = (stat.mode & 0o444) >> 2
        outcome.attributes = attrs.evolve(
            outcome.attributes, mode=(stat.mode & ~0o111) | (flag & readable | flag & 0o100)
        )
        return 0
    if name == DAV + "resourcetype" and stat is None and element is not None:
        return 0 if [str(child.tag) for child in element] == [DAV + "collection"] else 403
    if name in LIVE and name not in SETTABLE:
        return 403
    outcome.dead[name] = None if element is None else written(element)
    return 0


def _moment(text: str) -> int | None:
    """A time in nanoseconds, from epoch seconds or one of HTTP's forms of a date."""
    if _EPOCH.fullmatch(text):
        return int(float(text) * 1000) * 1_000_000
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 1_000_000_000
    except (ValueError, OverflowError):
        return None


async def apply(folder: FolderSession, path: FolderPath, outcome: Outcome) -> None:
    """Do what was judged to be possible."""
    if outcome.dead:
        try:
            await folder.set_properties(path, outcome.dead)
        except TooLarge as error:
            raise Refused(507, str(error)) from None
    if outcome.attributes != Attrs():
        await folder.set_attrs(path, outcome.attributes)


def propstats(changes: Sequence[Change], refused: Mapping[str, int]) -> bytes:
    """The ``propstat`` elements of an answer: with one refusal, everything else failed by dependency (section 9.2.1)."""
    by_status: dict[int, list[bytes]] = {}
    for name in dict.fromkeys(change.name for change in changes):
        status = refused.get(name, 424 if refused else 200)
        by_status.setdefault(status, []).append(empty_element(name))
    return b"".join(
        b"<D:propstat><D:prop>%s</D:prop><D:status>%s</D:status>%s</D:propstat>"
        % (b"".join(elements), status_line(status), _PROTECTED if status == 403 else b"")
        for status, elements in by_status.items()
    )

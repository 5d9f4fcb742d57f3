"""The ``sync-collection`` report (RFC 6578): what has changed in a collection since a token was given out.

Whether a member has changed is known from the log (:mod:`vfgateway.services.changes`), what it is now from a look. Links are left out: what
they lead to is told under its own name.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from itertools import groupby
from typing import Final

import attrs
from lxml import etree

from vfgateway.errors import NotFound
from vfgateway.model import DirEntry, FileStat, FileType
from vfgateway.paths import FolderPath
from vfgateway.protocols.webdav import synctokens
from vfgateway.protocols.webdav.documents import DAV
from vfgateway.protocols.webdav.exchange import INFINITY, Exchange
from vfgateway.protocols.webdav.faults import Refused, status_line
from vfgateway.protocols.webdav.members import Members
from vfgateway.protocols.webdav.places import href_of
from vfgateway.protocols.webdav.propfind import BATCH, View, send_blocks
from vfgateway.protocols.webdav.rendering import Rendering, asked_by
from vfgateway.protocols.webdav.synctokens import Cut, SyncToken
from vfgateway.services.changes import Logged, Mark
from vfgateway.services.session import FolderSession

REPORT: Final = DAV + "sync-collection"
#: The most that a client may ask for at once by ``limit``.
LARGEST: Final = 100_000

_GONE: Final = b"<D:response><D:href>%s</D:href><D:status>" + status_line(404) + b"</D:status></D:response>\n"
_CUT: Final = (
    b"<D:response><D:href>%s</D:href><D:status>"
    + status_line(507)
    + b"</D:status><D:error><D:number-of-matches-within-limits/></D:error></D:response>\n"
)
_SHOWN: Final = frozenset({FileType.FILE, FileType.DIRECTORY})


@attrs.frozen
class Told:
    """One member of the answer; ``stat`` is ``None`` for one that is gone. ``token`` knows all up to here."""

    path: FolderPath
    stat: FileStat | None
    token: SyncToken
    collection: bool = False


@attrs.frozen
class Question:
    """What the client asks.

    :ivar token: how far it is; ``None`` for the first time
    :ivar infinite: whether it wants all below the collection, not its members alone
    :ivar limit: the most members that it wants in one answer
    """

    token: SyncToken | None
    infinite: bool
    limit: int | None


async def answer(exchange: Exchange, root: etree._Element) -> None:
    """Answer it."""
    folder = await exchange.folder()
    path = exchange.place.path
    if not ((await folder.stat(path)).is_dir and await synctokens.is_followed(folder, path)):
        raise Refused(403, "changes are not followed here", "supported-report")
    infinite = _infinite(exchange, root)
    scope = synctokens.scope_of(folder.vfolder.key, path, infinite)
    question = _question(root, infinite, scope)
    asked = asked_by(root)
    members = Members(folder, question.infinite, question.limit)
    told, end, more = await _found(exchange, members, path, question.token)
    minimal = exchange.prefers("return=minimal")
    if minimal:
        exchange.request.setHeader(b"preference-applied", b"return=minimal")
    view = await View.of(exchange, folder, asked, Rendering(asked, minimal))
    await send_blocks(exchange.request, _blocks(view, told, question.limit, end, more, scope))


async def _found(
    exchange: Exchange, members: Members, path: FolderPath, token: SyncToken | None
) -> tuple[AsyncGenerator[Told, None], SyncToken, bool]:
    """What is to be told, the token after all of it, and whether there is more to ask for even then."""
    log, vfolder = exchange.app.gateway.changes, members.folder.vfolder
    now = await log.now(vfolder)
    if token is None or (token.cut is not None and token.cut.done is None):
        mark = now if token is None else token.mark
        if mark.epoch != now.epoch or mark.serial > now.serial:
            raise synctokens.invalid()
        after = token.cut.after if token is not None and token.cut is not None else ()
        return _all(members, path, mark, after), SyncToken(mark), mark.serial < now.serial
    done = token.mark.serial if token.cut is None or token.cut.done is None else token.cut.done
    found = await log.since(vfolder, Mark(token.mark.epoch, done), path)
    if found is None:
        raise synctokens.invalid()
    until, rows = found
    looks = Looks(members.folder, path)
    await _refuse_unknowable(looks, members.infinite, token.mark.serial, rows)
    return _changed(members, looks, token, done, rows), SyncToken(until), False


def _infinite(exchange: Exchange, root: etree._Element) -> bool:
    """``sync-level``; ``Depth`` says it where that is missing, as in the drafts of the RFC."""
    level = (root.findtext(DAV + "sync-level") or exchange.depth("0")).strip().lower()
    if level not in ("0", "1", "infinite", INFINITY):
        raise Refused(400, "sync-level must be 1 or infinite")
    return level in ("infinite", INFINITY)


def _question(root: etree._Element, infinite: bool, scope: str) -> Question:
    text = root.findtext(DAV + "sync-token")
    if text is None:
        raise Refused(400, "sync-token is missing")
    wanted = root.findtext(f"{DAV}limit/{DAV}nresults")
    limit = None
    if wanted is not None:
        if not (wanted.strip().isascii() and wanted.strip().isdigit() and int(wanted) > 0):
            raise Refused(400, "nresults must be a positive number")
        limit = min(int(wanted), LARGEST)
    return Question(synctokens.parse(text.strip(), scope) if text.strip() else None, infinite, limit)


async def _refuse_unknowable(looks: Looks, infinite: bool, since: int, rows: Iterable[Logged]) -> None:
    """A collection that was replaced by another of its name: which members the client should forget is not known."""
    for row in rows:
        if looks.top == row.path or looks.top.within(row.path):
            if row.tree > since or row.lost > since:
                raise synctokens.invalid()
        elif infinite and row.lost > since and await looks.at(row.path) is not None:
            raise synctokens.invalid()


@attrs.define
class Looks:
    """What is there now, as far as it is shown: nothing is found by way of a link."""

    folder: FolderSession
    top: FolderPath
    _directories: dict[FolderPath, bool] = attrs.Factory(dict)

    async def at(self, path: FolderPath) -> FileStat | None:
        """What is at ``path``, below the top."""
        if not await self.is_directory(path.parent):
            return None
        try:
            stat = await self.folder.stat(path)
        except NotFound:
            return None
        return stat if stat.type in _SHOWN else None

    async def is_directory(self, path: FolderPath) -> bool:
        """Whether ``path`` is a directory; the top is."""
        if path == self.top:
            return True
        if path not in self._directories:
            stat = await self.at(path)
            self._directories[path] = stat is not None and stat.is_dir
        return self._directories[path]


async def _all(members: Members, path: FolderPath, mark: Mark, after: tuple[str, ...]) -> AsyncGenerator[Told, None]:
    """Everything, for a client that knows nothing yet."""
    async with aclosing(members.below(path, after)) as found:
        async for member, stat in found:
            yield Told(member, stat, SyncToken(mark, Cut(None, after=member.relative_to(path).parts)))


async def _changed(
    members: Members, looks: Looks, token: SyncToken, done: int, rows: Sequence[Logged]
) -> AsyncGenerator[Told, None]:
    """What the log names, each once."""
    below = [row for row in rows if row.path.within(looks.top) and row.path != looks.top and not row.path.reserved]
    if not members.infinite:
        below = [row for row in below if row.path.parent == looks.top]
    trees = {row.path: row for row in below if row.tree > token.mark.serial} if members.infinite else {}
    for row in below:
        stat = await looks.at(row.path)
        after_it = SyncToken(token.mark, Cut(row.serial))
        if stat is None:
            if await looks.is_directory(row.path.parent):
                yield Told(row.path, None, after_it, row.collection)
        elif not _comes_with_a_tree(row.path, trees, token.cut):
            cut = token.cut if token.cut is not None and token.cut.row == row.serial else None
            inside = row.path in trees and stat.is_dir
            if cut is None:
                yield Told(row.path, stat, SyncToken(token.mark, Cut(done, row.serial)) if inside else after_it)
            if inside:
                async with aclosing(members.below(row.path, cut.after if cut is not None else ())) as found:
                    async for member, its in found:
                        rest = member.relative_to(row.path).parts
                        yield Told(member, its, SyncToken(token.mark, Cut(done, row.serial, rest)))
        done = row.serial


def _comes_with_a_tree(path: FolderPath, trees: dict[FolderPath, Logged], cut: Cut | None) -> bool:
    """Whether ``path`` lies in a tree that is told as a whole, in the part of it that has not been told yet."""
    for depth in range(1, len(path.parts)):
        tree = trees.get(FolderPath(path.parts[:depth]))
        if tree is not None and (cut is None or cut.row != tree.serial or path.parts[depth:] > cut.after):
            return True
    return False


async def _blocks(
    view: View, told: AsyncGenerator[Told, None], limit: int | None, end: SyncToken, more: bool, scope: str
) -> AsyncGenerator[bytes, None]:
    """The answer: members, a word if there are more of them, and the token."""
    waiting: list[Told] = []
    count, last, reached = 0, end, end
    async with aclosing(told):
        async for member in told:
            if count == limit:
                last, more = reached, True
                break
            waiting.append(member)
            count, reached = count + 1, member.token
            if len(waiting) >= BATCH:
                yield await _rendered(view, waiting)
                waiting = []
    if waiting:
        yield await _rendered(view, waiting)
    word = _CUT % href_of(FolderPath((*view.base, *view.path.parts)), True) if more else b""
    yield word + b"<D:sync-token>%s</D:sync-token>\n" % last.text(scope).encode("ascii")


async def _rendered(view: View, told: Sequence[Told]) -> bytes:
    """The elements of members."""
    parts: list[bytes] = []
    for (above, gone), group in groupby(told, lambda member: (member.path.parent, member.stat is None)):
        if gone:
            for member in group:
                whole = FolderPath((*view.base, *member.path.parts))
                parts.append(_GONE % href_of(whole, member.collection))
        else:
            entries = [DirEntry(member.path.name, member.stat) for member in group if member.stat is not None]
            parts.append(await view.entries(above, entries))
    return b"".join(parts)

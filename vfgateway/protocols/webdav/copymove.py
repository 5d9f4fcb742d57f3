"""COPY and MOVE (RFC 4918 sections 9.8 and 9.9), within a vfolder and from one to another."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs

from vfgateway.errors import AlreadyExists, GatewayError, IsADirectory, NotFound, PathError
from vfgateway.model import ABSENT, ANY, Expect, FileStat
from vfgateway.paths import FolderPath, parse_text
from vfgateway.protocols.web.conditions import expectation
from vfgateway.protocols.webdav.exchange import INFINITY, Exchange, refuse_orphan
from vfgateway.protocols.webdav.faults import Refused, answer_empty
from vfgateway.protocols.webdav.multistatus import answer_failures, type_failure
from vfgateway.protocols.webdav.places import Place
from vfgateway.services import copying
from vfgateway.services.session import FolderSession


@attrs.frozen
class Journey:
    """What is to go where.

    :ivar stat: of what goes
    :ivar there: what is at its target now, ``None`` for nothing
    :ivar expect: what may be there when it arrives
    :ivar failures: members that did not get there, and why
    """

    folder: FolderSession
    source: Place
    stat: FileStat
    into: FolderSession
    target: Place
    there: FileStat | None
    expect: Expect
    failures: list[type_failure] = attrs.Factory(list)

    def failed(self, hands: FolderSession, path: FolderPath, error: GatewayError) -> None:
        """A member stays behind."""
        place = self.source if hands is self.folder else self.target
        self.failures.append((attrs.evolve(place, path=path), error))

    @contextmanager
    def telling_of_members(self) -> Iterator[None]:
        """An error about a member, on either side, is told as that; one about what the request itself names is raised."""
        try:
            yield
        except AlreadyExists:
            if not self.expect.absent:
                raise
            raise Refused(412, "something has come to the destination") from None
        except PathError as error:
            about = parse_text(error.path.lstrip("/"))
            place = next((place for place in (self.source, self.target) if about.within(place.path)), None)
            if place is None or about in (self.source.path, self.target.path):
                raise
            self.failures.append((attrs.evolve(place, path=about), error))

    async def make_room(self, moving: bool, shallow: bool = False) -> None:
        """Remove what must not be there (section 9.8.4). A file that a file replaces is left, to be replaced in one step.

        :param moving: the source goes, so that somebody's lock on it is reason enough to leave everything as it is
        :param shallow: of the source, only itself comes
        """
        if self.there is None or not (self.there.is_dir or self.stat.is_dir):
            return
        if not moving or self.into.vfolder.key != self.folder.vfolder.key:
            await copying.refuse_what_cannot_fit(
                self.folder, self.source.path, self.into, self.target.path, shallow=shallow
            )
        if moving:
            context = self.folder.context
            async with context.publishing((self.source.path, True)) as intent:
                intent.names(context.lock_path(self.source.path))
                intent.changes = ()
        remove = self.into.remove_tree if self.there.is_dir else self.into.remove
        with suppress(NotFound):  # somebody else has taken it away meanwhile
            await remove(self.target.path)


async def answer_copy(exchange: Exchange) -> None:
    """Copy a file, or a collection alone (``Depth: 0``) or with all below it."""
    depth = exchange.depth(INFINITY)
    if depth == "1":
        raise Refused(400, "the Depth of COPY is 0 or infinity")
    journey = await _prepared(exchange)
    with journey.telling_of_members():
        await journey.make_room(moving=False, shallow=depth == "0")
        await copying.copy(
            journey.folder,
            journey.source.path,
            journey.into,
            journey.target.path,
            expect=journey.expect,
            shallow=depth == "0",
            failed=journey.failed,
        )
    _answer(exchange, journey)


async def answer_move(exchange: Exchange) -> None:
    """Move a file or a whole collection."""
    if exchange.depth(INFINITY) != INFINITY:
        raise Refused(400, "the Depth of MOVE is infinity")
    journey = await _prepared(exchange)
    source, target = journey.source, journey.target
    with journey.telling_of_members():
        await journey.make_room(moving=True)
        await copying.move(journey.folder, source.path, journey.into, target.path, journey.failed, journey.expect)
    _answer(exchange, journey)


async def _prepared(exchange: Exchange) -> Journey:
    """Everything that can be refused before anything is changed."""
    overwrite = exchange.overwrite
    folder = await exchange.folder()
    source = exchange.place
    if source.is_fixed and exchange.request.method == b"MOVE":
        raise Refused(403, "vfolders are not moved here")
    stat = await folder.stat(source.path)
    expectation(exchange.request.requestHeaders, source.path, stat)
    named = exchange.destination()
    if named.is_fixed:
        raise Refused(403, "vfolders are not made or replaced here")
    try:
        into, target = await exchange.enter(named)
    except (NotFound, IsADirectory):
        raise Refused(409, f"there is no vfolder {named.name} that could take it") from None
    if into.vfolder.key == folder.vfolder.key:
        _refuse_loop(folder, source.path, target.path, stat)
    await refuse_orphan(into, target)
    try:
        there: FileStat | None = await into.stat(target.path)
    except NotFound:
        there = None
    if there is not None and not overwrite:
        raise Refused(412, "something is at the destination")
    return Journey(folder, source, stat, into, target, there, ANY if overwrite else ABSENT)


def _refuse_loop(folder: FolderSession, source: FolderPath, target: FolderPath, stat: FileStat) -> None:
    one, other = folder.context.lock_path(source), folder.context.lock_path(target)
    if one == other:
        raise Refused(403, "source and destination are the same")
    if stat.is_dir and other.within(one):
        raise Refused(403, "the destination lies within the source")
    if one.within(other):
        raise Refused(403, "the source lies within the destination, which would be replaced")


def _answer(exchange: Exchange, journey: Journey) -> None:
    if journey.failures:
        answer_failures(exchange.request, journey.failures)
        return
    if journey.there is None:
        where = exchange.request.external_base.encode("ascii") + journey.target.href(journey.stat.is_dir)
        exchange.request.setHeader(b"location", where)
    answer_empty(exchange.request, 201 if journey.there is None else 204)

"""Copies within and between vfolders, and moves between them: member by member, each with its own reservation and intent.

A member that is moved to another vfolder is there before it goes here, and nobody changes either in between. So whatever ends a move
half-way, each member is in one place, whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING

import attrs

from vfgateway.errors import (
    Conflict,
    DirectoryNotEmpty,
    GatewayError,
    InvalidPath,
    NoSpace,
    NotFound,
    QuotaExceeded,
    UnsupportedFileType,
)
from vfgateway.model import ABSENT, ANY, Expect, FileStat, Permission, Usage
from vfgateway.paths import FolderPath
from vfgateway.services import trees
from vfgateway.services.locks import Intent
from vfgateway.services.transfer import growth
from vfgateway.services.trees import type_progress
from vfgateway.uninterrupted import whole

if TYPE_CHECKING:
    from vfgateway.services.session import FolderSession

#: Told a path that could not be dealt with, in whose hands, and why.
type_failed = Callable[["FolderSession", FolderPath, GatewayError], None]
#: How often a directory is looked through again where others keep adding to it, or the storage skips what moves under it.
ATTEMPTS = 5


async def copy(
    origin: FolderSession,
    source: FolderPath,
    into: FolderSession,
    target: FolderPath,
    *,
    expect: Expect = ANY,
    shallow: bool = False,
    progress: type_progress | None = None,
    failed: type_failed | None = None,
) -> None:
    """Copy a file or a tree. Links stay links; what is neither file, link nor directory is left out. A tree is copied to a place where
    nothing is (``AlreadyExists``).

    :param shallow: of a directory, only itself and its properties
    :param failed: told each member that could not be copied, while the others are; without it, the first failure ends the copy
    """
    folder = origin.context.reading(source)
    into.context.allow(Permission.RW, target, "write this")
    stat = await folder.stat(source)
    if not stat.is_dir:
        await _copy_one(Step(origin, source, stat, into, target), expect)
        return
    if into.vfolder.key == origin.vfolder.key and target.within(source):
        raise InvalidPath(target, f"lies within what is copied: {target}")
    if expect.identity is not None:
        raise Conflict("a tree has no identity to compare")
    await _copy_dir(origin, source, into, target)
    if not shallow:
        with into.context.standing.watched():
            await _each_member(_Tree(origin, source, into, target), _copy_step, progress, failed)


async def refuse_what_cannot_fit(
    origin: FolderSession, source: FolderPath, into: FolderSession, target: FolderPath, shallow: bool = False
) -> None:
    """``QuotaExceeded`` if ``source`` has no room in the place of what is at ``target``. For whoever has to remove that first."""
    left = await into.remaining()
    if left.free_bytes is None and left.free_files is None:
        return
    coming = Usage(0, 1) if shallow else await _weighed(origin, source)
    wanted = coming - await _weighed(into, target)
    for resource, limit, used, free in (
        ("bytes", left.limit_bytes, left.used_bytes, left.free_bytes),
        ("files", left.limit_files, left.used_files, left.free_files),
    ):
        more: int = getattr(wanted, resource)
        if limit is not None and free is not None and more > free:
            raise QuotaExceeded("this vfolder", resource, limit, used, more)


async def _weighed(session: FolderSession, path: FolderPath) -> Usage:
    stat = await session.stat(path)
    if not stat.is_dir:
        return Usage(stat.size if stat.is_file else 0, 1)
    return await trees.measure(session.context.at(path), path) + Usage(0, 1)


@attrs.frozen
class Step:
    """One member on its way."""

    origin: FolderSession
    source: FolderPath
    stat: FileStat
    into: FolderSession
    target: FolderPath


@attrs.define
class _Tree:
    """A tree on its way.

    :ivar made: directories of the source that have been made in the target
    :ivar kept: those that could not be, or in which something stayed
    :ivar stopped: there is no room for more, so the rest was not tried
    """

    origin: FolderSession
    source: FolderPath
    into: FolderSession
    target: FolderPath
    made: dict[FolderPath, None] = attrs.Factory(dict)
    kept: set[FolderPath] = attrs.Factory(set)
    stopped: bool = False

    def keep(self, path: FolderPath) -> None:
        """Something stayed at ``path``."""
        while path not in self.kept and path != self.source:
            self.kept.add(path)
            path = path.parent
        self.kept.add(self.source)

    def whole(self, whose: FolderSession) -> tuple[FolderSession, FolderPath]:
        """The tree itself, on one side."""
        return whose, self.target if whose is self.into else self.source


type_act = Callable[[Step], Awaitable[None]]


async def _copy_step(step: Step) -> None:
    await _copy_one(step, ABSENT)


async def _move_step(step: Step) -> None:
    await _move_one(step, ABSENT)


async def _each_member(
    tree: _Tree, act: type_act, progress: type_progress | None = None, failed: type_failed | None = None
) -> int:
    """Do ``act`` with each member that is no directory; those are made. How many members there were."""
    walk = tree.origin.walk(tree.source)
    lost: set[FolderPath] = set()  # directories that could not be made
    count = 0
    try:
        while entries := await walk.read():
            for entry in entries:
                if entry.path.parent in lost:
                    lost.add(entry.path)
                    continue
                place = tree.target.join(entry.path.relative_to(tree.source))
                try:
                    if entry.error is not None:
                        raise _Stays(entry.error)
                    if not entry.stat.is_dir:
                        await act(Step(tree.origin, entry.path, entry.stat, tree.into, place))
                    elif entry.path not in tree.made:
                        await _copy_dir(tree.origin, entry.path, tree.into, place)
                        tree.made[entry.path] = None
                except GatewayError as error:
                    whose, path, cause = _blamed(tree, entry.path, place, error)
                    if failed is None:
                        raise cause from None
                    tree.keep(entry.path)
                    failed(whose, path, cause)
                    if isinstance(error, (QuotaExceeded, NoSpace)):
                        tree.stopped = True
                        failed(*tree.whole(whose), cause)
                        return count
                    if entry.stat.is_dir:
                        lost.add(entry.path)
                count += 1
            if progress is not None:
                await progress(count)
    finally:
        await walk.close()
    return count


class _Stays(GatewayError):
    """A member could not leave where it is, for the reason ``cause``."""

    def __init__(self, cause: GatewayError) -> None:
        self.cause = cause
        super().__init__(str(cause))


def _blamed(
    tree: _Tree, source: FolderPath, target: FolderPath, error: GatewayError
) -> tuple[FolderSession, FolderPath, GatewayError]:
    if isinstance(error, _Stays):
        return tree.origin, source, error.cause
    return tree.into, target, error


@whole
async def _copy_dir(origin: FolderSession, source: FolderPath, into: FolderSession, target: FolderPath) -> None:
    await into.make_dir(target)
    context = into.context
    if (await context.gateway.properties.any_in(origin.vfolder))[0]:
        async with context.publishing((target, False)) as intent:
            await context.settle(Usage(), intent, context.after_copy(intent, origin.context, source, target))
        context.gateway.database.forget_generations()


@whole
async def _copy_one(step: Step, expect: Expect) -> None:
    step.into.context.allow(Permission.RW, step.target, "write this")
    async with step.into.context.publishing((step.target, False)) as intent:
        await _make_copy(step, expect, intent)
    await step.into.context.remember_creation(step.target)


async def _make_copy(step: Step, expect: Expect, intent: Intent) -> bool:
    """Under the intent of the target's side, which ends with it; ``False`` for what cannot be there."""
    made = True
    context, stat, target = step.into.context, step.stat, step.target
    wanted = await growth(context, target, stat.size if stat.is_file else 0, expect)
    if wanted.files:
        intent.names(context.lock_path(target))
    async with await context.gateway.quota.reserve(step.into.vfolder, wanted) as reservation:
        if stat.is_file:
            origin = step.origin.context
            published = await trees.copy_file(origin.at(step.source), step.source, context.folder, target, expect)
            assert published.stat is not None
            change = Usage(published.stat.size, 1) - trees.freed(published.replaced)
            intent.touches(published.replaced)
        else:
            made = await trees.copy_link(stat, context.folder, target)
            change = Usage(0, 1) if made else Usage()
        also = [intent.end, *context.after_copy(intent, step.origin.context, step.source, target)]
        await reservation.settle(change, also=also, folder=context.folder_of(target))
    return made


async def move(
    origin: FolderSession,
    source: FolderPath,
    into: FolderSession,
    target: FolderPath,
    failed: type_failed | None = None,
    expect: Expect = ANY,
) -> None:
    """Move a file or a tree; to another vfolder member by member, to a place where nothing is (``AlreadyExists``).

    :param failed: told each member that could not be moved and stays where it is, with what it lies in, while the others go; without it,
        the first failure ends the move. Within a vfolder all goes at once, or nothing.
    :param expect: speaks of the target of a file, or of what moves within a vfolder
    """
    if origin.vfolder.key == into.vfolder.key:
        await origin.holding(origin.context.lock_tokens | into.context.lock_tokens).rename(source, target, expect)
        return
    await origin.context.allow_removal(source)
    stat = await origin.context.folder.stat(source)
    if not stat.is_dir:
        try:
            await _move_one(Step(origin, source, stat, into, target), expect)
        except _Stays as error:
            raise error.cause from None
        return
    origin.context.allow(Permission.RWD, source, "move this out")
    into.context.allow(Permission.RW, target, "write this")
    await _copy_dir(origin, source, into, target)
    tree = _Tree(origin, source, into, target)
    with origin.context.standing.watched(), into.context.standing.watched():
        for _ in range(ATTEMPTS):
            await _each_member(tree, _move_step, failed=failed)
            if await _leave(tree, failed):
                return
    raise DirectoryNotEmpty(source)


@whole
async def _move_one(step: Step, expect: Expect) -> None:
    """Both sides are held off until it is over: in the order of their numbers, so that two moves that cross do not wait for each other."""
    here, there = step.origin.context, step.into.context
    with _staying_if(True):
        await here.allow_removal(step.source)
    there.allow(Permission.RW, step.target, "write this")
    async with AsyncExitStack() as held:
        intents: dict[int, Intent] = {}
        for context, path in sorted(((here, step.source), (there, step.target)), key=lambda side: side[0].vfolder.key):
            with _staying_if(context is here):
                intents[context.vfolder.key] = await held.enter_async_context(context.publishing((path, False)))
        leaving = intents[here.vfolder.key]
        with _staying_if(True):
            leaving.names(here.lock_path(step.source))
            leaving.changes = ()  # until it has
            present = await here.folder.stat(step.source)
        made = await _make_copy(attrs.evolve(step, stat=present), expect, intents[there.vfolder.key])
        with _staying_if(True):
            if not made:
                raise UnsupportedFileType(step.source)
            leaving.changes = None
            published = await here.folder.remove(step.source, ANY)
            leaving.touches(published.replaced)
            also, folder = here.after_removal(leaving, step.source), here.folder_of(step.source)
            await here.settle(-trees.freed(published.replaced), leaving, also, folder)
    await there.remember_creation(step.target)
    await here.gateway.creations.forget(step.origin.vfolder.key, step.source)


@contextmanager
def _staying_if(source: bool) -> Iterator[None]:
    try:
        yield
    except GatewayError as error:
        if not source:
            raise
        raise _Stays(error) from error


async def _leave(tree: _Tree, failed: type_failed | None) -> bool:
    """Remove the directories that are empty now; ``False`` if one is not, and nobody was told why."""
    for path in (*reversed(tree.made), tree.source):
        if path in tree.kept:
            continue
        try:
            await tree.origin.remove_dir(path)
        except NotFound:
            continue
        except DirectoryNotEmpty:
            if not tree.stopped:
                return False
            tree.keep(path)
        except GatewayError as error:
            if failed is None:
                raise
            tree.keep(path)
            failed(tree.origin, path, error)
    return True

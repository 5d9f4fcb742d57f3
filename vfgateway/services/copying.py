"""Copies within and between vfolders, and moves between them: member by member, each with its own reservation and intent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vfgateway.errors import Conflict, GatewayError, InvalidPath, NoSpace, QuotaExceeded
from vfgateway.model import ABSENT, ANY, Expect, FileStat, Permission, Usage
from vfgateway.paths import FolderPath
from vfgateway.services import trees
from vfgateway.services.transfer import growth
from vfgateway.services.trees import type_progress
from vfgateway.services.uninterrupted import whole

if TYPE_CHECKING:
    from vfgateway.services.session import FolderSession

#: Told a path in the target that could not be made, and why; without one, the first failure ends the copy.
type_failed = Callable[[FolderPath, GatewayError], None]


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
    """
    origin.context.allow(Permission.RO, source, "read this")
    into.context.allow(Permission.RW, target, "write this")
    stat = await origin.context.folder.stat(source)
    if not stat.is_dir:
        await _copy_one(origin, source, stat, into, target, expect)
        return
    if into.vfolder.key == origin.vfolder.key and target.within(source):
        raise InvalidPath(target, f"lies within what is copied: {target}")
    if expect.identity is not None:
        raise Conflict("a tree has no identity to compare")
    await _copy_dir(origin, source, into, target)
    if not shallow:
        await _copy_members(origin, source, into, target, progress, failed)


async def _copy_members(
    origin: FolderSession,
    source: FolderPath,
    into: FolderSession,
    target: FolderPath,
    progress: type_progress | None,
    failed: type_failed | None,
) -> None:
    walk = origin.walk(source)
    lost: set[FolderPath] = set()  # directories that could not be made
    count = 0
    try:
        while entries := await walk.read():
            for entry in entries:
                place = target.join(entry.path.relative_to(source))
                if place.parent in lost:
                    lost.add(place)
                    continue
                try:
                    if entry.error is not None:
                        raise entry.error
                    if entry.stat.is_dir:
                        await _copy_dir(origin, entry.path, into, place)
                    else:
                        await _copy_one(origin, entry.path, entry.stat, into, place, ABSENT)
                except GatewayError as error:
                    if failed is None:
                        raise
                    failed(place, error)
                    if isinstance(error, (QuotaExceeded, NoSpace)):
                        return
                    if entry.stat.is_dir:
                        lost.add(place)
                count += 1
            if progress is not None:
                await progress(count)
    finally:
        await walk.close()


@whole
async def _copy_dir(origin: FolderSession, source: FolderPath, into: FolderSession, target: FolderPath) -> None:
    await into.make_dir(target)
    context = into.context
    if (await context.gateway.properties.any_in(origin.vfolder))[0]:
        async with context.publishing((target, False)) as intent:
            await context.settle(Usage(), intent, context.after_copy(intent, origin.context, source, target))
        context.gateway.database.forget_generations()


@whole
async def _copy_one(
    origin: FolderSession, source: FolderPath, stat: FileStat, into: FolderSession, target: FolderPath, expect: Expect
) -> None:
    context = into.context
    async with context.publishing((target, False)) as intent:
        wanted = await growth(context, target, stat.size if stat.is_file else 0, expect)
        if wanted.files:
            intent.names(context.lock_path(target))
        async with await context.gateway.quota.reserve(into.vfolder, wanted) as reservation:
            if stat.is_file:
                same = context.volume is origin.volume
                published = await trees.copy_file(origin.context.folder, source, context.folder, target, expect, same)
                assert published.stat is not None
                change = Usage(published.stat.size, 1) - trees.freed(published.replaced)
                intent.touches(published.replaced)
            else:
                change = Usage(0, 1) if await trees.copy_link(stat, context.folder, target) else Usage()
            also = [intent.end, *context.after_copy(intent, origin.context, source, target)]
            await reservation.settle(change, also=also)
    await context.remember_creation(target)


async def move(origin: FolderSession, source: FolderPath, into: FolderSession, target: FolderPath) -> None:
    """Move a file or a tree, to another vfolder if need be: there it is copied first, and removed here only when all of it is there. A
    copy that fails leaves nothing there."""
    if origin.vfolder.key == into.vfolder.key:
        await origin.holding(origin.context.lock_tokens | into.context.lock_tokens).rename(source, target)
        return
    await origin.context.allow_removal(source)
    if not (await origin.context.folder.stat(source)).is_dir:
        await copy(origin, source, into, target)
        await origin.remove(source)
        return
    origin.context.allow(Permission.RWD, source, "move this out")
    into.context.allow(Permission.RW, target, "write this")
    await _copy_dir(origin, source, into, target)
    try:
        await _copy_members(origin, source, into, target, None, None)
    except GatewayError:
        if into.access.permission >= Permission.RWD:
            await into.remove_tree(target)
        raise
    await origin.remove_tree(source)

"""How a name changes hands on a share.

A server replaces a file in one step, and refuses that while the file is open: some (Samba) on the same connection only, which is why
names have a connection of their own, others (Windows) on any. Then the old file is moved aside first; what it was called is noted beside
it, so that it is put back after a crash. Nothing else has a moment without the name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from vfgateway.backends.smb import wire
from vfgateway.backends.smb.faults import ACCESS_DENIED, IN_USE, NAME_COLLISION, NOT_SAME_DEVICE, Refused
from vfgateway.backends.smb.link import check
from vfgateway.backends.smb.tree import Tree
from vfgateway.backends.smb.wire import Entry, Opening
from vfgateway.model import Expect
from vfgateway.paths import FolderPath
from vfgateway.targets import check_expected, check_kind

#: Ends the name of the note beside a file that was moved aside.
NOTE = ".was"


@asynccontextmanager
async def turn(tree: Tree, target: FolderPath, expect: Expect) -> AsyncIterator[None]:
    """Be the only one who changes ``target``: in this process, and among all if a certain state of it is expected."""
    key = tree.place.key(target)
    async with tree.gates.passed(key):
        if expect.identity is None:
            yield
            return
        await ensure_staging(tree)
        async with tree.gates.alone(tree.share, tree.place.staging, key):
            yield


async def ensure_staging(tree: Tree) -> None:
    """Make the place of stages, unless it is there."""
    await tree.share.make_dir(tree.place.staging, exist_ok=True)


def check_target(tree: Tree, directory: bool, there: Entry | None, target: FolderPath, expect: Expect) -> None:
    """Refuse unless what stands at ``target`` is what was expected, and gives way to a file or to a ``directory``."""
    check_expected(None if there is None else tree.shown.stat(there), target, expect)
    check_kind(directory, None if there is None else there.is_dir, target)


async def move(tree: Tree, source: str, moved: Entry, there: Entry | None, target: FolderPath, expect: Expect) -> Entry:
    """The rename itself, in the turn of ``target``; what stands there now. ``Refused``.

    :param moved: what is at ``source``
    :param there: what is at ``target``; a file or an empty directory gives way
    """
    kind = wire.DIRECTORY_FILE if moved.is_dir else wire.NON_DIRECTORY_FILE
    path = tree.place.to_write(target)
    if there is not None and there.is_dir:
        await take_dir_away(tree, path)
        try:
            return await tree.share.rename(source, path, replace=False, number=moved.number, kind=kind)
        except Refused:
            await tree.share.make_dir(path, exist_ok=True)
            raise
    replace = there is not None or not (expect.absent or moved.is_dir)
    try:
        return await tree.share.rename(source, path, replace=replace, number=moved.number, kind=kind)
    except Refused as error:
        if there is None or error.status not in IN_USE | {ACCESS_DENIED, NAME_COLLISION}:
            raise
    return await _move_over_open(tree, source, moved, path)


async def _move_over_open(tree: Tree, source: str, moved: Entry, path: str) -> Entry:
    """Put a file in the place of one that is open."""
    aside = f"{tree.trash}\\replaced-{uuid4().hex}"
    await ensure_trash(tree)
    await tree.share.write_small(aside + NOTE, path.encode("utf-8"))
    # Not shared for removing, so that nobody takes it for what a crash has left.
    access, share = wire.DELETE | wire.READ_ATTRIBUTES, wire.SHARE_ALL & ~wire.SHARE_DELETE
    opening = Opening(path, access, options=wire.NON_DIRECTORY_FILE, share=share)
    try:
        old, _ = await tree.share.open(opening, content=False)
        try:
            await old.do(wire.rename(aside, replace=False))
            try:
                put = await tree.share.rename(
                    source, path, replace=False, number=moved.number, kind=wire.NON_DIRECTORY_FILE
                )
            except Refused:
                await old.do(wire.rename(path, replace=False))
                raise
            await old.ask(wire.set_disposition())
            return put
        finally:
            await old.close()
    finally:
        await tree.share.remove_file(aside + NOTE)


async def take_away(tree: Tree, path: str, entry: Entry) -> None:
    """Remove a file from its name at once, though somebody may have it open: it is moved to the trash and removed there."""
    aside = f"{tree.trash}\\removed-{uuid4().hex}"
    for attempt in (1, 2):
        try:
            await tree.share.rename(path, aside, replace=False, number=entry.number, kind=wire.NON_DIRECTORY_FILE)
            break
        except Refused as error:
            if error.status == NOT_SAME_DEVICE:  # a vfolder that was adopted elsewhere
                return await tree.share.remove_file(path)
            if attempt == 2 or not error.missing:
                raise
            await ensure_trash(tree)
    try:
        await tree.share.remove_file(aside)
    except Refused:
        return None  # gone for everybody who looks for it; the trash is emptied at each start


async def take_dir_away(tree: Tree, path: str) -> None:
    """Remove an empty directory from its name at once, though somebody may be listing it."""
    aside = f"{tree.trash}\\removed-{uuid4().hex}"
    await ensure_trash(tree)
    access, options = wire.DELETE | wire.READ_ATTRIBUTES, wire.DIRECTORY_FILE | wire.OPEN_REPARSE_POINT
    directory, _ = await tree.share.open(Opening(path, access, options=options), content=False)
    try:
        await directory.do(wire.set_disposition())  # refused unless it is empty
        await directory.do(wire.set_disposition(remove=False))
        moved = await directory.ask(wire.rename(aside, replace=False))
        if moved.status != NOT_SAME_DEVICE:  # else a vfolder that was adopted elsewhere
            check(moved)
        try:
            await directory.do(wire.set_disposition())
        except Refused:
            if not moved.status:
                await directory.do(wire.rename(path, replace=False))  # somebody was quicker
            raise
    finally:
        await directory.close()


async def ensure_trash(tree: Tree) -> None:
    """Make the scope's trash, unless it is there."""
    await tree.share.make_dir(tree.trash, exist_ok=True)

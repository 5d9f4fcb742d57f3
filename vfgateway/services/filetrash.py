"""Files that people deleted lie in their vfolder for a while, in a directory that nobody sees, and can be put back.

What lies there is charged as before. It is called by the identifier of its row, so that nothing in it can be reached by a path, whatever it
was called; a row whose file has gone, and a file whose row was never written, are swept away.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import Connection, Row, delete, insert, select

from vfgateway.errors import AlreadyExists, GatewayError, NotFound, PermissionDenied
from vfgateway.model import ABSENT, ANY, FileStat, Permission, Usage, VFolder
from vfgateway.paths import TRASH_NAME, FolderPath, parse_bytes
from vfgateway.principals import INTERNAL, ORCHESTRATOR
from vfgateway.services import trees
from vfgateway.services.context import FolderContext
from vfgateway.services.folderusage import folder_of
from vfgateway.services.moves import moved
from vfgateway.services.schema import vfolders
from vfgateway.services.sharing_tables import file_trash
from vfgateway.uninterrupted import whole

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway
    from vfgateway.services.session import FolderSession

#: Where deleted files lie.
HERE = FolderPath((TRASH_NAME,))
#: Whose share of the usage they are.
TRASH = folder_of(HERE, is_dir=True)


@attrs.frozen
class Discarded:
    """A deleted file or directory.

    :ivar path: where it was
    :ivar size: bytes of a file; 0 for a directory
    :ivar principal: who deleted it, as of creations; ``deleted_by``: in words
    :ivar deleted: epoch seconds; ``purge_at``: when it is removed for good
    """

    id: str
    vfolder: int
    path: FolderPath
    directory: bool
    size: int
    principal: str
    deleted_by: str
    deleted: float
    purge_at: float


class FileTrash:
    """The trash within vfolders.

    :ivar retention: seconds for which a file lies in it; 0 for none at all
    """

    def __init__(self, gateway: Gateway, retention: float) -> None:
        self._gateway = gateway
        self._database = gateway.database
        self.retention = retention

    async def discard(self, folder: FolderSession, path: FolderPath) -> Discarded | None:
        """Delete a file, a link or a directory with all below it, so that it can be restored. ``None`` where nothing is kept. Needs what
        deleting needs."""
        stat = await folder.stat(path)
        if not self.retention:
            await (folder.remove_tree(path) if stat.is_dir else folder.remove(path))
            return None
        if stat.is_dir:
            folder.context.allow(Permission.RWD, path, "remove this")
        else:
            await folder.context.allow_removal(path)
        if path.is_root:
            raise PermissionDenied(path, "remove the top of a vfolder")
        return await self._discard(folder.context, path, stat)

    @whole
    async def _discard(self, context: FolderContext, path: FolderPath, stat: FileStat) -> Discarded:
        now = self._gateway.reactor.seconds()
        item = Discarded(
            id=uuid.uuid4().hex,
            vfolder=context.vfolder.key,
            path=path,
            directory=stat.is_dir,
            size=stat.size if stat.is_file else 0,
            principal=context.principal_id,
            deleted_by=context.principal.name[:255],
            deleted=now,
            purge_at=now + self.retention,
        )
        async with context.publishing((path, True)) as intent:
            intent.names(context.lock_path(path))
            made = await self._make_here(context)
            try:
                published = await context.folder.rename(path, HERE.child(item.id), ABSENT)
            except BaseException:
                await context.settle(made, intent, folder=TRASH)
                raise
            also = [*context.after_removal(intent, path), lambda connection: _add(connection, item)]
            also.append(await moved(context, path, HERE.child(item.id), published))
            await context.settle(made, intent, also, TRASH)
        context.note("files_removed", path, trash=item.id)
        await context.gateway.creations.forget(context.vfolder.key, path)
        return item

    async def _make_here(self, context: FolderContext) -> Usage:
        try:
            await context.folder.make_dir(HERE)
        except AlreadyExists:
            return Usage()
        return Usage(0, 1)

    async def list(self, folder: FolderSession) -> Sequence[Discarded]:
        """What the principal may restore, what was deleted last first: with ``rwd`` all, else what it deleted itself."""
        folder.context.allow(Permission.RO, FolderPath(), "list this")
        query = _QUERY.where(file_trash.c.vfolder == folder.vfolder.key)
        found = await self._database.read(lambda connection: [_of(row) for row in connection.execute(query)])
        return [item for item in found if self._may(folder, item)]

    def _may(self, folder: FolderSession, item: Discarded) -> bool:
        mine = item.principal == folder.context.principal_id
        return folder.access.permission >= (Permission.RW if mine else Permission.RWD)

    async def _get(self, folder: FolderSession, item_id: str) -> Discarded:
        """``NotFound`` for what there is none, or what the principal may not restore."""
        query = _QUERY.where(file_trash.c.vfolder == folder.vfolder.key, file_trash.c.id == item_id)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        if row is None or not self._may(folder, item := _of(row)):
            raise NotFound(item_id, f"no such entry in the trash: {item_id}")
        return item

    async def restore(self, folder: FolderSession, item_id: str, target: FolderPath | None = None) -> FolderPath:
        """Put something back where it was, or at ``target``; where it is now. Missing directories are made. ``AlreadyExists`` if something
        else is there by now, ``NotFound``."""
        item = await self._get(folder, item_id)
        path = target or item.path
        folder.context.allow(Permission.RW, path, "write this")
        await trees.missing_parents(folder.context.folder, path)
        if not path.parent.is_root:
            await folder.make_dir(path.parent, parents=True, exist_ok=True)
        await self._restore(folder.context, item, path)
        return path

    @whole
    async def _restore(self, context: FolderContext, item: Discarded, path: FolderPath) -> None:
        async with context.publishing((path, True)) as intent:
            intent.names(context.lock_path(path))
            try:
                published = await context.folder.rename(HERE.child(item.id), path, ABSENT)
            except NotFound:
                await self._database.write(lambda connection: _strike(connection, item.id))
                raise NotFound(item.id, f"no such entry in the trash: {item.id}") from None
            share = await moved(context, HERE.child(item.id), path, published)
            await context.settle(Usage(), intent, [share, lambda connection: _strike(connection, item.id)])
        context.note("files_restored", path, trash=item.id)

    async def purge(self, folder: FolderSession, item_id: str) -> None:
        """Remove something for good. Needs ``rwd``, or to have deleted it oneself. ``NotFound``."""
        await self._purge(folder.context, await self._get(folder, item_id))

    async def empty(self, folder: FolderSession) -> int:
        """Remove for good all that the principal may; how much that was."""
        items = await self.list(folder)
        for item in items:
            await self._purge(folder.context, item)
        return len(items)

    @whole
    async def _purge(self, context: FolderContext, item: Discarded) -> None:
        place = HERE.child(item.id)
        lost: list[Usage] = []
        async with context.publishing((place, True)) as intent:
            intent.changes = ()
            done = False
            try:
                with contextlib.suppress(NotFound):
                    if item.directory:
                        await trees.remove_tree(context.folder, place, lost.append)
                    else:
                        removed = await context.folder.remove(place, ANY)
                        lost.append(trees.freed(removed.replaced))
                done = True
            finally:
                strike = [lambda connection: _strike(connection, item.id)] if done else []
                await context.settle(-sum(lost, Usage()), intent, strike, TRASH)
        context.note("files_purged", item.path, trash=item.id)

    async def sweep(self) -> int:
        """Remove for good what has lain long enough, everywhere; how much that was."""
        query = _QUERY.where(file_trash.c.purge_at <= self._gateway.reactor.seconds()).limit(1000)
        items = await self._database.read(lambda connection: [_of(row) for row in connection.execute(query)])
        session = self._gateway.session(ORCHESTRATOR, INTERNAL)
        count = 0
        for item in items:
            with contextlib.suppress(GatewayError):  # the vfolder is gone, or its volume away: later
                vfolder = await self._gateway.vfolders.by_key(item.vfolder)
                await self._purge((await session.folder(vfolder.id, vfolder.volume)).context, item)
                count += 1
        return count

    async def used(self, vfolder: VFolder) -> Usage:
        """What lies in the trash of a vfolder, as far as it was deleted file by file."""
        query = select(file_trash.c.size).where(file_trash.c.vfolder == vfolder.key)
        sizes = await self._database.read(lambda connection: connection.execute(query).scalars().all())
        return Usage(sum(sizes), len(sizes))


_QUERY = (
    select(file_trash)
    .join(vfolders, vfolders.c.key == file_trash.c.vfolder)
    .order_by(file_trash.c.deleted.desc(), file_trash.c.id)
)


def _of(row: Row[Any]) -> Discarded:
    return Discarded(
        id=row.id,
        vfolder=row.vfolder,
        path=parse_bytes(row.path),
        directory=row.directory,
        size=row.size,
        principal=row.principal,
        deleted_by=row.deleted_by,
        deleted=row.deleted,
        purge_at=row.purge_at,
    )


def _add(connection: Connection, item: Discarded) -> None:
    connection.execute(insert(file_trash).values(attrs.asdict(item, recurse=False) | {"path": bytes(item.path)}))


def _strike(connection: Connection, item_id: str) -> None:
    connection.execute(delete(file_trash).where(file_trash.c.id == item_id))

"""The reference's routes about files (reference 2.6), but for those that only mint tokens."""

from __future__ import annotations

import stat as stat_bits
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from twisted.logger import Logger

from vfgateway.errors import AlreadyExists, GatewayError, InvalidPath, IsADirectory, NotFound
from vfgateway.model import DirEntry, FileType
from vfgateway.paths import FolderPath, checked_name, json_name, parse_text
from vfgateway.protocols.manager import faults
from vfgateway.protocols.manager.fields import NO_TASK, NOOP
from vfgateway.protocols.manager.wire import (
    Deletion,
    Item,
    ItemList,
    ItemStat,
    Mkdir,
    MkdirItem,
    MkdirReport,
    MkdirResults,
    Move,
    OfFile,
    OfFolder,
    Ok,
    Rename,
    Started,
)
from vfgateway.protocols.web.reply import send_file
from vfgateway.protocols.web.routing import BYTES, NO_CONTENT, NOTHING, Call, Raw, Reply, Routes
from vfgateway.services.gateway import Gateway
from vfgateway.services.lifecycle import remove_any
from vfgateway.services.session import FolderSession

#: Entries read from a directory at once.
BATCH = 500

_TYPE_BITS = {
    FileType.FILE: stat_bits.S_IFREG,
    FileType.DIRECTORY: stat_bits.S_IFDIR,
    FileType.SYMLINK: stat_bits.S_IFLNK,
    FileType.OTHER: 0,
}
_REPORT = {200: MkdirReport, 207: MkdirReport, 422: MkdirReport}


class FileRoutes(Routes):
    """Everything that is done to files.

    :param scandir_limit: entries of the longest listing; 0 is no limit
    """

    log = Logger()

    def __init__(self, gateway: Gateway, scandir_limit: int) -> None:
        super().__init__(gateway, "/folder/file", reference=True, tag="files")
        self._scandir_limit = scandir_limit
        self.add("POST", "/mkdir", self.file_mkdir, Mkdir, _REPORT, 404)
        self.add("POST", "/list", self.file_list, OfFile, {200: ItemList}, 404)
        self.add("POST", "/rename", self.file_rename, Rename, {204: NOTHING}, 404, 409, 423)
        self.add("POST", "/move", self.file_move, Move, {204: NOTHING}, 404, 409, 423)
        self.add("POST", "/fetch", self.file_fetch, OfFile, {200: Raw(BYTES, "The file")}, 404)
        self.add("POST", "/delete", self.file_delete, Deletion, {200: Ok}, 404, 409, 423)
        self.add("POST", "/delete-async", self.file_delete_async, Deletion, {202: Started}, 404, 409)

    async def _enter(self, call: Call, params: OfFolder) -> FolderSession:
        return await self.gateway.session(call.principal, call.origin).folder(params.vfid, params.volume)

    # --- making ---

    async def file_mkdir(self, call: Call, params: Mkdir) -> Reply:
        """Make directories, and report on each.

        200: all were made; 207: some; 422: none.
        """
        folder = None if params.volume == NOOP else await self._enter(call, params)
        success: list[MkdirItem] = []
        failed: list[MkdirItem] = []
        for text in params.relpath:
            message = None if folder is None else await self._mkdir(folder, text, params.parents, params.exist_ok)
            (success if message is None else failed).append(MkdirItem(msg=message, item=faults.shown(text)))
        status = 200 if not failed else 207 if success else 422
        return Reply(status, MkdirReport(results=MkdirResults(success=success, failed=failed)))

    async def _mkdir(self, folder: FolderSession, text: str, parents: bool, exist_ok: bool) -> str | None:
        """Make one directory; why that failed, or ``None``."""
        try:
            await folder.make_dir(parse_text(text), parents=parents, exist_ok=exist_ok)
        except GatewayError as error:
            return faults.shown(f"{type(error).__name__}: {error}")
        except Exception:
            self.log.failure("could not make a directory")
            return "internal error"
        return None

    # --- reading ---

    async def file_list(self, call: Call, params: OfFile) -> Reply:
        """List a directory, one level of it.

        ``truncated`` is there, and true, when it holds more entries than are listed.
        """
        if params.volume == NOOP:
            return Reply(body=ItemList(items=[]))
        folder = await self._enter(call, params)
        listing = await folder.list(params.relpath)
        items: list[Item] = []
        try:
            while entries := await listing.read(BATCH):
                items.extend(_items(params.relpath, entries))
                if 0 < self._scandir_limit < len(items):
                    return Reply(body=ItemList(items=items[: self._scandir_limit], truncated=True))
        finally:
            await listing.close()
        return Reply(body=ItemList(items=items))

    async def file_fetch(self, call: Call, params: OfFile) -> Reply | None:
        """Send a whole file."""
        if params.volume == NOOP:
            return Reply(body=b"", media_type=BYTES)
        folder = await self._enter(call, params)
        try:
            download = await folder.download(params.relpath)
        except NotFound as error:
            return faults.no_such_file(error)
        try:
            await send_file(call.request, download, no_store=True)
        finally:
            await download.close()
        return None

    # --- moving ---

    async def file_rename(self, call: Call, params: Rename) -> Reply:
        """Give a file or directory another name in the same directory. A file replaces a file."""
        if params.volume == NOOP:
            return NO_CONTENT
        name = checked_name(params.new_name)
        if params.relpath.is_root:
            raise InvalidPath(params.relpath, "the top of a vfolder cannot be renamed")
        folder = await self._enter(call, params)
        await folder.rename(params.relpath, params.relpath.parent.child(name))
        return NO_CONTENT

    async def file_move(self, call: Call, params: Move) -> Reply:
        """Move a file or directory within the vfolder.

        Onto a directory means into it, under the same name; a file replaces a file.
        """
        if params.volume == NOOP:
            return NO_CONTENT
        source, target = params.src_relpath, params.dst_relpath
        if source.is_root:
            raise InvalidPath(source, "the top of a vfolder cannot be moved")
        folder = await self._enter(call, params)
        await folder.stat(source)
        if source != target and await _is_dir(folder, target):
            target = target.child(source.name)
            if await _is_dir(folder, target):
                raise AlreadyExists(target)
        await folder.rename(source, target)
        return NO_CONTENT

    # --- removing ---

    async def file_delete(self, call: Call, params: Deletion) -> Reply:
        """Remove files and links, and directories if ``recursive``.

        What is not there counts as removed. One path that cannot be removed refuses all of them, before anything is removed.
        """
        if params.volume == NOOP:
            return Reply(body=Ok())
        folder = await self._enter(call, params)
        await _refuse_irremovable(folder, params.relpaths, params.recursive)
        for path in params.relpaths:
            await remove_any(folder, path, params.recursive)
        return Reply(body=Ok())

    async def file_delete_async(self, call: Call, params: Deletion) -> Reply:
        """Begin to remove files and links, and directories if ``recursive``; see ``file_delete``."""
        if params.volume == NOOP:
            return Reply(202, Started(bgtask_id=NO_TASK))
        folder = await self._enter(call, params)
        await _refuse_irremovable(folder, params.relpaths, params.recursive)
        task = await self.gateway.lifecycle.delete_files(folder.vfolder, params.relpaths, params.recursive)
        for path in params.relpaths:
            folder.context.note("files_removed", path, task=task)
        return Reply(202, Started(bgtask_id=task))


async def _refuse_irremovable(folder: FolderSession, paths: Sequence[FolderPath], recursive: bool) -> None:
    for path in paths:
        if path.is_root:
            raise InvalidPath(path, "the top of a vfolder cannot be removed")
        if not recursive and await _is_dir(folder, path):
            raise IsADirectory(path)


async def _is_dir(folder: FolderSession, path: FolderPath) -> bool:
    """Whether a directory, not a link to one, is there."""
    try:
        return (await folder.stat(path)).is_dir
    except NotFound:
        return False


def _items(directory: FolderPath, entries: Iterable[DirEntry]) -> list[Item]:
    return [_item(directory, entry) for entry in entries]


def _item(directory: FolderPath, entry: DirEntry) -> Item:
    stat = entry.stat
    kind = stat.type.value if stat.type is not FileType.OTHER else FileType.FILE.value
    return Item.model_validate(
        {
            **json_name(entry.name),
            "type": kind,
            "stat": ItemStat(
                mode=_TYPE_BITS[stat.type] | stat.mode,
                size=stat.size,
                created=_when(stat.ctime_ns),
                modified=_when(stat.mtime_ns),
            ),
            "symlink_target": _target(directory, entry),
        }
    )


def _when(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat()


def _target(directory: FolderPath, entry: DirEntry) -> str:
    """Where a link leads, from the listed directory on, as far as that is below it; ``""`` otherwise. Nothing is followed."""
    target = entry.stat.target
    if not target or target.startswith("/"):
        return ""
    parts: list[str] = []
    for part in target.split("/"):
        if part == "..":
            if not parts:
                return ""
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    shown = faults.shown("/".join(parts))
    return "" if parts == [entry.name] else shown

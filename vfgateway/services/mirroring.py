"""A copy of a vfolder in another place, brought after it while it is being changed.

A pass walks the whole vfolder and copies what differs from what was copied before; catching up does the same for paths of which it is known that
they have changed. What is copied while somebody writes to it may be torn: its path is among those that have changed, and so it is copied
again. Modes, times and hard links are kept where the new place can keep them; files belong to whom the new place says, to the same user if
it goes by whoever acts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import attrs

from vfgateway.abilities import ILinks, IModes, IServerSideCopy
from vfgateway.errors import (
    AlreadyExists,
    Conflict,
    DirectoryNotEmpty,
    IsADirectory,
    NotADirectory,
    NotFound,
    Unsupported,
    UnsupportedFileType,
)
from vfgateway.interfaces import IFolder, IVolume
from vfgateway.model import ANY, Actor, Attrs, FileStat, FileType, VFolderId
from vfgateway.paths import ROOT, FolderPath
from vfgateway.services import trees
from vfgateway.services.changes import Logged
from vfgateway.services.relocation_index import Copied, Index
from vfgateway.services.trees import Walk, Walked

#: Seconds after a change during which a further one may not show in a file's times.
YOUNG: Final = 2.0
#: Owners for which the new place is remembered at once.
_OWNERS: Final = 256

_GONE = (NotFound, NotADirectory, IsADirectory, UnsupportedFileType)


class OutOfTime(Exception):
    """There was more to copy than could be copied in time."""


class Mirror:
    """The copy of one vfolder.

    :param source: where it is copied from; not on anybody's behalf, so that links are shown as they are
    :param target: the volume of the copy, in which the vfolder has been made
    :param tell: told how many entries have been looked at
    :ivar until: when to give up with :class:`OutOfTime`; ``None``: never
    :ivar copied: files copied, and ``copied_bytes`` in them
    """

    def __init__(
        self,
        source: IFolder,
        target: IVolume,
        vfid: VFolderId,
        index: Index,
        clock: Any,
        tell: Callable[[int], Awaitable[None]],
    ) -> None:
        self._source = source
        self._target = target
        self._vfid = vfid
        self._index = index
        self._clock = clock
        self._tell = tell
        self._turn = 0
        self._folders: dict[tuple[int, int], IFolder] = {}
        self._inside = IServerSideCopy.providedBy(source)
        self._looked_at = 0
        self._missed_twins = False
        self.until: float | None = None
        self.copied = self.copied_bytes = 0

    # --- the whole ---

    async def walk(self, top: FolderPath = ROOT) -> None:
        """One pass over all below ``top``, and over the rest if files there have further names elsewhere."""
        self._missed_twins = False
        self._turn = max(self._turn, await self._index.last_turn()) + 1
        if top.is_root:
            self._looked_at = 0
        walk = Walk(self._source, top)
        try:
            while entries := await walk.read():
                await self._look_at(entries)
                self._looked_at += len(entries)
                await self._tell(self._looked_at)
        finally:
            await walk.close()
        while stale := await self._index.stale(self._turn, self._folded(top)):
            for entry in stale:
                self._hurry()
                await self._remove(entry)
            await self._index.forget(entry.key for entry in stale)
        if self._missed_twins and not top.is_root:
            await self.walk()

    async def _look_at(self, entries: Sequence[Walked]) -> None:
        keyed: dict[bytes, Walked] = {}
        for entry in entries:
            other = keyed.setdefault(self._key(entry.path), entry)
            if other is not entry:
                raise _clash(other.path, entry.path)
        known = await self._index.find(list(keyed))
        for key, entry in keyed.items():
            if entry.error is not None:
                raise entry.error
            before = known.get(key)
            if before is not None and before.turn == self._turn and before.path != entry.path:
                raise _clash(before.path, entry.path)
        same = {key for key, entry in keyed.items() if key in known and self._is_same(entry, known[key])}
        apart = {key for key in same if await self._is_apart(keyed[key])}
        await self._index.note(attrs.evolve(known[key], mark="") for key in apart)
        same -= apart
        await self._begin([entry.path for key, entry in keyed.items() if key not in same], known)
        done = []
        for key, entry in keyed.items():
            if key in same:
                done.append(attrs.evolve(known[key], turn=self._turn))
            else:
                done.append(await self._bring(entry.path, entry.stat, known.get(key)))
        await self._index.note(done)

    def _is_same(self, entry: Walked, before: Copied) -> bool:
        if before.path != entry.path or before.kind is not entry.stat.type:
            return False
        return bool(before.mark) and before.mark == _mark(entry.stat)

    async def _is_apart(self, entry: Walked) -> bool:
        """Whether a file with several names is another one in the copy by this name than by the one that this pass has met before: only one of
        them was copied anew, because it was not certain whether it had changed."""
        if not entry.stat.is_file or entry.stat.nlink < 2:
            return False
        twin = await self._index.twin(entry.stat.identity, self._turn)
        if twin is None:
            await self._index.note_twin(entry.stat.identity, entry.path, self._turn)
            return False
        folder = await self._folder_of(entry.stat)
        if not ILinks.providedBy(folder):
            return False
        try:
            return (await folder.stat(twin)).identity != (await folder.stat(entry.path)).identity
        except _GONE:
            return True

    async def _begin(self, paths: Sequence[FolderPath], known: Any) -> None:
        """Note that something may come to be at ``paths``, before it does: after a crash it is known of."""
        new = [path for path in paths if self._key(path) not in known]
        await self._index.note(Copied(self._key(path), path, "", FileType.OTHER, 0) for path in new)

    # --- what has changed ---

    async def catch_up(self, changed: Sequence[Logged], since: int) -> None:
        """Copy again what has changed after number ``since``."""
        for one in sorted(changed, key=lambda one: one.path.parts):
            if not one.path.is_root:
                await self._look_again(one.path, one.tree > since or one.lost > since)
            elif one.tree > since or one.lost > since:
                await self.walk()

    async def _look_again(self, path: FolderPath, whole: bool) -> None:
        try:
            stat = await self._source.stat(path)
        except (NotFound, NotADirectory):
            await self._clear(path)
            await self._index.forget([self._key(path)])
            return
        if stat.is_file and stat.nlink > 1:  # its other names are not known here
            await self.walk()
            return
        known = await self._index.find([self._key(path)])
        await self._begin([path], known)
        await self._index.note([await self._bring(path, stat, known.get(self._key(path)))])
        if stat.is_dir and whole:
            with suppress(NotFound, NotADirectory):
                await self.walk(path)

    # --- one entry ---

    async def _bring(self, path: FolderPath, stat: FileStat, before: Copied | None) -> Copied:
        self._hurry()
        if stat.type is FileType.OTHER:
            raise Conflict(f"cannot be moved, since it is neither file, link nor directory: {path}")
        if before is not None and before.kind is not stat.type:
            await self._clear(path)
        folder = await self._folder_of(stat)
        mark = _mark(stat)
        if stat.is_dir:
            await self._bring_dir(folder, path, stat)
        elif stat.type is FileType.SYMLINK:
            await self._bring_link(folder, path, stat)
        elif not await self._bring_file(folder, path, stat):
            return Copied(self._key(path), path, "", stat.type, 0)  # it vanished: what was there of it goes, too
        elif self._clock.seconds() - stat.ctime_ns / 1e9 < YOUNG:
            mark = ""
        return Copied(self._key(path), path, mark, stat.type, self._turn)

    async def _bring_dir(self, folder: IFolder, path: FolderPath, stat: FileStat) -> None:
        with suppress(AlreadyExists):
            await folder.make_dir(path)
        if IModes.providedBy(self._source) and IModes.providedBy(folder):
            await folder.set_attrs(path, Attrs(mode=stat.mode))

    async def _bring_link(self, folder: IFolder, path: FolderPath, stat: FileStat) -> None:
        if not ILinks.providedBy(folder):
            raise Conflict(f"volume {self._target.name} has no links, and this is one: {path}")
        with suppress(NotFound):
            await folder.remove(path, ANY)
        await folder.make_link(path, stat.target or "")

    async def _bring_file(self, folder: IFolder, path: FolderPath, stat: FileStat) -> bool:
        """Whether it still was there."""
        if stat.nlink > 1 and ILinks.providedBy(folder):
            if await self._linked(folder, path, stat.identity):
                return True
            await self._index.note_twin(stat.identity, path, self._turn)
            self._missed_twins = True
        # In a hurry it is streamed, which can be broken off.
        if self._inside and self.until is None and await self._copied_inside(folder, path):
            size = stat.size
        else:
            found = await self._stream(folder, path, stat)
            if found is None:
                return False
            size = found
        self.copied += 1
        self.copied_bytes += size
        return True

    async def _linked(self, folder: Any, path: FolderPath, identity: str) -> bool:
        """Give a file that this pass has copied its further name; ``False`` if it has not copied it yet."""
        twin = await self._index.twin(identity, self._turn)
        if twin is None or twin == path:
            return False
        with suppress(NotFound):
            await folder.remove(path, ANY)
        await folder.hard_link(twin, path)
        return True

    async def _copied_inside(self, folder: Any, path: FolderPath) -> bool:
        """Have the storage copy it; ``False`` if it has to be streamed, or is gone."""
        source: Any = self._source
        try:
            await source.copy_file(path, folder, path, ANY)
        except Unsupported:
            self._inside = False
            return False
        except _GONE:
            return False  # here or there: streaming tells
        return True

    async def _stream(self, folder: IFolder, path: FolderPath, stat: FileStat) -> int | None:
        """Bytes copied; ``None`` if the file is gone."""
        try:
            stage = await trees.stage_copy(self._source, path, folder, path, self._hurry)
        except _GONE:
            return None
        try:
            await stage.commit(path, ANY)
        finally:
            await stage.discard()
        await folder.set_attrs(path, trees.kept_of(self._source, stat))
        return stage.size

    # --- what is in the way ---

    async def _remove(self, entry: Copied) -> None:
        folder = await self._anybody()
        try:
            if entry.kind is FileType.DIRECTORY:
                await folder.remove_dir(entry.path)
            else:
                await folder.remove(entry.path, ANY)
        except NotFound:
            return
        except (IsADirectory, NotADirectory, DirectoryNotEmpty):
            await self._clear(entry.path)

    async def _clear(self, path: FolderPath) -> None:
        """Remove whatever is at ``path``."""
        folder = await self._anybody()
        with suppress(NotFound, NotADirectory):
            if (await folder.stat(path)).is_dir:
                await trees.remove_tree(folder, path, lambda _: None)
            else:
                await folder.remove(path, ANY)
        await self._index.forget_below(self._folded(path))

    # --- where ---

    async def _folder_of(self, stat: FileStat) -> IFolder:
        """The copy, on behalf of whom the entry belongs to."""
        owner = (stat.uid, stat.gid)
        if owner not in self._folders:
            if len(self._folders) >= _OWNERS:
                self._folders.clear()
            self._folders[owner] = await self._target.folder(self._vfid, Actor(*owner))
        return self._folders[owner]

    async def _anybody(self) -> IFolder:
        return await self._target.folder(self._vfid, Actor())

    def _folded(self, path: FolderPath) -> FolderPath:
        return self._target.names.fold_path(path)

    def _key(self, path: FolderPath) -> bytes:
        return bytes(self._folded(path))

    def _hurry(self) -> None:
        if self.until is not None and self._clock.seconds() > self.until:
            raise OutOfTime


def _mark(stat: FileStat) -> str:
    if stat.is_dir:
        return f"{stat.mode:o}"
    return stat.identity if stat.is_file else stat.target or ""


def _clash(one: object, other: object) -> Conflict:
    return Conflict(f"the new storage does not tell these names apart: {one} and {other}")

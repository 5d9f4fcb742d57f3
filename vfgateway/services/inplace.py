"""Files that are changed in place: SFTP, and whatever else writes as POSIX does.

A writer has its file to itself for short windows of time: locks are checked exactly when one begins, a LOCK waits until it is over, and
its growth is reserved and settled at its end. So whoever was granted a lock sees no further
byte of somebody else, a limit is never exceeded, and after a crash a recount is all that is needed.

Where this process alone changes the vfolder and nobody has locked anything in it (:mod:`vfgateway.services.claims`), a single turn of the reactor
is window enough: what ends in ``_now`` checks, changes and settles within it.
"""

from __future__ import annotations

import os
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from vfgateway.eager import in_background
from vfgateway.errors import NotFound, StorageFailure, TooLarge, Unsupported, VFolderMoved
from vfgateway.interfaces import type_chunk
from vfgateway.model import Attrs, FileStat, OpenMode, Usage
from vfgateway.paths import FolderPath
from vfgateway.services.claimed import is_claimed, settle_now, take_now
from vfgateway.services.context import FolderContext
from vfgateway.services.following import follow
from vfgateway.services.gaps import Gap
from vfgateway.services.handles import LARGEST, Handle, set_attrs_of
from vfgateway.services.windows import Window

log = Logger()
_NONE = Usage()


class WritableHandle(Handle):
    """A file opened for reading and writing in place."""

    writable = True

    def __init__(self, context: FolderContext, path: FolderPath, file: Any, window: Window | None) -> None:
        super().__init__(context, path, file)
        self._gate: DeferredLock | None = None  # made for those that need a window: most small files do not
        self._window: Window | None = None
        self._failed = False
        self._gap = Gap()
        self._unnamed: int | None = None
        if window is not None:
            self._use(window)

    def _use(self, window: Window) -> None:
        self._window = window
        window.when_late(lambda: self._in_background(self._end(window)))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        in_background(work, lambda: log.failure("could not settle what was written in place"))

    async def _enter(self) -> Window:
        window = self._window
        if window is None or window.over:
            window = await self._new_window()
        window.users += 1
        return window

    async def _new_window(self) -> Window:
        gate = self._gate = self._gate or DeferredLock()
        async with gate:
            self._check()
            if self._window is not None and not self._window.over:
                return self._window
            if self._window is not None:
                await self._finish(self._window)
            try:
                window = await Window.begin(self.context, self.path, True)
            except VFolderMoved:
                await self._follow()
                window = await Window.begin(self.context, self.path, True)
            try:
                # Under the intent nobody else here changes it; what others did since the last window is theirs to settle.
                stat: FileStat = await self._file.stat()
                window.began_with = window.size = stat.size
                if not stat.nlink:
                    window.unnamed = self._unnamed or 0
            except BaseException:
                await window.end()
                raise
            self._use(window)
            return window

    async def _follow(self) -> None:
        """Go on with the same file where its vfolder lies now: what was written before it moved is there. ``StorageFailure`` if the file has
        lost its name, or another one has it."""
        context = await follow(self.context)
        gone = StorageFailure(f"moved to other storage, where it is not the same any more: {self.path}")
        before: FileStat = await self._file.stat()
        try:
            file: Any = await context.folder.open(self.path, OpenMode.READ | OpenMode.WRITE)
        except (NotFound, Unsupported):
            raise gone from None
        now: FileStat = await file.stat()
        if now.size != before.size or not before.nlink:
            await file.close()
            raise gone
        self._give_back()
        await self._file.close()
        self.context = context
        self._use_file(file)

    async def _end(self, window: Window) -> None:
        window.over = True
        if self._window is window:
            await self._finish(window)

    async def _finish(self, window: Window) -> None:
        window.over = True
        self._window = None
        try:
            if self._failed:
                window.size = (await self._file.stat()).size
                self._failed = False
            if window.intent.standing.tracked:
                await self._tell_names(window)
        finally:
            await window.end()
            self._unnamed = window.unnamed
            if self._closed:
                await self._forget_unnamed()

    async def _forget_unnamed(self) -> None:
        """What was written to the file since it lost its name is gone with it, as far as it can be told from here."""
        unnamed, self._unnamed = self._unnamed, None
        if unnamed:
            folder = self.context.folder_of(self.path)
            await self.context.gateway.quota.change(self.context.vfolder, Usage(-unnamed), folder=folder)

    async def _tell_names(self, window: Window) -> None:
        """Whoever follows the vfolder is told of the file's path: see whether it still is that, and no other."""
        window.intent.unclear = True  # unless it turns out well
        stat = await self._file.stat()
        with suppress(NotFound):
            named = await self.context.folder.stat(self.path)
            window.intent.unclear = named.identity != stat.identity or stat.nlink > 1

    async def write(self, offset: int, chunks: Sequence[type_chunk]) -> None:
        self._check()
        count = sum(map(len, chunks))
        end = offset + count
        if end > LARGEST:
            raise TooLarge(LARGEST, end)
        with self._gap.writing(offset):
            await self._write(offset, end, chunks)
        self.written_bytes += count

    async def _write(self, offset: int, end: int, chunks: Sequence[type_chunk]) -> None:
        window = await self._enter()
        try:
            if end > window.size:
                await window.make_room(end)
                self._gap.check(offset)  # others may have been refused meanwhile
            try:
                await self._file.write(offset, chunks)
            except BaseException:
                self._failed = True
                raise
            if end > window.size and end > offset:
                window.size = end
        finally:
            window.leave()

    def write_now(self, offset: int, chunks: Sequence[type_chunk]) -> bool:
        self._check()
        count = len(chunks[0]) if len(chunks) == 1 else sum(map(len, chunks))
        end = offset + count
        if self._window is not None:
            return self._write_within(self._window, offset, count, chunks)
        size = self._size_now()
        if size is None or not count or end > LARGEST or self._gap.is_open:
            return False
        wanted, grown = Usage(end - size if end > size else 0), _NONE
        needs = take_now(self.context, wanted)
        if needs is None:
            return False
        try:
            if not self._file.write_now(offset, chunks):
                return False
            grown = wanted
        except Exception as error:
            grown = Usage(os.fstat(self._number()).st_size - size)  # by what was written before it failed
            self._gap.begin(offset, error)
            raise
        finally:
            if grown.bytes or needs:
                settle_now(self.context, self.path, grown, needs)
        self.written_bytes += count
        return True

    def _write_within(self, window: Window, offset: int, count: int, chunks: Sequence[type_chunk]) -> bool:
        """Write at once, in a window that has begun, and into room that it has."""
        end = offset + count
        if window.over or not self._at_hand or not count or self._gap.is_open or not window.has_room(end):
            return False
        try:
            if not self._file.write_now(offset, chunks):
                return False
        except Exception as error:
            self._failed = True
            self._gap.begin(offset, error)
            raise
        window.size = max(window.size, end)
        self.written_bytes += count
        return True

    def truncate_now(self, size: int) -> bool:
        """See :meth:`truncate`; to cut alone. Not a coroutine."""
        self._check()
        present = self._size_now()
        if present is None or size > present:
            return False
        cut = bool(self._file.truncate_now(size))
        if cut:
            self._gap.cut(size)
            if size < present:
                settle_now(self.context, self.path, Usage(size - present), {})
        return cut

    def set_attrs_now(self, attributes: Attrs) -> FileStat | None:
        self._check()
        if self._size_now() is None:
            return None
        changed: FileStat | None = self._file.set_attrs_now(attributes)
        return changed

    def _size_now(self) -> int | None:
        """The bytes of the file, if it can be changed within this turn of the reactor; it has a name and no window then."""
        if self._window is not None or not self._at_hand or not self._file.in_place:
            return None
        if not is_claimed(self.context, self.path):
            return None
        found = os.fstat(self._number())
        return found.st_size if found.st_nlink else None

    async def truncate(self, size: int) -> None:
        self._check()
        if size > LARGEST:
            raise TooLarge(LARGEST, size)
        window = await self._enter()
        try:
            await window.make_room(size)
            await self._file.truncate(size)
            window.size = size
            self._gap.cut(size)
        finally:
            window.leave()

    async def set_attrs(self, attributes: Attrs) -> FileStat:
        self._check()
        window = await self._enter()
        try:
            return await set_attrs_of(self.context, self.path, self._file, attributes)
        finally:
            window.leave()

    async def rest(self) -> None:
        window = self._window
        if window is not None:
            await self._end(window)

    async def close(self) -> None:
        """As in the base class. What was written is settled at once; that it stands in the database is not waited for."""
        window = self._window
        if not self._closed:
            self._closed = True
            if window is None:
                await self._forget_unnamed()
            elif self._failed or window.intent.standing.tracked:  # the file is looked at once more
                await self._end(window)
            else:
                self._in_background(self._end(window))
        await self._let_go()

    @property
    def closes_quietly(self) -> bool:
        return self._window is None and not self._failed and not self._unnamed and super().closes_quietly

    def close_now(self) -> bool:
        window = self._window
        if self._failed or self._unnamed:
            return False
        if window is not None and (window.over or window.intent.standing.tracked):
            return False
        try:
            return super().close_now()
        finally:
            if self._closed and window is not None:
                self._in_background(self._end(window))


class CopyHandle(Handle):
    """A file on storage that cannot write in place: a bounded local copy, published at :meth:`sync` and :meth:`close`."""

    writable = True

    async def write(self, offset: int, chunks: Sequence[type_chunk]) -> None:
        self._check()
        await self._file.write(offset, chunks)
        self.written_bytes += sum(map(len, chunks))

    async def truncate(self, size: int) -> None:
        self._check()
        await self._file.truncate(size)

    async def set_attrs(self, attributes: Attrs) -> FileStat:
        self._check()
        stat: FileStat = await self._file.set_attrs(attributes)
        return stat

    async def close(self) -> None:
        if self._closed:
            return
        try:
            await self._file.sync()
        finally:
            await super().close()

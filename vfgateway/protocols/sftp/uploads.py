"""``.uploads/NAME-TOKEN``: what tus or a resumable PUT began in a vfolder and has not brought to its end, shown to whoever may continue it.

It goes on at its end and nowhere else, which is what ``reput`` does, and becomes the file it was meant to be once the declared length is
reached. Removing it cancels it; renaming it out of here publishes it there. Nothing of this is on the storage, and the directory
itself is in no listing, so that mirrors neither copy nor remove what is on its way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import attrs
from twisted.internet.defer import DeferredLock

from vfgateway.abilities import IResumableStaging
from vfgateway.errors import (
    AlreadyExists,
    Conflict,
    GatewayError,
    IsADirectory,
    NotADirectory,
    NotFound,
    Unsupported,
    UploadLost,
    UploadNotFound,
)
from vfgateway.interfaces import type_chunk
from vfgateway.model import ANY, Attrs, DirEntry, Expect, FileStat, FileType, OpenMode, Permission
from vfgateway.paths import LONGEST_NAME, ROOT, FolderPath
from vfgateway.protocols.sftp.listing import Known
from vfgateway.services.handles import Handle
from vfgateway.services.reading import Download, Listing
from vfgateway.services.receiving import MARK_EVERY
from vfgateway.services.resumable import ResumableUpload
from vfgateway.services.session import FolderSession
from vfgateway.services.uploadfacts import may_continue
from vfgateway.services.uploads import UploadRow, UploadState

#: The directory's name, one of ``paths.RESERVED_NAMES``: nobody's file is ever called so.
NAME = ".uploads"
#: Hexadecimal digits of a token.
_TOKEN = 32


def is_here(path: FolderPath) -> bool:
    """Whether ``path`` is the directory or lies in it."""
    return path.parts[:1] == (NAME,)


def shown_name(row: UploadRow) -> str:
    """What an upload is called; the name of its target is cut where both would be too long for one name."""
    name = row.target.name or "part"
    while len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME - 1 - _TOKEN:
        name = name[:-1]
    return f"{name}-{row.id}"


class UploadsView(FolderSession):
    """A vfolder's session for the paths in here; what it does not redefine is refused, since the name is reserved."""

    def __init__(self, folder: FolderSession) -> None:
        super().__init__(folder.context)
        self.staging = folder.context.gateway.staging

    # --- looking ---

    async def stat(self, path: FolderPath, follow: bool = False) -> FileStat:
        """Facts. An upload that a crash left whole but unpublished is published by being looked at, as by HEAD in tus."""
        if len(path.parts) == 1:
            return await self._directory()
        row = await self._row(path)
        if row.size == row.mark and self.access.permission >= Permission.RW:
            with contextlib.suppress(GatewayError):
                await (await self.staging.resume(self, row.id)).refresh()
            row = await self._row(path)
        return (await self._entries([row]))[0].stat

    async def list(self, path: FolderPath) -> Listing:
        """All that the principal may continue in this vfolder."""
        if len(path.parts) > 1:
            await self._row(path)
            raise NotADirectory(path)
        return Known(await self._entries(await self._rows()))

    async def download(self, path: FolderPath) -> Download:
        """Refused."""
        await self._row(path)
        raise Unsupported("reading an upload before it is whole")

    async def _rows(self) -> Sequence[UploadRow]:
        rows = await self.staging.uploads.list(self.vfolder.key, unfinished=True)
        now = self.staging.now()
        return [row for row in rows if self._shows(row) and row.expires > now]

    def _shows(self, row: UploadRow) -> bool:
        here = row.vfolder == self.vfolder.key and row.state is not UploadState.PUBLISHED
        return here and may_continue(self.context, row)

    async def _row(self, path: FolderPath) -> UploadRow:
        """The upload that is shown under ``path``. ``NotFound``."""
        if len(path.parts) == 1:
            raise IsADirectory(path)
        name = path.parts[1]
        try:
            row = await self.staging.uploads.get(name[-_TOKEN:])
        except UploadNotFound:
            raise NotFound(path) from None
        if not self._shows(row) or name != shown_name(row):
            raise NotFound(path)
        if len(path.parts) > 2:
            raise NotADirectory(path)
        return row

    async def _directory(self) -> FileStat:
        changed = max([_changed(row) for row in await self._rows()], default=0)
        top = await super().stat(ROOT)
        return FileStat(
            FileType.DIRECTORY, 0, 0o700, top.uid, top.gid, changed or top.mtime_ns, top.ctime_ns, "uploads"
        )

    async def _entries(self, rows: Sequence[UploadRow]) -> Sequence[DirEntry]:
        """Uploads as files, with the bytes that are there now: after another boot only those that are certain."""
        if not rows:
            return ()
        folder, top = self.context.folder, await super().stat(ROOT)
        stages = dict(await folder.stages()) if IResumableStaging.providedBy(folder) else {}
        entries = []
        for row in rows:
            size, changed, stage = row.mark, _changed(row), stages.get(row.id)
            if stage is not None and row.boot_id == self.staging.boot_id and not row.unverified:
                size, changed = max(size, stage.size), stage.mtime_ns
            stat = FileStat(FileType.FILE, size, 0o600, top.uid, top.gid, changed, changed, f"{row.id}-{size}")
            entries.append(DirEntry(shown_name(row), stat))
        return entries

    # --- going on, giving up ---

    async def open(self, path: FolderPath, mode: OpenMode) -> Handle:
        """Open an upload to go on with it."""
        row = await self._row(path)
        if not mode & OpenMode.WRITE:
            raise Unsupported("reading an upload before it is whole")
        if OpenMode.EXCLUSIVE in mode:
            raise AlreadyExists(path)
        size = (await self._entries([row]))[0].stat.size
        if OpenMode.TRUNCATE in mode and size:
            raise Conflict(f"{size} bytes of this upload are there already: continue it with reput, or remove it")
        return UploadHandle(self, path, await self.staging.resume(self, row.id))

    def open_now(self, path: FolderPath, mode: OpenMode) -> Handle | None:
        """Never: the database has to be asked."""
        return None

    async def remove(self, path: FolderPath, expect: Expect = ANY) -> None:
        """Cancel an upload."""
        row = await self._row(path)
        await (await self.staging.resume(self, row.id)).cancel()

    async def rename(self, source: FolderPath, target: FolderPath, expect: Expect = ANY) -> None:
        """Publish an upload that has all its bytes, or whose length nobody has declared, as ``target``."""
        row = await self._row(source)
        if is_here(target):
            raise Unsupported("renaming an upload")
        upload = await self.staging.resume(self, row.id)
        await upload.acquire()
        try:
            if upload.published:
                raise NotFound(source)
            if upload.partial:
                raise Conflict("this is a part of an upload that its client has yet to put together")
            if upload.size is not None and not upload.whole:
                raise Conflict(f"only {upload.offset} of {upload.size} bytes are there: continue it with reput")
            await upload.retarget(target)
            await upload.finish()
        finally:
            await upload.release()


class UploadHandle(Handle):
    """An upload that is being continued. It is held while bytes come, and taken up again if somebody else has looked at it meanwhile."""

    writable = True

    def __init__(self, view: UploadsView, path: FolderPath, upload: ResumableUpload) -> None:
        super().__init__(view.context, path, None)
        self._view = view
        self._upload = upload
        self._refusal: GatewayError | None = None  # why it could not be published
        self._times: Attrs | None = None
        self._one = DeferredLock()

    async def read(self, offset: int, length: int) -> bytes:
        raise Unsupported("reading an upload before it is whole")

    async def write(self, offset: int, chunks: Sequence[type_chunk]) -> None:
        """Add at the end. ``Conflict`` anywhere else; and all that publishing may raise, once the declared length is reached."""
        self._check()
        async with self._one:
            if self._refusal is not None:
                raise self._refusal
            await self._hold()
            upload = self._upload
            if offset != upload.offset:
                raise Conflict(f"this upload goes on at byte {upload.offset}, not at {offset}: continue it with reput")
            await upload.write(chunks)
            self.written_bytes += sum(map(len, chunks))
            if upload.whole:
                await self._finish()
            elif upload.offset - upload.marked >= MARK_EVERY:
                await upload.mark()

    async def _hold(self) -> None:
        upload, leases = self._upload, self._view.staging.leases
        if upload.lease is not None:
            try:
                leases.check(upload.lease)
                return
            except UploadLost:
                await upload.release()
        if not upload.published:
            await upload.acquire()
        if upload.lease is None:
            raise Conflict("this upload has been published already")
        upload.lease.heard = lambda: self.written_bytes

    async def _finish(self) -> None:
        try:
            await self._upload.finish()
        except GatewayError as refusal:
            self._refusal = refusal
            raise
        if self._times is not None:
            await FolderSession(self.context).set_attrs(self._place, self._times)

    async def truncate(self, size: int) -> None:
        """Only to what it is."""
        self._check()
        if size != (await self.stat()).size:
            raise Unsupported("cutting or extending an upload")

    async def sync(self) -> None:
        self._check()
        async with self._one:
            if self._upload.lease is not None:
                await self._upload.mark()

    async def stat(self) -> FileStat:
        """Facts about the upload; once it is whole, about the file."""
        self._check()
        return await (FolderSession(self.context) if self._upload.published else self._view).stat(self._place)

    async def set_attrs(self, attributes: Attrs) -> FileStat:
        """Of the file; times that are told before it is there are kept for it. A mode is not: new files have the site's."""
        self._check()
        if not self._upload.published:
            self._times = attrs.evolve(attributes, mode=None)
            return await self.stat()
        return await FolderSession(self.context).set_attrs(self._place, attributes)

    @property
    def _place(self) -> FolderPath:
        return self._upload.target if self._upload.published else self.path

    async def rest(self) -> None:
        async with self._one:
            await self._upload.release()

    async def close(self) -> None:
        """Let go, with a durable mark of what has come."""
        self._closed = True
        self._unguard()
        async with self._one:
            with contextlib.suppress(UploadNotFound):
                await self._upload.release()


def _changed(row: UploadRow) -> int:
    """When the upload last made durable progress, in nanoseconds: each mark puts its end off by its lifetime."""
    return int((row.expires - row.lifetime) * 10**9)

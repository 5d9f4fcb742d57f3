"""Directories as one zip file, sent while it is made: the first byte goes out with the first file, and memory stays the same at any
size.

A link to a file within the vfolder is archived as that file. What cannot be had (vanished, unreadable, a link that dangles or leads
out of the vfolder, a link to a directory, a FIFO) is left out and named in a last member, so that nobody mistakes the archive for
all there is. A file that breaks off in the middle ends the connection instead, without the mark of a whole answer.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import IO

import attrs
from twisted.internet.defer import Deferred

from vfgateway.blocking import Pool
from vfgateway.eager import begin
from vfgateway.errors import (
    GatewayError,
    IsADirectory,
    LeavesFolder,
    NotFound,
    PathError,
    StorageFailure,
    UnsupportedFileType,
)
from vfgateway.interfaces import type_chunk
from vfgateway.model import FileStat, FileType, Permission
from vfgateway.paths import FolderPath
from vfgateway.protocols.client.zipping import ZipWriter, shown_name
from vfgateway.protocols.web.disposition import attachment
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.sending import CHUNK, Gate
from vfgateway.services.processes import wait
from vfgateway.services.reading import Download
from vfgateway.services.session import FolderSession

#: Files opened ahead of the one being sent.
AHEAD = 8
#: Bytes up to which a file is read as a whole, ahead of its turn.
SMALL = 256 << 10
#: Bytes that are sent at once.
WRITE = 256 << 10
#: Seconds after which others have their turn.
TURN = 0.004
#: Lines of the report of what was left out.
MOST_LINES = 10_000
#: What the report is called.
REPORT = "__skipped__.txt"


@attrs.frozen
class Top:
    """A file or directory to be archived with all below it; members are called by their path below ``base``."""

    path: FolderPath
    base: FolderPath


@attrs.frozen
class Fetched:
    """An entry whose turn comes soon: its content, or an open file, or why it has neither."""

    path: FolderPath
    stat: FileStat
    data: type_chunk | None = None
    download: Download | None = None
    error: GatewayError | None = None


def distinct(tops: Sequence[Top]) -> list[Top]:
    """The same without what lies within another."""
    kept: dict[FolderPath, Top] = {}
    paths = {top.path for top in tops}
    for top in tops:
        above = [FolderPath(top.path.parts[:count]) for count in range(len(top.path.parts))]
        if not any(path in paths for path in above):
            kept.setdefault(top.path, top)
    return list(kept.values())


async def send_archive(
    request: StreamingRequest, folder: FolderSession, tops: Sequence[Top], name: str, pool: Pool, no_store: bool = False
) -> None:
    """Answer a GET or HEAD with ``tops`` as a zip file called ``name``. Does not finish the request.

    :param pool: where the table of members is made
    """
    request.setHeader(b"content-type", b"application/zip")
    request.setHeader(b"content-disposition", attachment(name))
    request.setHeader(b"x-content-type-options", b"nosniff")
    if no_store:
        request.setHeader(b"cache-control", b"no-store")
    if request.method == b"HEAD":
        request.write(b"")
        return
    unguard = folder.context.standing.guard(Permission.RO, request.abort)
    with Gate(request) as gate:
        archive = _Archive(request, gate, folder)
        try:
            for top in distinct(tops):
                await archive.add(top)
            await archive.finish(pool)
        finally:
            unguard()
            archive.abandon()


class _Archive:
    """One archive being sent."""

    def __init__(self, request: StreamingRequest, gate: Gate, folder: FolderSession) -> None:
        self._request = request
        self._gate = gate
        self._folder = folder
        self._zip = ZipWriter()
        self._base = FolderPath()
        self._begun = False
        self._empty: dict[FolderPath, FileStat] = {}
        self._report: list[str] = []
        self._unlisted = 0

    async def add(self, top: Top) -> None:
        """Add a top with all below it."""
        self._base = top.base
        try:
            stat = await self._folder.stat(top.path, follow=True)
        except PathError as error:
            self._skip(top.path, error)
            return
        if not stat.is_dir:
            await self._add_all([(top.path, stat)])
            return
        if top.path != top.base:
            self._empty[top.path] = stat
        walk = self._folder.walk(top.path)
        try:
            while entries := await walk.read():
                wanted = []
                for entry in entries:
                    if entry.error is not None:
                        self._skip(entry.path, entry.error)
                    else:
                        wanted.append((entry.path, entry.stat))
                await self._add_all(wanted)
        except PathError as error:
            self._skip(top.path, error)
        finally:
            await walk.close()
        await self._add_empty()

    async def _add_all(self, entries: Sequence[tuple[FolderPath, FileStat]]) -> None:
        """Add entries in their order, with the next ones being opened and read meanwhile."""
        coming: deque[Fetched | Deferred[Fetched]] = deque()
        left, clock = iter(entries), self._request.site.reactor
        until = clock.seconds() + TURN
        try:
            while True:
                self._fetch_ahead(coming, left)
                if not coming:
                    return
                first = coming.popleft()
                await self._add(await first if isinstance(first, Deferred) else first)
                if clock.seconds() >= until:  # what is at hand is never waited for
                    await wait(clock, 0)
                    until = clock.seconds() + TURN
        finally:
            for fetching in coming:
                if isinstance(fetching, Deferred):
                    fetching.addCallbacks(_let_go, lambda _: None)
                    fetching.cancel()
                else:
                    _let_go(fetching)

    def _fetch_ahead(
        self, coming: deque[Fetched | Deferred[Fetched]], left: Iterator[tuple[FolderPath, FileStat]]
    ) -> None:
        while len(coming) < AHEAD:
            entry = next(left, None)
            if entry is None:
                return
            path, stat = entry
            if stat.is_dir:
                self._empty[path] = stat
            elif stat.type is FileType.OTHER:
                self._skip(path, UnsupportedFileType(path))
            else:
                coming.append(self._fetch_now(path) or begin(self._fetch(path, stat)))

    def _fetch_now(self, path: FolderPath) -> Fetched | None:
        """A small file whose content is at hand; ``None`` of all others, and where anything is in the way."""
        try:
            found = self._folder.read_now(path, _small)
        except (PathError, StorageFailure):
            return None
        if found is None or found[0].size > SMALL:
            return None
        return Fetched(path, *found)

    async def _fetch(self, path: FolderPath, stat: FileStat) -> Fetched:
        try:
            download = await self._folder.download(path)
        except (PathError, StorageFailure) as error:
            return Fetched(path, stat, error=error)
        if download.stat.size > SMALL:
            return Fetched(path, download.stat, download=download)
        try:
            data = await download.file.read(0, download.stat.size) if download.stat.size else b""
        except (PathError, StorageFailure) as error:
            return Fetched(path, stat, error=error)
        finally:
            await download.close()
        return Fetched(path, download.stat, data)

    async def _add(self, entry: Fetched) -> None:
        if entry.error is not None:
            self._skip(entry.path, entry.error)
            return
        self._not_empty(entry.path)
        name = self._name(entry.path)
        try:
            with self._zip.member(name, entry.stat) as member:
                if entry.download is not None:
                    size = await self._copy(entry.download, entry.stat.size, member)
                else:
                    size = member.write(entry.data or b"")
        finally:
            _let_go(entry)
        if size < entry.stat.size:
            self._note(entry.path, f"became shorter while it was read: {size} of {entry.stat.size} bytes are here")
        if self._zip.size >= WRITE or not self._begun:
            await self._send()

    def _name(self, path: FolderPath) -> str:
        name, exact = shown_name(path.relative_to(self._base).parts or (path.name,))
        if not exact:
            self._note(path, "is called so here since its name on disk is not UTF-8")
        return name

    async def _copy(self, download: Download, size: int, member: IO[bytes]) -> int:
        """The content of a large file, one chunk read ahead; how much there was of the ``size`` bytes expected."""
        offset = 0
        coming = Deferred.fromCoroutine(download.file.read(0, CHUNK))
        try:
            while data := await coming:
                offset += len(data)
                if offset < size:
                    coming = Deferred.fromCoroutine(download.file.read(offset, min(CHUNK, size - offset)))
                member.write(data)
                await self._send()
                if offset >= size:
                    break
        finally:
            coming.addErrback(lambda _: None)
            coming.cancel()
        return offset

    async def _send(self) -> None:
        self._begun = True
        self._request.write(self._zip.taken())
        await self._gate.passed()

    # --- directories without members ---

    def _not_empty(self, path: FolderPath) -> None:
        at = path.parent
        while self._empty.pop(at, None) is not None:
            at = at.parent

    async def _add_empty(self) -> None:
        for path in list(self._empty):
            self._not_empty(path)
        for path in sorted(self._empty):
            self._zip.directory(self._name(path), self._empty[path])
            if self._zip.size >= WRITE:
                await self._send()
        self._empty.clear()

    # --- the report ---

    def _skip(self, path: FolderPath, error: GatewayError) -> None:
        self._note(path, f"left out: {_reason(error)}")

    def _note(self, path: FolderPath, sentence: str) -> None:
        if len(self._report) < MOST_LINES:
            self._report.append(f"{shown_name(path.parts)[0]}: {sentence}")
        else:
            self._unlisted += 1

    def abandon(self) -> None:
        """Nothing more will be added. Harmless after :meth:`finish`."""
        self._zip.abandon()

    async def finish(self, pool: Pool) -> None:
        """Add the report, if there is anything to tell, and the table of members."""
        if self._report:
            if self._unlisted:
                self._report.append(f"... and {self._unlisted} more")
            text = "This archive is not all there is.\r\n\r\n" + "".join(f"{line}\r\n" for line in self._report)
            now = int(self._request.site.reactor.seconds() * 1e9)
            data = text.encode("utf-8")
            with self._zip.member(REPORT, FileStat(FileType.FILE, len(data), 0o644, 0, 0, now, now, "")) as member:
                member.write(data)
        await pool.run(self._zip.close)
        table = self._zip.taken()
        for start in range(0, len(table), CHUNK):
            self._request.write(table[start : start + CHUNK])
            await self._gate.passed()


def _small(stat: FileStat) -> tuple[int, int] | None:
    """What is read of a file at once."""
    return (0, stat.size) if stat.size <= SMALL else None


def _reason(error: GatewayError) -> str:
    """Why something was left out, without a word about what lies outside."""
    match error:
        case LeavesFolder():
            return "a link that leads out of the folder"
        case IsADirectory():
            return "a link to a directory"
        case NotFound():
            return "vanished, or a link to nothing"
        case UnsupportedFileType():
            return "not a regular file"
        case _:
            return "it cannot be read"


def _let_go(fetched: Fetched) -> None:
    """Close the file, if one is open; whoever called need not wait, and may have been cancelled."""
    if fetched.download is not None:
        Deferred.fromCoroutine(fetched.download.close())

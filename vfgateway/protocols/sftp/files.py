"""Requests on open files: OPEN, CLOSE, READ, WRITE, FSTAT, FSETSTAT."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from vfgateway.errors import PermissionDenied
from vfgateway.model import Attrs, OpenMode
from vfgateway.protocols.sftp import wire
from vfgateway.protocols.sftp.opened import OpenFile, Table, Telling
from vfgateway.protocols.sftp.places import Place, Places
from vfgateway.protocols.sftp.uploads import UploadHandle
from vfgateway.protocols.sftp.wire import Reader, Wanted


class Files:
    """See the module."""

    def __init__(self, places: Places, table: Table) -> None:
        self._places = places
        self._table = table

    def handlers(self) -> Mapping[int, Any]:
        """By request."""
        return {
            wire.OPEN: self.open,
            wire.CLOSE: self.close,
            wire.READ: self.read,
            wire.WRITE: self.write,
            wire.FSTAT: self.stat,
            wire.FSETSTAT: self.set_attrs,
        }

    async def open(self, request: int, reader: Reader) -> bytes:
        """OPEN."""
        raw, flags, wanted = reader.string(), reader.u32(), reader.attributes()
        self._table.check_room()
        began = self._table.gateway.reactor.seconds()
        writes = bool(flags & (wire.F_WRITE | wire.F_APPEND))
        with self._table.refusals("write" if writes else "read", raw):
            place = await self._places.entry(raw, "open")
            handle = await place.folder.open(place.path, _mode(flags, writes))
        # An upload is told where the client thinks that it ends, so that nothing comes into the wrong place.
        appends = bool(flags & wire.F_APPEND) and not isinstance(handle, UploadHandle)
        opened = OpenFile(place, handle, bool(flags & wire.F_READ) or not writes, writes, appends, began)
        try:
            if writes and flags & wire.F_CREATE and wanted.mode is not None and wanted.mode & 0o111:
                await _make_executable(opened, wanted.mode)
        except BaseException:
            await handle.close()
            raise
        return wire.answer(wire.HANDLE, request, wire.string(self._table.add(opened)))

    async def close(self, request: int, reader: Reader) -> bytes:
        """CLOSE."""
        await self._table.close(reader.string())
        return wire.success(request)

    async def read(self, request: int, reader: Reader) -> bytes:
        """READ, where it could not be answered at once."""
        opened = self._table.file(reader.string())
        offset, length = reader.u64(), min(reader.u32(), wire.LARGEST_PIECE)
        if not opened.reads:
            raise PermissionDenied(opened.place, "read what was opened for writing only")
        data = await opened.handle.read(offset, length)
        if not data and length:
            return wire.status(request, wire.EOF, "end of file")
        return wire.answer(wire.DATA, request, wire.string(data))

    async def write(self, request: int, reader: Reader) -> bytes:
        """WRITE, where it was not laid out as usual."""
        opened = self._table.file(reader.string())
        offset, data = reader.u64(), reader.string()
        if not opened.writes:
            raise PermissionDenied(opened.place, "write what was opened for reading only")
        if opened.appends:
            offset = (await opened.handle.stat()).size
        await opened.handle.write(offset, [data])
        return wire.success(request)

    async def stat(self, request: int, reader: Reader) -> bytes:
        """FSTAT."""
        stat = await self._table.file(reader.string()).handle.stat()
        return wire.answer(wire.ATTRS, request, wire.attributes(stat))

    async def set_attrs(self, request: int, reader: Reader) -> bytes:
        """FSETSTAT."""
        opened, wanted = self._table.file(reader.string()), reader.attributes()
        with Telling(self._table, "setstat", str(opened.place)):
            await _change(opened, wanted)
        return wire.success(request)


async def _change(opened: OpenFile, wanted: Wanted) -> None:
    handle = opened.handle
    if wanted.owner is not None:
        stat = await handle.stat()
        refuse_owner(opened.place, wanted, (stat.uid, stat.gid))
    if wanted.size is not None:
        if not opened.writes:
            raise PermissionDenied(opened.place, "cut what was opened for reading only")
        await handle.truncate(wanted.size)
    if (changes := wanted.changes) is not None:
        await handle.set_attrs(changes)


def refuse_owner(place: Place, wanted: Wanted, present: tuple[int, int]) -> None:
    """Files belong to whom the site says; only saying what is so already does no harm."""
    if wanted.owner != present:
        raise PermissionDenied(place, "change the owner")


@lru_cache(128)  # combining flags takes longer than all else that an OPEN needs here
def _mode(flags: int, writes: bool) -> OpenMode:
    mode = OpenMode.READ
    if writes:
        mode |= OpenMode.WRITE
        for flag, word in (
            (wire.F_CREATE, OpenMode.CREATE),
            (wire.F_TRUNCATE, OpenMode.TRUNCATE),
            (wire.F_EXCLUSIVE, OpenMode.EXCLUSIVE),
        ):
            if flags & flag:
                mode |= word
    return mode


async def _make_executable(opened: OpenFile, mode: int) -> None:
    """New files get the site's mode; what a client may add is that those who read may execute, as git and tar need it."""
    stat = await opened.handle.stat()
    if not stat.size:
        executable = stat.mode | (mode & 0o111 & (stat.mode >> 2))
        if executable != stat.mode:
            await opened.handle.set_attrs(Attrs(mode=executable))

"""Requests on open files: OPEN, CLOSE, READ, WRITE, FSTAT, FSETSTAT."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from vfgateway.errors import GatewayError, PermissionDenied
from vfgateway.model import Attrs, OpenMode
from vfgateway.protocols.sftp import faults, wire
from vfgateway.protocols.sftp.opened import OpenFile, Table, Telling
from vfgateway.protocols.sftp.places import Place, Places
from vfgateway.protocols.sftp.uploads import UploadHandle
from vfgateway.protocols.sftp.wire import Reader, Wanted

#: The answer to OPEN, with a handle of ours.
_HANDLE = struct.Struct(">IBII12s")
_OURS = struct.Struct(">I12s")


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

    def handlers_now(self) -> Mapping[int, Any]:
        """By request: functions that answer at once, or with ``None``, and then nothing has happened. Not coroutines. They know requests that
        are laid out as most are, for handles of ours."""
        return {
            wire.OPEN: self.open_now,
            wire.CLOSE: self.close_now,
            wire.FSTAT: self.stat_now,
            wire.FSETSTAT: self.set_attrs_now,
        }

    def open_now(self, request: int, body: bytes) -> bytes | None:
        """OPEN, where nothing has to be waited for."""
        end = 9 + int.from_bytes(body[5:9], "big")
        if len(body) < end + 8:
            return None
        raw, flags = bytes(body[9:end]), int.from_bytes(body[end : end + 4], "big")
        place = self._places.find_now(raw)
        writes = bool(flags & (wire.F_WRITE | wire.F_APPEND))
        if place is None or (writes and _may_execute(body, end + 4)):
            return None
        table = self._table
        table.check_room()
        began = table.gateway.reactor.seconds()
        try:
            handle = place.folder.open_now(place.path, _mode(flags, writes))
        except GatewayError as error:
            table.tell("write" if writes else "read", str(place), began=began, error=faults.text(error))
            raise
        if handle is None:
            return None
        reads, appends = not writes or bool(flags & wire.F_READ), bool(flags & wire.F_APPEND)
        return _HANDLE.pack(
            21, wire.HANDLE, request, 12, table.add(OpenFile(place, handle, reads, writes, appends, began))
        )

    def close_now(self, request: int, body: bytes) -> bytes | None:
        """CLOSE, likewise."""
        handle = _handle_of(body)
        return wire.success(request) if handle is not None and self._table.close_now(handle) else None

    def stat_now(self, request: int, body: bytes) -> bytes | None:
        """FSTAT, likewise."""
        handle = _handle_of(body)
        opened = None if handle is None else self._table.get(handle)
        if not isinstance(opened, OpenFile):
            return None
        stat = opened.handle.stat_now()
        return None if stat is None else wire.answer(wire.ATTRS, request, wire.attributes(stat))

    def set_attrs_now(self, request: int, body: bytes) -> bytes | None:
        """FSETSTAT of mode and times, likewise."""
        handle = _handle_of(body)
        opened = None if handle is None else self._table.get(handle)
        if not isinstance(opened, OpenFile):
            return None
        wanted = Reader(body, 21).attributes()
        changes = wanted.changes
        if wanted.owner is not None or wanted.size is not None or changes is None:
            return None
        began = self._table.gateway.reactor.seconds()
        if opened.handle.set_attrs_now(changes) is None:
            return None
        self._table.tell("setstat", str(opened.place), began=began)
        return wire.success(request)

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


def _handle_of(body: bytes) -> bytes | None:
    """The handle at the beginning of a request, if it is as long as ours are."""
    if len(body) < 21:
        return None
    size, handle = _OURS.unpack_from(body, 5)
    return handle if size == 12 else None


def _may_execute(body: bytes, at: int) -> bool:
    """Whether the attributes of an OPEN ask for a file that can be executed, or are such as have to be looked at."""
    flags = int.from_bytes(body[at : at + 4], "big")
    return flags != 0 and (flags != wire.A_MODE or bool(int.from_bytes(body[at + 4 : at + 8], "big") & 0o111))


async def _make_executable(opened: OpenFile, mode: int) -> None:
    """New files get the site's mode; what a client may add is that those who read may execute, as git and tar need it."""
    stat = await opened.handle.stat()
    if not stat.size:
        executable = stat.mode | (mode & 0o111 & (stat.mode >> 2))
        if executable != stat.mode:
            await opened.handle.set_attrs(Attrs(mode=executable))

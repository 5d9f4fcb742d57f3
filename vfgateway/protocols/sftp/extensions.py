"""Requests beyond version 3, as OpenSSH names them, and two by which clients verify what they sent."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from vfgateway.errors import InvalidArgument, InvalidPath, NotFound, PermissionDenied, StorageFailure, Unsupported
from vfgateway.model import ANY
from vfgateway.protocols.sftp import wire
from vfgateway.protocols.sftp.files import Files
from vfgateway.protocols.sftp.longname import Owners
from vfgateway.protocols.sftp.names import Names, same_vfolder
from vfgateway.protocols.sftp.opened import MOST_OPEN, Table, Telling
from vfgateway.protocols.sftp.places import Places, normal
from vfgateway.protocols.sftp.space import statvfs
from vfgateway.protocols.sftp.wire import Reader
from vfgateway.services.handles import Handle

if TYPE_CHECKING:
    from vfgateway.protocols.sftp.server import SftpServer

#: Bytes copied or hashed at once.
PIECE = 1 << 20
#: Ids that one question may hold.
_MOST_IDS = 4096

type_handler = Callable[[int, Reader], Awaitable[bytes]]


class Extensions:
    """See the module."""

    def __init__(
        self, places: Places, table: Table, files: Files, names: Names, owners: Owners, server: SftpServer
    ) -> None:
        self._places = places
        self._table = table
        self._files = files
        self._names = names
        self._owners = owners
        self._server = server
        self._handlers: dict[bytes, type_handler] = {
            b"posix-rename@openssh.com": self._posix_rename,
            b"statvfs@openssh.com": self._statvfs,
            b"fstatvfs@openssh.com": self._fstatvfs,
            b"hardlink@openssh.com": self._hard_link,
            b"fsync@openssh.com": self._sync,
            b"lsetstat@openssh.com": self._set_attrs_of_link,
            b"limits@openssh.com": self._limits,
            b"expand-path@openssh.com": self._expand_path,
            b"copy-data": self._copy_data,
            b"home-directory": self._home,
            b"users-groups-by-id@openssh.com": self._names_by_id,
            b"check-file": self._check_handle,  # as paramiko calls it
            b"check-file-handle": self._check_handle,
            b"check-file-name": self._check_name,
            b"md5-hash": self._md5_name,
            b"md5-hash-handle": self._md5_handle,
        }

    @staticmethod
    def offered() -> bytes:
        """What INIT is answered with."""
        names = {
            b"posix-rename@openssh.com": b"1",
            b"statvfs@openssh.com": b"2",
            b"fstatvfs@openssh.com": b"2",
            b"hardlink@openssh.com": b"1",
            b"fsync@openssh.com": b"1",
            b"lsetstat@openssh.com": b"1",
            b"limits@openssh.com": b"1",
            b"expand-path@openssh.com": b"1",
            b"copy-data": b"1",
            b"home-directory": b"1",
            b"users-groups-by-id@openssh.com": b"1",
            b"check-file": b"md5,sha1,sha256,sha512",
        }
        return b"".join(wire.string(name) + wire.string(value) for name, value in names.items())

    async def handle(self, request: int, reader: Reader) -> bytes:
        """EXTENDED."""
        handler = self._handlers.get(reader.string())
        if handler is None:
            return wire.status(request, wire.OP_UNSUPPORTED, "no such extension")
        return await handler(request, reader)

    # --- names ---

    async def _posix_rename(self, request: int, reader: Reader) -> bytes:
        await self._names.move(reader.string(), reader.string(), ANY)
        return wire.success(request)

    async def _hard_link(self, request: int, reader: Reader) -> bytes:
        source = await self._places.entry(reader.string(), "link")
        target = await self._places.entry(reader.string(), "link")
        with Telling(self._table, "link", str(source), str(target)):
            same_vfolder(source, target)
            await source.folder.hard_link(source.path, target.path)
        return wire.success(request)

    async def _set_attrs_of_link(self, request: int, reader: Reader) -> bytes:
        await self._names.change(reader.string(), reader.attributes(), False)
        return wire.success(request)

    async def _expand_path(self, request: int, reader: Reader) -> bytes:
        raw = reader.string()
        if raw.startswith(b"~"):
            user, _, rest = raw[1:].partition(b"/")
            if user and user != self._table.session.principal.name.encode("utf-8"):
                raise NotFound(raw.decode("utf-8", "surrogateescape"), "no such user")
            raw = rest
        return self._names.name(request, normal(raw))

    async def _home(self, request: int, reader: Reader) -> bytes:
        user = reader.string()
        if user and user != self._table.session.principal.name.encode("utf-8"):
            raise NotFound(user.decode("utf-8", "surrogateescape"), "no such user")
        return self._names.name(request, b"/")

    # --- facts ---

    async def _statvfs(self, request: int, reader: Reader) -> bytes:
        place = await self._places.find(reader.string())
        if place is not None:
            await place.folder.stat(place.path, True)
        folder = None if place is None else place.folder
        return wire.answer(
            wire.EXTENDED_REPLY, request, await statvfs(self._table.session, self._table.gateway, folder)
        )

    async def _fstatvfs(self, request: int, reader: Reader) -> bytes:
        folder = self._table.file(reader.string()).place.folder
        return wire.answer(
            wire.EXTENDED_REPLY, request, await statvfs(self._table.session, self._table.gateway, folder)
        )

    async def _limits(self, request: int, reader: Reader) -> bytes:
        self._server.big_answers = True  # who asks takes packets of the length that is told
        most = struct.pack(">QQQQ", 256 << 10, wire.LARGEST_PIECE, wire.LARGEST_PIECE, MOST_OPEN)
        return wire.answer(wire.EXTENDED_REPLY, request, most)

    async def _names_by_id(self, request: int, reader: Reader) -> bytes:
        users, groups = reader.string(), reader.string()
        if len(users) % 4 or len(groups) % 4 or len(users) + len(groups) > 4 * _MOST_IDS:
            raise wire.Malformed("a list of numbers cannot be read")
        known = await self._owners.names()
        ids = [int.from_bytes(users[at : at + 4], "big") for at in range(0, len(users), 4)]
        named = b"".join(wire.string(known.get(each, "").encode("utf-8")) for each in ids)
        unnamed = wire.string(b"") * (len(groups) // 4)
        return wire.answer(wire.EXTENDED_REPLY, request, wire.string(named) + wire.string(unnamed))

    # --- data ---

    async def _sync(self, request: int, reader: Reader) -> bytes:
        await self._table.file(reader.string()).handle.sync()
        return wire.success(request)

    async def _copy_data(self, request: int, reader: Reader) -> bytes:
        """Copy within the server; a length of 0 is all up to the end (draft-ietf-secsh-filexfer-extensions-00 section 7)."""
        source, at, length = self._table.file(reader.string()), reader.u64(), reader.u64()
        target, to = self._table.file(reader.string()), reader.u64()
        if not (source.reads and target.writes):
            raise PermissionDenied(target.place, "copy between files that were not opened for it")
        if source is target and (not length or abs(at - to) < length):
            raise InvalidArgument("copy-data", "the two ranges overlap")
        left = length or None
        while left is None or left:
            self._needed()
            data = await source.handle.read(at, PIECE if left is None else min(PIECE, left))
            if not data:
                break
            await target.handle.write(to, [data])
            at, to = at + len(data), to + len(data)
            left = None if left is None else left - len(data)
        return wire.success(request)

    def _needed(self) -> None:
        """Before each piece of what takes long. ``StorageFailure`` if nobody waits for it any more."""
        if self._server.gone:
            raise StorageFailure("the client has gone")

    async def _check_handle(self, request: int, reader: Reader) -> bytes:
        handle = self._table.file(reader.string()).handle
        return await self._check(request, handle, reader)

    async def _check_name(self, request: int, reader: Reader) -> bytes:
        place = await self._places.entry(reader.string(), "check")
        async with self._table.reading(place, "checksum") as file:
            return await self._check(request, file, reader)

    async def _check(self, request: int, file: Handle, reader: Reader) -> bytes:
        """draft-ietf-secsh-filexfer-extensions-00 section 3: digests of blocks, or of the whole."""
        algorithms, at, length, block = reader.string().split(b","), reader.u64(), reader.u64(), reader.u32()
        algorithm = next((name for name in algorithms if name in (b"md5", b"sha1", b"sha256", b"sha512")), None)
        if algorithm is None:
            raise Unsupported("these digests")
        if 0 < block < 256:
            raise InvalidArgument("block-size", "at least 256, or 0 for the whole")
        end = (await file.stat()).size
        end = end if not length else min(end, at + length)
        if block and (end - at) // block > 4096:
            raise InvalidArgument("block-size", "too small for so much")
        digests: list[bytes] = []
        while at < end or not digests:
            stop = min(end, at + block) if block else end
            digests.append(await self._digest(file, algorithm.decode("ascii"), at, stop))
            at = stop
        # The name of the extension first, as every client and server has it, and no draft since the first.
        head = wire.string(b"check-file") + wire.string(algorithm)
        return wire.answer(wire.EXTENDED_REPLY, request, head + b"".join(digests))

    async def _md5_handle(self, request: int, reader: Reader) -> bytes:
        return await self._md5(request, self._table.file(reader.string()).handle, reader)

    async def _md5_name(self, request: int, reader: Reader) -> bytes:
        place = await self._places.entry(reader.string(), "check")
        async with self._table.reading(place, "checksum") as file:
            return await self._md5(request, file, reader)

    async def _digest(self, file: Handle, algorithm: str, at: int, end: int) -> bytes:
        return await digest(file, algorithm, at, end, self._needed)

    async def _md5(self, request: int, file: Handle, reader: Reader) -> bytes:
        at, length, quick = reader.u64(), reader.u64(), reader.string()
        end = (await file.stat()).size
        end = end if not length else min(end, at + length)
        if quick and await self._digest(file, "md5", at, min(end, at + 2048)) != quick:
            return wire.answer(wire.EXTENDED_REPLY, request, wire.string(b"md5-hash") + wire.string(b""))
        found = await self._digest(file, "md5", at, end)
        return wire.answer(wire.EXTENDED_REPLY, request, wire.string(b"md5-hash") + wire.string(found))


async def digest(file: Handle, algorithm: str, at: int, end: int, needed: Callable[[], object]) -> bytes:
    """Of the bytes from ``at`` up to ``end``. ``InvalidPath`` if the file becomes shorter meanwhile.

    :param needed: called before each piece; raises if the digest is not wanted any more
    """
    found = hashlib.new(algorithm, usedforsecurity=False)
    while at < end:
        needed()
        data = await file.read(at, min(PIECE, end - at))
        if not data:
            raise InvalidPath("", "the file was cut while it was read")
        found.update(data)
        at += len(data)
    return found.digest()

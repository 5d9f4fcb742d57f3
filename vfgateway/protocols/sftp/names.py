"""Requests on names: attributes, directories, links, renaming and removing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from vfgateway.errors import AlreadyExists, GatewayError, InvalidPath, NotFound, Unsupported
from vfgateway.model import ABSENT, ANY, DirEntry, Expect, FileStat, FileType, OpenMode, Permission
from vfgateway.paths import ROOT
from vfgateway.protocols.sftp import wire
from vfgateway.protocols.sftp.files import refuse_owner
from vfgateway.protocols.sftp.listing import Known, OpenDirectory
from vfgateway.protocols.sftp.longname import Owners
from vfgateway.protocols.sftp.opened import Table, Telling
from vfgateway.protocols.sftp.places import Place, Places, normal
from vfgateway.protocols.sftp.wire import Reader, Wanted
from vfgateway.services.reading import Listing

#: Bytes of one answer to READDIR: for clients that are known to take 256 KiB, and for others (sshfs takes 128).
BIG_ANSWER, ANSWER = 200_000, 100_000
#: Clients that send the arguments of SYMLINK as the draft has them to servers that do not call themselves OpenSSH.
_BY_THE_DRAFT = (b"SSH-2.0-AsyncSSH", b"SSH-2.0-libssh_", b"SSH-2.0-WinSCP")


class Client(Protocol):
    """What is known of the client."""

    big_answers: bool
    version: bytes


class Names:
    """See the module."""

    def __init__(self, places: Places, table: Table, owners: Owners, client: Client) -> None:
        self._places = places
        self._table = table
        self._owners = owners
        self._client = client

    def handlers(self) -> Mapping[int, Any]:
        """By request."""
        return {
            wire.STAT: self.stat,
            wire.LSTAT: self.lstat,
            wire.SETSTAT: self.set_attrs,
            wire.OPENDIR: self.open_dir,
            wire.READDIR: self.read_dir,
            wire.REMOVE: self.remove,
            wire.MKDIR: self.make_dir,
            wire.RMDIR: self.remove_dir,
            wire.REALPATH: self.real_path,
            wire.RENAME: self.rename,
            wire.READLINK: self.read_link,
            wire.SYMLINK: self.make_link,
        }

    def handlers_now(self) -> Mapping[int, Any]:
        """By request: as those of ``Files``."""
        return {wire.STAT: self.stat_now, wire.LSTAT: self.stat_now}

    # --- attributes ---

    def stat_now(self, request: int, body: bytes) -> bytes | None:
        """STAT and LSTAT, where nothing has to be waited for, of what is no link. Not a coroutine."""
        end = 9 + int.from_bytes(body[5:9], "big")
        place = self._places.find_now(bytes(body[9:end])) if len(body) >= end else None
        look = None if place is None else place.folder.stat_at_hand(place.path)
        stat = None if look is None else look()
        return None if stat is None else wire.answer(wire.ATTRS, request, wire.attributes(stat))

    async def stat(self, request: int, reader: Reader) -> bytes:
        """STAT."""
        return wire.answer(wire.ATTRS, request, wire.attributes(await self._stat(reader.string(), True)))

    async def lstat(self, request: int, reader: Reader) -> bytes:
        """LSTAT."""
        return wire.answer(wire.ATTRS, request, wire.attributes(await self._stat(reader.string(), False)))

    async def _stat(self, raw: bytes, follow: bool) -> FileStat:
        place = await self._places.find(raw)
        return self._top() if place is None else await place.folder.stat(place.path, follow)

    def _top(self) -> FileStat:
        now = int(self._table.gateway.reactor.seconds()) * 10**9
        return FileStat(FileType.DIRECTORY, 0, 0o555, 0, 0, now, now, "top")

    async def set_attrs(self, request: int, reader: Reader) -> bytes:
        """SETSTAT."""
        await self.change(reader.string(), reader.attributes(), True)
        return wire.success(request)

    async def change(self, raw: bytes, wanted: Wanted, follow: bool) -> None:
        """Change attributes by path."""
        place = await self._places.entry(raw, "change the attributes of")
        with self._told("setstat", place):
            if wanted.owner is not None:
                stat = await place.folder.stat(place.path, follow)
                refuse_owner(place, wanted, (stat.uid, stat.gid))
            await self._table.rest(place)
            if wanted.size is not None:
                handle = await place.folder.open(place.path, OpenMode.WRITE)
                try:
                    await handle.truncate(wanted.size)
                finally:
                    await handle.close()
            if (changes := wanted.changes) is not None:
                await place.folder.set_attrs(place.path, changes)

    # --- directories ---

    async def open_dir(self, request: int, reader: Reader) -> bytes:
        """OPENDIR."""
        raw = reader.string()
        self._table.check_room()
        began = self._table.gateway.reactor.seconds()
        with self._table.refusals("list", raw):
            place = await self._places.find(raw)
            if place is None:
                listing: Listing = Known(await self._vfolders())
            else:
                listing = await place.folder.list(place.path)
        shown = "/" if place is None else str(place)
        opened = OpenDirectory(shown, listing, self._owners, began, self._table.ahead)
        opened.prepare(began)
        return wire.answer(wire.HANDLE, request, wire.string(self._table.add(opened)))

    async def _vfolders(self) -> list[DirEntry]:
        entries = []
        for visible in await self._places.session.vfolders():
            try:
                folder = await self._places.session.folder(visible.vfolder.id, visible.vfolder.volume)
                stat = await folder.stat(ROOT)
            except NotFound:  # it is being deleted
                continue
            except GatewayError:  # its storage is not there; that it exists may be told all the same
                stat = self._top()
            entries.append(DirEntry(visible.name, stat))
        return entries

    async def read_dir(self, request: int, reader: Reader) -> bytes:
        """READDIR: as many entries as one answer holds."""
        opened = self._table.directory(reader.string())
        limit = BIG_ANSWER if self._client.big_answers else ANSWER
        count, parts = await opened.read(limit, self._table.gateway.reactor.seconds())
        if not count:
            return wire.status(request, wire.EOF, "end of the directory")
        return wire.answer(wire.NAME, request, b"".join((count.to_bytes(4, "big"), *parts)))

    async def make_dir(self, request: int, reader: Reader) -> bytes:
        """MKDIR. The mode is the site's."""
        place = await self._places.inside(reader.string(), "make a directory")
        with self._told("mkdir", place):
            await place.folder.make_dir(place.path)
        return wire.success(request)

    async def remove_dir(self, request: int, reader: Reader) -> bytes:
        """RMDIR."""
        place = await self._places.entry(reader.string(), "remove")
        with self._told("rmdir", place):
            await place.folder.remove_dir(place.path)
        return wire.success(request)

    # --- names ---

    async def remove(self, request: int, reader: Reader) -> bytes:
        """REMOVE."""
        place = await self._places.entry(reader.string(), "remove")
        with self._told("remove", place):
            await self._table.rest(place)
            await place.folder.remove(place.path)
        return wire.success(request)

    async def rename(self, request: int, reader: Reader) -> bytes:
        """RENAME, which replaces nothing in version 3."""
        await self.move(reader.string(), reader.string(), ABSENT)
        return wire.success(request)

    async def move(self, raw: bytes, raw_target: bytes, expect: Expect) -> None:
        """Rename; replacing what is there if ``expect`` is ``ANY``."""
        source = await self._places.entry(raw, "rename")
        target = await self._places.entry(raw_target, "rename")
        with self._told("rename", source, target):
            same_vfolder(source, target)
            if expect is not ANY and await _is_there(target) and source.path != target.path:
                raise AlreadyExists(target.path)
            await self._table.rest(source, target)
            await source.folder.rename(source.path, target.path, expect)
            self._table.moved(source, target)

    async def real_path(self, request: int, reader: Reader) -> bytes:
        """REALPATH: by the text alone."""
        return self.name(request, normal(reader.string()))

    def name(self, request: int, path: bytes) -> bytes:
        """The answer with one name and nothing else."""
        body = (1).to_bytes(4, "big") + wire.string(path) + wire.string(path) + bytes(4)
        return wire.answer(wire.NAME, request, body)

    # --- links ---

    async def read_link(self, request: int, reader: Reader) -> bytes:
        """READLINK."""
        place = await self._places.entry(reader.string(), "read a link")
        stat = await place.folder.stat(place.path)
        if stat.target is None:
            raise InvalidPath(place.path, f"not a link: {place.path}")
        return self.name(request, stat.target.encode("utf-8", "surrogateescape"))

    async def make_link(self, request: int, reader: Reader) -> bytes:
        """SYMLINK. OpenSSH has its arguments the wrong way round, and so have most; some do so only with an OpenSSH."""
        target, raw = reader.string(), reader.string()
        if self._client.version.startswith(_BY_THE_DRAFT):
            target, raw = raw, target
        place = await self._places.entry(raw, "make a link")
        with self._told("symlink", place):
            await place.folder.make_link(place.path, target.decode("utf-8", "surrogateescape"))
        return wire.success(request)

    def _told(self, action: str, place: Place, target: Place | None = None) -> Telling:
        return Telling(self._table, action, str(place), "" if target is None else str(target))


async def _is_there(place: Place) -> bool:
    try:
        place.folder.context.allow(Permission.RO, place.path, "see this")
        await place.folder.stat(place.path)
    except NotFound:
        return False
    return True


def same_vfolder(source: Place, target: Place) -> None:
    """``Unsupported`` between two vfolders: clients then copy and remove."""
    if source.folder.vfolder.key != target.folder.vfolder.key:
        raise Unsupported("moving or linking from one vfolder into another")

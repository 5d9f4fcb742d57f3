"""The protocol of ``scp`` before it spoke SFTP (``scp -O``, WinSCP's second choice): one side sends records, the other a byte for each.

Files are written and read by the session as everything is; times and trees travel along, modes are the site's.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from vfgateway.errors import AlreadyExists, GatewayError, InvalidPath, NotFound
from vfgateway.model import Attrs, FileStat, OpenMode
from vfgateway.protocols.sftp import faults
from vfgateway.protocols.sftp.opened import Table, Telling
from vfgateway.protocols.sftp.places import Place, Places, normal

if TYPE_CHECKING:
    from vfgateway.protocols.sftp.channel import SessionChannel

#: Bytes moved at once.
PIECE = 256 << 10
#: Bytes of the longest record.
_LONGEST_RECORD = 8192


class Ended(Exception):
    """The client sends no more."""


class Input:
    """What the client sends, to be read in pieces; the window opens as they are read."""

    def __init__(self, channel: SessionChannel) -> None:
        self._channel = channel
        self._buffer = bytearray()
        self._ended = False
        self._waiter: Deferred[None] | None = None

    def feed(self, view: memoryview) -> None:
        """More came."""
        self._buffer += view
        self._wake()

    def end(self) -> None:
        """No more comes."""
        self._ended = True
        self._wake()

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for the client."""
        return self._waiter is not None

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)

    async def read(self, most: int) -> bytes:
        """Something, at most so much. :class:`Ended`."""
        while not self._buffer:
            if self._ended:
                raise Ended
            self._waiter = Deferred()
            await self._waiter
        piece = bytes(self._buffer[:most])
        del self._buffer[:most]
        self._channel.consumed(len(piece))
        return piece

    async def line(self) -> bytes:
        """A record without its newline. :class:`Ended`, also within one."""
        found = bytearray()
        while not found.endswith(b"\n"):
            found += await self.read(1)
            if len(found) > _LONGEST_RECORD:
                raise Ended
        return bytes(found[:-1])


class Scp:
    """One run of ``scp -t`` (take) or ``scp -f`` (give)."""

    def __init__(self, channel: SessionChannel, places: Places, table: Table, source: Input) -> None:
        self._channel = channel
        self._places = places
        self._table = table
        self._input = source
        self._status = 0

    async def run(self, words: Sequence[str]) -> int:
        """Do what the client's ``scp`` asks ours; the exit status."""
        flags = {letter for word in words if word.startswith("-") and word != "--" for letter in word[1:]}
        paths = [word.encode("utf-8", "surrogateescape") for word in words if not word.startswith("-")]
        with contextlib.suppress(Ended):
            if "t" in flags and len(paths) == 1:
                await self._take(paths[0], "d" in flags)
            elif "f" in flags:
                await self._give(paths, "r" in flags, "p" in flags)
            else:
                self._status = 1
        return self._status

    # --- taking ---

    async def _take(self, target: bytes, must_be_dir: bool) -> None:
        stat = await self._stat(target)
        if must_be_dir and (stat is None or not stat.is_dir):
            self._complain("not a directory", fatal=True)
            return
        self._channel.send(b"\0")
        stack: list[tuple[bytes, Attrs | None]] = [(target, None)] if stat is not None and stat.is_dir else []
        times: Attrs | None = None
        while True:
            try:
                record = await self._input.line()
            except Ended:
                return
            try:
                kind, rest = record[:1], record[1:]
                if kind == b"T":
                    changed, _, access, _ = rest.split(b" ")
                    times = Attrs(mtime_ns=int(changed) * 10**9, atime_ns=int(access) * 10**9)
                elif kind in (b"C", b"D"):
                    mode, size, name = rest.split(b" ", 2)
                    place = posixpath.join(stack[-1][0], _checked(name)) if stack else target
                    if kind == b"D":
                        await self._make_dir(place)
                        stack.append((place, times))
                    else:
                        await self._receive(place, int(size), times, bool(int(mode, 8) & 0o111))
                    times = None
                    if kind == b"C":
                        continue
                elif kind == b"E" and stack:
                    await self._leave(*stack.pop())
                else:
                    self._complain("what was sent cannot be read", fatal=True)
                    return
                self._channel.send(b"\0")
            except ValueError:
                self._complain("what was sent cannot be read", fatal=True)
                return
            except GatewayError as error:
                faults.enter_refusal(self._table.session, self._table.gateway, error)
                self._complain(faults.text(error), fatal=kind == b"D")
                if kind == b"D":
                    return

    async def _make_dir(self, raw: bytes) -> None:
        place = await self._places.inside(raw, "make a directory")
        try:
            with Telling(self._table, "mkdir", str(place)):
                await place.folder.make_dir(place.path)
        except AlreadyExists:
            if not (await place.folder.stat(place.path)).is_dir:
                raise

    async def _leave(self, raw: bytes, times: Attrs | None) -> None:
        if times is not None:
            place = await self._places.entry(raw, "change the attributes of")
            with Telling(self._table, "setstat", str(place)):
                await place.folder.set_attrs(place.path, times)

    async def _receive(self, raw: bytes, size: int, times: Attrs | None, executable: bool) -> None:
        """Take ``size`` bytes and the client's status, whatever becomes of them here."""
        began = self._table.gateway.reactor.seconds()
        with self._table.refusals("write", raw):
            place = await self._places.entry(raw, "write")
            handle = await place.folder.open(place.path, OpenMode.WRITE | OpenMode.CREATE | OpenMode.TRUNCATE)
        self._channel.send(b"\0")  # before it, the client would send nothing
        failure: GatewayError | None = None
        done = 0
        try:
            while done < size:
                piece = await self._input.read(min(PIECE, size - done))
                if failure is None:
                    try:
                        await handle.write(done, [piece])
                    except GatewayError as error:
                        failure = error
                done += len(piece)
            status = await self._input.read(1)
            if failure is None and executable:
                stat = await handle.stat()
                await handle.set_attrs(Attrs(mode=stat.mode | (0o111 & (stat.mode >> 2))))
            if failure is None and times is not None:
                await handle.set_attrs(times)
        finally:
            await handle.close()
            self._table.tell_of_file("write", place, handle, began, "" if failure is None else faults.text(failure))
        if failure is not None:
            raise failure
        if status != b"\0":
            await self._input.line()
        self._channel.send(b"\0")

    # --- giving ---

    async def _give(self, paths: Sequence[bytes], recursive: bool, preserve: bool) -> None:
        await self._answer()
        for pattern in paths:
            for path in await self._places.expand(pattern):
                await self._try_to_send(path, recursive, preserve)

    async def _try_to_send(self, path: bytes, recursive: bool, preserve: bool) -> None:
        try:
            await self._send(path, recursive, preserve)
        except GatewayError as error:
            faults.enter_refusal(self._table.session, self._table.gateway, error)
            self._complain(faults.text(error))

    async def _send(self, raw: bytes, recursive: bool, preserve: bool) -> None:
        place = await self._places.inside(raw, "read")
        stat = await place.folder.stat(place.path, True)
        name = posixpath.basename(normal(raw))
        if preserve:
            changed, access = stat.mtime_ns // 10**9, (stat.atime_ns or stat.mtime_ns) // 10**9
            await self._record(b"T%d 0 %d 0" % (changed, access))
        if not stat.is_dir:
            await self._send_file(place, name, stat)
            return
        if not recursive:
            raise InvalidPath(place.path, f"is a directory: {place.path}")
        await self._record(b"D%04o 0 %b" % (stat.mode, name))
        listing = await place.folder.list(place.path)
        try:
            while entries := await listing.read(512):
                for entry in entries:
                    child = normal(raw) + b"/" + entry.name.encode("utf-8", "surrogateescape")
                    await self._try_to_send(child, True, preserve)
        finally:
            await listing.close()
        await self._record(b"E")

    async def _send_file(self, place: Place, name: bytes, stat: FileStat) -> None:
        async with self._table.reading(place, "read") as handle:
            size, done = (await handle.stat()).size, 0
            await self._record(b"C%04o %d %b" % (stat.mode, size, name))
            while done < size:
                piece = await handle.read(done, min(PIECE, size - done))
                if not piece:  # it became shorter: what was announced has to be sent all the same
                    piece = bytes(min(PIECE, size - done))
                    self._status = 1
                await self._channel.room()
                self._channel.send(piece)
                done += len(piece)
            self._channel.send(b"\0")
            await self._answer()

    async def _record(self, record: bytes) -> None:
        self._channel.send(record + b"\n")
        await self._answer()

    async def _answer(self) -> None:
        """What the client says to a record. :class:`Ended` if it gives up."""
        status = await self._input.read(1)
        if status != b"\0":
            await self._input.line()
            self._status = 1
            if status != b"\1":
                raise Ended

    # --- both ---

    async def _stat(self, raw: bytes) -> FileStat | None:
        try:
            place = await self._places.inside(raw, "write")
            return await place.folder.stat(place.path, True)
        except NotFound:
            return None

    def _complain(self, text: str, fatal: bool = False) -> None:
        self._status = 1
        line = text.encode("utf-8", "backslashreplace").replace(b"\n", b" ")
        self._channel.send((b"\2" if fatal else b"\1") + b"scp: " + line + b"\n")


def _checked(name: bytes) -> bytes:
    """A name, and no path: ``ValueError``."""
    if name in (b"", b".", b"..") or b"/" in name:
        raise ValueError("not a name")
    return name

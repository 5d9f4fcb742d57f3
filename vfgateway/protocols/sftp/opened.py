"""What one client has open, under handles that cannot be guessed and are never used twice."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
from twisted.logger import Logger

from vfgateway.eager import in_background
from vfgateway.errors import GatewayError, StorageFailure
from vfgateway.model import OpenMode
from vfgateway.paths import FolderPath
from vfgateway.protocols.sftp import faults
from vfgateway.protocols.sftp.listing import Ahead, OpenDirectory
from vfgateway.protocols.sftp.places import Place, normal
from vfgateway.protocols.sftp.uploads import UploadHandle
from vfgateway.services.gateway import Gateway
from vfgateway.services.handles import Handle
from vfgateway.services.operations import FileOperation
from vfgateway.services.session import Session

#: Things that one channel may have open.
MOST_OPEN = 1024


@attrs.define(eq=False)
class OpenFile:
    """A file. ``error`` is the last that writing met."""

    place: Place
    handle: Handle
    reads: bool
    writes: bool
    appends: bool
    began: float
    error: str = ""


class UnknownHandle(GatewayError):
    """No such handle: never given out, or closed."""

    def __init__(self) -> None:
        super().__init__("no such handle; it may be closed")


def _at_once(call: Callable[[], object]) -> None:
    call()


class Table:
    """See the module.

    :param afterwards: calls what the client need not wait for, within this turn of the reactor
    :ivar ahead: what is read ahead of directories
    """

    log = Logger(namespace="vfgateway.sftp")

    def __init__(
        self,
        session: Session,
        gateway: Gateway,
        afterwards: Callable[[Callable[[], object]], object] = _at_once,
    ) -> None:
        self.session = session
        self.gateway = gateway
        self._afterwards = afterwards
        self.ahead = Ahead()
        self._random = secrets.token_bytes(8)
        self._count = 0
        self._open: dict[bytes, OpenFile | OpenDirectory] = {}

    @property
    def has_files(self) -> bool:
        """Whether a file is open, directories aside."""
        return any(isinstance(opened, OpenFile) for opened in self._open.values())

    def check_room(self) -> None:
        """``StorageFailure`` if too much is open."""
        if len(self._open) >= MOST_OPEN:
            raise StorageFailure(f"too many files open: at most {MOST_OPEN}")

    def add(self, opened: OpenFile | OpenDirectory) -> bytes:
        """A new handle, of 12 bytes."""
        self._count += 1
        handle = self._random + self._count.to_bytes(4, "big")
        self._open[handle] = opened
        return handle

    def get(self, handle: bytes) -> OpenFile | OpenDirectory | None:
        """What the handle stands for."""
        return self._open.get(handle)

    def file(self, handle: bytes) -> OpenFile:
        """A file. :class:`UnknownHandle`."""
        opened = self._open.get(handle)
        if not isinstance(opened, OpenFile):
            raise UnknownHandle
        return opened

    def directory(self, handle: bytes) -> OpenDirectory:
        """A directory. :class:`UnknownHandle`."""
        opened = self._open.get(handle)
        if not isinstance(opened, OpenDirectory):
            raise UnknownHandle
        return opened

    async def rest(self, *places: Place) -> None:
        """Let a change by path come at once to what this client itself has open there."""
        for opened in self._open.values():
            if isinstance(opened, OpenFile) and opened.writes:
                mine = opened.handle
                if any(_touches(opened.place, mine.path, place) for place in places):
                    await mine.rest()

    def moved(self, source: Place, target: Place) -> None:
        """What is open below ``source`` is now below ``target``."""
        for opened in self._open.values():
            if isinstance(opened, OpenFile) and _touches(opened.place, opened.handle.path, source):
                opened.handle.path = target.path.join(opened.handle.path.relative_to(source.path))

    async def close(self, handle: bytes) -> None:
        """Close; :class:`UnknownHandle`, and what closing itself raises."""
        opened = self._open.pop(handle, None)
        if opened is None:
            raise UnknownHandle
        await self._close(opened)

    def close_now(self, handle: bytes) -> bool:
        """As :meth:`close`, of a file with which nothing has to be waited for; ``False`` if nothing has happened. Not a coroutine."""
        opened = self._open.get(handle)
        if not isinstance(opened, OpenFile):
            return False
        if opened.handle.closes_quietly:
            del self._open[handle]
            self._afterwards(partial(self._close_quietly, opened))
            return True
        try:
            if not opened.handle.close_now():
                return False
        except GatewayError as failure:  # it is closed all the same
            opened.error = faults.text(failure)
            del self._open[handle]
            self._tell_closed(opened)
            raise
        del self._open[handle]
        self._tell_closed(opened)
        return True

    def _close_quietly(self, opened: OpenFile) -> None:
        """Close what the client has been told is closed."""
        try:
            if not opened.handle.close_now():  # something in this turn was slow
                in_background(opened.handle.close(), lambda: self.log.failure("a file could not be closed"))
        except GatewayError as failure:
            opened.error = faults.text(failure)
        self._tell_closed(opened)

    def _tell_closed(self, opened: OpenFile) -> None:
        action = "write" if opened.writes else "read"
        self.tell_of_file(action, opened.place, opened.handle, opened.began, opened.error)

    async def _close(self, opened: OpenFile | OpenDirectory) -> None:
        if isinstance(opened, OpenDirectory):
            await opened.close()
            self.tell("list", opened.shown, began=opened.began)
            return
        try:
            await opened.handle.close()
        except GatewayError as failure:
            opened.error = faults.text(failure)
            raise
        finally:
            self._tell_closed(opened)

    async def close_all(self) -> None:
        """The client has gone."""
        opened, self._open = list(self._open.values()), {}
        for each in opened:
            try:
                await self._close(each)
            except Exception as error:
                self.log.warn("a file could not be closed: {error}", error=error)

    def refusals(self, action: str, raw: bytes) -> Refusals:
        """Around what opens the path ``raw``."""
        return Refusals(self, action, raw)

    def tell_of_file(self, action: str, place: Place, handle: Handle, began: float, error: str) -> None:
        """Tell and count what was done with a file, when it has been closed: soon, and before anything else is told."""
        seconds = self.gateway.reactor.seconds() - began
        self.gateway.events.soon(partial(self._tell_of_file, action, place, handle, seconds, error))

    def _tell_of_file(self, action: str, place: Place, handle: Handle, seconds: float, error: str) -> None:
        metrics = self.gateway.metrics
        if handle.read_bytes and action != "checksum":
            metrics.sent("sftp", handle.read_bytes)
        if handle.written_bytes and not isinstance(handle, UploadHandle):  # which counts once it is whole
            metrics.received("sftp", handle.written_bytes)
        about = {"read_bytes": handle.read_bytes, "written_bytes": handle.written_bytes}
        self._publish(action, str(place), seconds, error=error, **about)

    @asynccontextmanager
    async def reading(self, place: Place, action: str) -> AsyncIterator[Handle]:
        """A file that is read within the block, and told of."""
        began, error = self.gateway.reactor.seconds(), ""
        with self.refusals(action, str(place).encode("utf-8", "surrogateescape")):
            handle = await place.folder.open(place.path, OpenMode.READ)
        try:
            yield handle
        except GatewayError as failure:
            error = faults.text(failure)
            raise
        finally:
            await handle.close()
            self.tell_of_file(action, place, handle, began, error)

    def tell(self, action: str, path: str, *, began: float | None = None, **about: Any) -> None:
        """Tell of an operation that has ended."""
        self._publish(action, path, 0.0 if began is None else self.gateway.reactor.seconds() - began, **about)

    def _publish(self, action: str, path: str, seconds: float, **about: Any) -> None:
        session = self.session
        self.gateway.events.publish(
            FileOperation(
                user=session.principal.name,
                address=session.origin.address,
                protocol="sftp",
                action=action,
                path=path,
                seconds=round(max(0.0, seconds), 6),
                **about,
            )
        )


class Telling:
    """Tells of an operation once it has ended, and how."""

    def __init__(self, table: Table, action: str, path: str, target: str = "") -> None:
        self._table = table
        self._about = (action, path)
        self._target = target

    def __enter__(self) -> None:
        self._began = self._table.gateway.reactor.seconds()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        text = "" if error is None else faults.text(error)
        self._table.tell(*self._about, target=self._target, began=self._began, error=text)


class Refusals:
    """Tells of an operation if it is refused; of others, whoever ends it tells."""

    def __init__(self, table: Table, action: str, raw: bytes) -> None:
        self._table = table
        self._about = (action, raw)

    def __enter__(self) -> None:
        self._began = self._table.gateway.reactor.seconds()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, GatewayError):
            action, raw = self._about
            path = normal(raw).decode("utf-8", "surrogateescape")
            self._table.tell(action, path, began=self._began, error=faults.text(error))


def _touches(opened: Place, at: FolderPath, place: Place) -> bool:
    return opened.folder.vfolder.key == place.folder.vfolder.key and at.within(place.path)

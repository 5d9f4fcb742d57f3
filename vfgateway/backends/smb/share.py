"""Files and directories of a share by path: everything that is done in one go. Paths count from its root, with backslashes.

Each call may raise ``Refused`` and ``Lost``. What may be done twice is done again when a connection was lost; for the rest
it is found out whether it was done.
"""

from __future__ import annotations

from typing import Final

from vfgateway.backends.smb import wire
from vfgateway.backends.smb.faults import NAME_COLLISION, NO_MORE_FILES, Lost, Refused
from vfgateway.backends.smb.link import CREDIT, Handle, Link, check
from vfgateway.backends.smb.links import Links
from vfgateway.backends.smb.wire import Entry, Opening

#: Bytes of names and facts that are asked for at once.
PAGE: Final = CREDIT
_LOOK: Final = wire.READ_ATTRIBUTES
_CHANGE: Final = wire.DELETE | wire.READ_ATTRIBUTES


class Share:
    """A share as one login sees it.

    :param name: for people
    :ivar personal: whether that is somebody's own, and not that of the gateway
    """

    def __init__(self, links: Links, name: str, personal: bool) -> None:
        self.links = links
        self.personal = personal
        self._name = name

    def __str__(self) -> str:
        return self._name

    # --- facts

    async def stat(self, path: str) -> Entry:
        """Facts about a file or directory; about a link, not about where it leads."""

        async def look(link: Link) -> Entry:
            [found] = await link.once(Opening(path, _LOOK, options=wire.OPEN_REPARSE_POINT), wire.query_all())
            return wire.facts(found.body)

        return await self.links.again(look)

    async def find(self, path: str) -> Entry | None:
        """The same; ``None`` if nothing is there."""
        try:
            return await self.stat(path)
        except Refused as error:
            if error.missing:
                return None
            raise

    async def space(self, path: str) -> tuple[int, int]:
        """Bytes in all, and those that are free for us."""

        async def look(link: Link) -> tuple[int, int]:
            [found] = await link.once(Opening(path, _LOOK, options=wire.DIRECTORY_FILE), wire.query_space())
            return wire.space(found.body)

        return await self.links.again(look)

    async def set_times(self, path: str, accessed: int | None, modified: int | None) -> Entry:
        """Set times, in epoch nanoseconds; ``None`` leaves one as it is."""
        opening = Opening(path, _LOOK | wire.WRITE_ATTRIBUTES, options=wire.OPEN_REPARSE_POINT)

        async def change(link: Link) -> Entry:
            _, found = await link.once(opening, wire.set_times(accessed, modified), wire.query_all())
            return wire.facts(found.body)

        return await self.links.again(change)

    # --- names

    async def make_dir(self, path: str, exist_ok: bool = False) -> None:
        """Make one directory. When the answer is lost, so is whether it was made."""
        link = await self.links.names()
        try:
            await link.once(Opening(path, _LOOK, wire.CREATE_NEW, wire.DIRECTORY_FILE))
        except Refused as error:
            if not exist_ok or error.status != NAME_COLLISION:
                raise

    async def ensure_dirs(self, path: str) -> None:
        """Make a directory and all above it, unless they are there."""
        parts = path.split("\\")
        for count in range(1, len(parts) + 1):
            await self.make_dir("\\".join(parts[:count]), exist_ok=True)

    async def remove_dir(self, path: str) -> None:
        """Remove an empty directory."""
        await self._remove(path, wire.DIRECTORY_FILE)

    async def remove_file(self, path: str) -> None:
        """Remove a file. As long as somebody has it open its name stays taken, though nothing can be opened by it."""
        await self._remove(path, wire.NON_DIRECTORY_FILE)

    async def _remove(self, path: str, kind: int) -> None:
        link = await self.links.names()
        opening = Opening(path, _CHANGE, options=kind | wire.OPEN_REPARSE_POINT)
        try:
            await link.once(opening, wire.set_disposition())
        except Lost:
            if await self.find(path) is not None:
                raise

    async def rename(self, source: str, target: str, *, replace: bool, number: int = 0, kind: int = 0) -> Entry:
        """Move a file or directory in one step; what it is now.

        :param replace: whether a file that has the name gives way
        :param number: of what is moved, so that it can be told whether it was, when the answer is lost
        :param kind: ``DIRECTORY_FILE`` or ``NON_DIRECTORY_FILE``, to refuse anything else
        """
        link = await self.links.names()
        opening = Opening(source, _CHANGE, options=kind | wire.OPEN_REPARSE_POINT)
        try:
            _, found = await link.once(opening, wire.rename(target, replace), wire.query_all())
        except Lost:
            there = await self.find(target)
            if there is None or not number or there.number != number:
                raise
            return there
        return wire.facts(found.body)

    # --- content

    async def open(self, opening: Opening, *, content: bool = True) -> tuple[Handle, Entry]:
        """Open something, for its content or for its names; with its facts."""
        for attempt in (1, 2):
            link = await (self.links.content() if content else self.links.names())
            try:
                handle, [found] = await link.open(opening, wire.query_all())
            except Lost:
                if attempt == 2 or opening.disposition == wire.CREATE_NEW:
                    raise
            else:
                return handle, wire.facts(found.body)
        raise AssertionError("unreachable")

    async def entries(self, path: str) -> list[Entry]:
        """What is in a directory that is not too large to be known at once."""
        handle, _ = await self.open_dir(path)
        found: list[Entry] = []
        try:
            while page := await next_page(handle):
                found += page
        finally:
            await handle.close()
        return found

    async def open_dir(self, path: str) -> tuple[Handle, Entry]:
        """Open a directory to list it with :func:`next_page`."""
        return await self.open(Opening(path, wire.READ_DATA | _LOOK, options=wire.DIRECTORY_FILE))

    async def read_small(self, path: str) -> bytes:
        """The first bytes of a small file."""

        async def look(link: Link) -> bytes:
            opening = Opening(path, wire.READ_DATA, options=wire.NON_DIRECTORY_FILE)
            [found] = await link.once(opening, wire.read(0, 1024))
            return wire.read_data(found.body)

        return await self.links.again(look)

    async def write_small(self, path: str, content: bytes) -> None:
        """A small file of our own that is not there yet; whole when it is there."""
        link = await self.links.names()
        opening = Opening(path, wire.WRITE_DATA, wire.OPEN_IF, wire.NON_DIRECTORY_FILE)
        await link.once(opening, wire.write(0, content), wire.flush())


async def next_page(handle: Handle) -> list[Entry]:
    """The next entries of a directory that was opened; none at its end."""
    while True:
        reply = await handle.ask(wire.list_entries(PAGE))
        if reply.status == NO_MORE_FILES:
            return []
        check(reply)
        page = list(wire.entries(reply.body))
        if page:
            return page

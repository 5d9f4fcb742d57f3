"""PROPFIND (RFC 4918 section 9.1): the answer goes out while the directory is read, so that its length costs no memory."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing
from functools import partial
from typing import Final

import attrs

from vfgateway.errors import GatewayError, NotFound, TooLarge
from vfgateway.model import DirEntry, FileStat, FileType
from vfgateway.paths import FolderPath
from vfgateway.posix import type_file
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.sending import Gate
from vfgateway.protocols.webdav import documents
from vfgateway.protocols.webdav.exchange import INFINITY, Exchange
from vfgateway.protocols.webdav.faults import XML, Refused, answer_status, answer_xml
from vfgateway.protocols.webdav.live import FREE, REPORTS, SYNC_TOKEN, USED, Described, top_stat
from vfgateway.protocols.webdav.look import NOT_KEPT
from vfgateway.protocols.webdav.multistatus import CLOSING, OPENING
from vfgateway.protocols.webdav.places import href_of, segment_of
from vfgateway.protocols.webdav.rendering import ALL, Asked, Rendering, asked_in_body
from vfgateway.protocols.webdav.synctokens import SyncToken, is_followed
from vfgateway.services.locks import Lock
from vfgateway.services.locktable import ancestors
from vfgateway.services.quota import Remaining
from vfgateway.services.reading import Listing
from vfgateway.services.session import FolderSession
from vfgateway.services.vfolders import VisibleVFolder

#: Entries that are described at once, between two looks at other connections.
BATCH: Final = 512

#: Dead properties, by the key of what has them and by their names.
type_dead = Mapping[bytes, Mapping[str, str]]

# One look-up each: entries come by the ten thousand.
_FILE, _DIRECTORY = FileType.FILE, FileType.DIRECTORY


async def answer(exchange: Exchange) -> None:
    """Answer it."""
    request = exchange.request
    asked = await read_asked(request)
    depth = await _depth(exchange)
    minimal = exchange.prefers("return=minimal") or (request.getHeader(b"brief") or b"").strip().lower() == b"t"
    noroot = exchange.prefers("depth-noroot")  # RFC 8144; Microsoft has it in Depth
    applied = [b"return=minimal"] * minimal + [b"depth-noroot"] * noroot
    if applied:
        request.setHeader(b"preference-applied", b", ".join(applied))
    rendering = Rendering(asked, minimal)
    rootless = depth != "0" and (noroot or b"noroot" in (request.getHeader(b"depth") or b"").lower())
    if exchange.place.is_top:
        blocks = _top(exchange, asked, rendering, depth, rootless)
    else:
        folder = await exchange.folder()
        view = await View.of(exchange, folder, asked, rendering)
        blocks = view.blocks(depth, rootless)
    await send_blocks(request, blocks)


async def _depth(exchange: Exchange) -> str:
    """How deep to go: into whole trees only where that is configured. Who does not say (webdav4) then gets the first level, and to a file
    any depth is the same (RFC 4918 section 9.1 lets only collections be refused)."""
    deep = exchange.app.settings.depth_infinity
    depth = exchange.depth(INFINITY if deep else "1")
    if depth != INFINITY or deep:
        return depth
    if not exchange.place.is_top:
        folder = await exchange.folder()
        if not (await folder.stat(exchange.place.path, follow=True)).is_dir:
            return "0"
    raise Refused(403, "Depth: infinity is not answered here", "propfind-finite-depth")


async def read_asked(request: StreamingRequest) -> Asked:
    """What the body asks for; without one, all."""
    if request.body.length == 0:
        return ALL
    try:
        return asked_in_body(await request.body.read_all(documents.LARGEST))
    except TooLarge as error:
        raise Refused(413, str(error)) from None


async def send_blocks(request: StreamingRequest, blocks: AsyncGenerator[bytes, None]) -> None:
    """Write a multistatus of ``blocks``: at once if there is but one, as they come otherwise."""
    async with aclosing(blocks):
        held: bytes | None = None
        gate: Gate | None = None
        with ExitStack() as streaming:
            async for block in blocks:
                if held is not None:
                    if gate is None:
                        gate = streaming.enter_context(Gate(request))
                        _begin(request)
                        held = OPENING + held
                    request.write(held)
                    await gate.passed()
                held = block
            if gate is None:
                answer_xml(request, 207, OPENING + (held or b"") + CLOSING)
            else:
                request.write((held or b"") + CLOSING)


def _begin(request: StreamingRequest) -> None:
    answer_status(request, 207)
    request.setHeader(b"content-type", XML)
    request.setHeader(*NOT_KEPT)


# --- the list of vfolders ---


async def _top(
    exchange: Exchange, asked: Asked, rendering: Rendering, depth: str, rootless: bool
) -> AsyncGenerator[bytes, None]:
    parts = [] if rootless else [rendering.response(b"/", Described("/", top_stat(0)))]
    if depth != "0":
        for visible in await exchange.session.vfolders():
            parts.append(await _vfolder(exchange, visible, asked, rendering))
    yield b"".join(parts)


async def _vfolder(exchange: Exchange, visible: VisibleVFolder, asked: Asked, rendering: Rendering) -> bytes:
    remaining = None
    if asked.wants(FREE, USED):
        remaining = await exchange.app.gateway.quota.remaining(visible.vfolder)
    item = Described(visible.name, top_stat(visible.vfolder.created), visible.name, remaining)
    return rendering.response(href_of(FolderPath((visible.name,)), True), item)


# --- in a vfolder ---


@attrs.define
class View:
    """How the resources of one vfolder are described in one answer.

    :ivar held: the dead properties of all that is in the directory that is listed, by key; ``None`` where they are looked up with each of its parts
    """

    folder: FolderSession
    vfolder: str
    path: FolderPath
    rendering: Rendering
    remaining: Remaining | None
    dead: bool
    locks: Mapping[FolderPath, Sequence[Lock]]
    now: float
    sync_token: bytes | None
    base: tuple[str, ...]
    held: type_dead | None = None

    @classmethod
    async def of(cls, exchange: Exchange, folder: FolderSession, asked: Asked, rendering: Rendering) -> View:
        """Look up what all of them have in common."""
        gateway = exchange.app.gateway
        path = exchange.place.path
        any_properties, any_locks = await gateway.properties.any_in(folder.vfolder)
        locks: dict[FolderPath, list[Lock]] = {}
        if any_locks and asked.wants_locks:
            for lock in await gateway.locks.find(folder.vfolder, folder.context.lock_path(path), below=True):
                locks.setdefault(lock.path, []).append(lock)
        remaining = await folder.remaining() if asked.wants(FREE, USED) else None
        dead = any_properties and asked.wants_dead
        now: float = gateway.reactor.seconds()
        sync_token = None
        if asked.wants(SYNC_TOKEN, REPORTS) and await is_followed(folder, path):
            sync_token = SyncToken(await gateway.changes.now(folder.vfolder)).text().encode("ascii")
        name, base = exchange.place.name, (exchange.place.name, *exchange.place.base)
        return cls(folder, name, path, rendering, remaining, dead, locks, now, sync_token, base)

    async def blocks(self, depth: str, rootless: bool) -> AsyncGenerator[bytes, None]:
        """The ``response`` elements of what was asked for, with those of its members as far as ``depth`` goes."""
        stat = await self.folder.stat(self.path, follow=True)
        if not (stat.is_dir or stat.is_file):
            raise NotFound(self.path)
        first = b"" if rootless else await self._one(self.path, stat)
        if depth == "0" or not stat.is_dir:
            yield first
            return
        if depth == INFINITY:
            yield first
            async for block in self._tree():
                yield block
            return
        async with AsyncExitStack() as closing:
            listing = await self.folder.list(self.path)
            closing.push_async_callback(listing.close)
            if self.dead:
                context = self.folder.context
                held = context.gateway.properties.of_all_children(self.folder.vfolder, context.lock_path(self.path))
                self.held = await closing.enter_async_context(held)
            while (made := await self._batch(listing)) is not None:
                block, first = first + made, b""
                if block:
                    yield block
        if first:
            yield first

    async def _batch(self, listing: Listing) -> bytes | None:
        """The elements of the next entries of a directory; ``None`` at the end."""
        if self.dead and self.held is None:
            entries = await listing.read(BATCH)
            return await self.entries(self.path, entries) if entries else None
        if self.rendering.knows_files and not self.locks and not self.held:
            made = await listing.read_posix(BATCH, partial(self._plain, self.path))
        else:
            made = await listing.read_mapped(BATCH, partial(self._described, self.path, dead=self.held))
        if made is None:
            return None
        block, links = made
        return block + await self.entries(self.path, links) if links else block

    async def _tree(self) -> AsyncGenerator[bytes, None]:
        walk = self.folder.walk(self.path)
        try:
            while walked := await walk.read(BATCH):
                for parent in dict.fromkeys(entry.path.parent for entry in walked):
                    here = [DirEntry(e.path.name, e.stat) for e in walked if e.path.parent == parent and not e.error]
                    if block := await self.entries(parent, here):
                        yield block
        finally:
            await walk.close()

    async def _one(self, path: FolderPath, stat: FileStat) -> bytes:
        folder = self.folder
        dead: Mapping[str, str] | None = None
        if self.dead:
            gateway = folder.context.gateway
            dead = await gateway.properties.of(folder.vfolder, folder.context.lock_path(path))
        whole = FolderPath((*self.base, *path.parts))
        return self.rendering.response(href_of(whole, stat.is_dir), self._item(path, stat), dead)

    async def entries(self, parent: FolderPath, entries: Sequence[DirEntry]) -> bytes:
        """The elements of some entries of a directory, of links with what they lead to."""
        followed = [entry if entry.stat.target is None else await self._follow(parent, entry) for entry in entries]
        shown = [entry for entry in followed if entry is not None]
        return self._described(parent, shown, await self._dead(parent, shown))[0]

    def _plain(
        self, parent: FolderPath, files: Sequence[type_file], others: Sequence[DirEntry]
    ) -> tuple[bytes, Sequence[DirEntry]]:
        """As :meth:`_described`, where nothing but facts is told of files."""
        described, links = self._described(parent, others)
        prefix = href_of(FolderPath((*self.base, *parent.parts)), True)
        return self.rendering.posix_files(prefix, files) + described, links

    def _described(
        self,
        parent: FolderPath,
        entries: Sequence[DirEntry],
        dead: type_dead | None = None,
    ) -> tuple[bytes, Sequence[DirEntry]]:
        """The elements of ``entries``, in whatever thread; and the links among them, which it leaves out."""
        prefix = href_of(FolderPath((*self.base, *parent.parts)), True)
        file = self.rendering.file if not self.locks else None
        key = self._keys(parent)
        parts: list[bytes] = []
        links: list[DirEntry] = []
        for entry in entries:
            name, stat = entry
            kind = stat.type
            of_it = dead.get(key(name)) if dead else None
            if kind is _FILE:
                made = file(prefix, name, stat, of_it) if file is not None else None
                parts += made or (self._whole(prefix + segment_of(name), parent, entry, of_it),)
            elif kind is _DIRECTORY:
                parts.append(self._whole(prefix + segment_of(name) + b"/", parent, entry, of_it))
            elif stat.target is not None:
                links.append(entry)
        return b"".join(parts), links

    def _whole(self, href: bytes, parent: FolderPath, entry: DirEntry, dead: Mapping[str, str] | None) -> bytes:
        return self.rendering.response(href, self._item(parent.child(entry.name), entry.stat), dead)

    async def _follow(self, parent: FolderPath, entry: DirEntry) -> DirEntry | None:
        """What a link leads to; nothing if that is nowhere, or outside."""
        try:
            return DirEntry(entry.name, await self.folder.stat(parent.child(entry.name), follow=True))
        except GatewayError:
            return None

    def _keys(self, parent: FolderPath) -> Callable[[str], bytes]:
        """What makes the key of an entry of ``parent``, by its name."""
        above = self.folder.context.lock_path(parent)
        prefix = b"" if above.is_root else bytes(above) + b"/"
        fold = self.folder.volume.names.fold
        return lambda name: prefix + fold(name).encode("utf-8", "surrogateescape")

    async def _dead(self, parent: FolderPath, entries: Sequence[DirEntry]) -> type_dead:
        """What is kept with entries, by key."""
        if not self.dead or not entries:
            return {}
        if self.held is not None and parent == self.path:
            return self.held
        context, key = self.folder.context, self._keys(parent)
        keys = [key(entry.name) for entry in entries]
        return await context.gateway.properties.of_children(self.folder.vfolder, context.lock_path(parent), keys)

    def _item(self, path: FolderPath, stat: FileStat) -> Described:
        locks = self._locks_over(self.folder.context.lock_path(path)) if self.locks else ()
        name = path.name or self.vfolder
        return Described(name, stat, self.vfolder, self.remaining, locks, self.now, self.sync_token)

    def _locks_over(self, path: FolderPath) -> Sequence[Lock]:
        found = list(self.locks.get(path, ()))
        for above in ancestors(path):
            found += [lock for lock in self.locks.get(above, ()) if lock.infinite]
        return found

"""Renaming on storage that cannot: copy, then remove, with a note about it that lets a cut be mended.

The note is a blob beside the stages, under a lease while somebody works on it. A file has moved once its copy has the new name; a directory
once the note says that all is copied. Whoever finds a note without a lease goes on from there: forwards if it has moved, else back.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any
from uuid import uuid4

import attrs
from twisted.logger import Logger

from vfgateway.backends.azureblob.container import FREE, Container, same
from vfgateway.backends.azureblob.facts import MOVED, WRITER, Blob
from vfgateway.backends.azureblob.faults import Refused
from vfgateway.backends.azureblob.listing import walk
from vfgateway.backends.azureblob.names import STAGING
from vfgateway.backends.azureblob.publish import publish, transplant
from vfgateway.backends.azureblob.together import together
from vfgateway.blocking import Pool
from vfgateway.errors import AlreadyExists, GatewayError
from vfgateway.model import Expect
from vfgateway.paths import FolderPath

#: Begins the names of notes.
NOTES = f"{STAGING}/move-"
#: Seconds for which a lease on a note holds: after that others may mend what it is about. Renewed while working.
LEASE, RENEW_AFTER = 60, 20.0
#: Entries copied or removed at once.
SIDE_BY_SIDE = 8
log = Logger()


@attrs.define
class Move:
    """One rename.

    :ivar token: names it; copies are written in this name
    :ivar source: the blob that moves; with ``directory`` all below it, too
    :ivar replaces: the marker of an empty directory that stood at the target
    :ivar copied: everything has its new name: what is left is to remove the old ones
    """

    source: str
    target: str
    directory: bool
    replaces: bool = False
    copied: bool = False
    token: str = attrs.Factory(lambda: uuid4().hex)
    lease: str = attrs.Factory(lambda: str(uuid4()))

    @property
    def note(self) -> str:
        return NOTES + self.token

    def text(self) -> bytes:
        """The note."""
        return json.dumps(attrs.asdict(self)).encode()


class Mover:
    """Moves entries of one container."""

    def __init__(self, container: Container, pool: Pool) -> None:
        self._container = container
        self._pool = pool
        self._noted = False
        self._renewed = 0.0

    # --- a file

    async def move_file(self, there: Blob, target: FolderPath, expect: Expect) -> tuple[Blob, Blob | None]:
        """Give the file ``there`` the name ``target``: what it is then, and what it replaced. Raises as a publish does."""
        move = Move(there.name, "", False)

        async def copy(name: str, metadata: Mapping[str, str], condition: Mapping[str, str]) -> Blob:
            move.target = name
            await self._write_note(move)
            return await transplant((self._container, there), self._container, name, metadata, condition)

        try:
            described = {**there.lasting, MOVED: there.etag}
            made, replaced = await publish(self._container, target, expect, move.token, described, copy)
        except BaseException as error:
            await self._abandon(move, error)
            raise
        await self._complete(move, self._finish_file(move, there))
        return made, replaced

    async def _finish_file(self, move: Move, there: Blob) -> None:
        # If it has changed meanwhile, that came after, and stays.
        await self._remove(there.name, there.etag)
        await self._end(move)

    # --- a directory

    async def move_directory(self, source: Blob, target: FolderPath, name: str, there: Blob | None) -> Blob:
        """Give a directory with all below it another name; at ``there`` may be an empty one."""
        move = Move(source.name, name, True, there is not None and not there.implied)
        try:
            await self._write_note(move)
            made = await self._claim(move, source, target, there)
            async for batch in self._batches(f"{source.name}/"):
                await together(*(self._copy(move, blob) for blob in batch))
                await self._renew(move)
            await self._write_note(attrs.evolve(move, copied=True))
            move.copied = True
        except BaseException as error:
            await self._abandon(move, error)
            raise
        await self._complete(move, self._finish(move))
        return made

    async def _claim(self, move: Move, source: Blob, target: FolderPath, there: Blob | None) -> Blob:
        """Take the name, before anything is put below it."""
        metadata = {**source.lasting, "hdi_isfolder": "true", WRITER: move.token, MOVED: source.etag or "implied"}
        condition = same(there.etag) if there is not None and not there.implied else FREE
        try:
            return await self._container.put(move.target, (), metadata, condition)
        except Refused as refused:
            if not refused.conflict:
                raise
            found = await self._container.head(move.target)
            if found is not None and found.metadata.get(WRITER) == move.token:
                return found
            raise AlreadyExists(target) from None

    async def _copy(self, move: Move, blob: Blob) -> None:
        name = move.target + blob.name[len(move.source) :]
        metadata = {**blob.lasting, WRITER: move.token, MOVED: blob.etag}
        try:
            await transplant((self._container, blob), self._container, name, metadata, FREE)
        except Refused as refused:
            if not refused.conflict:
                raise
            found = await self._container.head(name)
            if found is None or found.metadata.get(WRITER) != move.token:
                raise

    async def _batches(self, prefix: str) -> AsyncIterator[list[Blob]]:
        batch: list[Blob] = []
        async for blob in walk(self._container, prefix, self._pool):
            batch.append(blob)
            if len(batch) == SIDE_BY_SIDE:
                yield batch
                batch = []
        if batch:
            yield batch

    async def _finish(self, move: Move) -> None:
        """Remove the old names of what has new ones; what was changed or added meanwhile stays where it is."""
        async for batch in self._batches(f"{move.target}/"):
            await together(*(self._remove_source(move, blob) for blob in batch))
            await self._renew(move)
        marker = await self._container.head(move.target)
        if marker is not None:
            await self._remove_source(move, marker)
        await self._end(move)

    async def _remove_source(self, move: Move, copy: Blob) -> None:
        if copy.metadata.get(WRITER) == move.token and copy.metadata.get(MOVED, "implied") != "implied":
            await self._remove(move.source + copy.name[len(move.target) :], copy.metadata[MOVED])

    async def _undo(self, move: Move) -> None:
        """Remove the copies of what has not moved."""
        if move.directory:
            async for batch in self._batches(f"{move.target}/"):
                await together(*(self._remove_copy(move, blob) for blob in batch))
                await self._renew(move)
        found = await self._container.head(move.target)
        if found is not None and found.metadata.get(WRITER) == move.token:
            if move.replaces:
                await self._container.put(move.target, (), {"hdi_isfolder": "true"}, same(found.etag))
            else:
                await self._remove_copy(move, found)
        await self._end(move)

    async def _remove_copy(self, move: Move, copy: Blob) -> None:
        if copy.metadata.get(WRITER) == move.token:
            await self._remove(copy.name, copy.etag)

    async def _remove(self, name: str, etag: str) -> None:
        """Remove what was seen, if it still is there."""
        try:
            await self._container.delete(name, same(etag))
        except Refused as refused:
            if not refused.conflict:
                raise

    # --- notes

    async def _write_note(self, move: Move) -> None:
        await self._container.put(move.note, [move.text()], {}, self._held(move))
        self._noted = True
        if not self._renewed:
            await self._container.lease(move.note, "acquire", move.lease, LEASE)
        self._renewed = self._container.transport.now()

    def _held(self, move: Move) -> dict[str, str]:
        return {"x-ms-lease-id": move.lease} if self._renewed else {}

    async def _renew(self, move: Move) -> None:
        now = self._container.transport.now()
        if now - self._renewed > RENEW_AFTER:
            await self._container.lease(move.note, "renew", move.lease)
            self._renewed = now

    async def _end(self, move: Move) -> None:
        if self._noted:
            await self._container.delete(move.note, self._held(move))

    async def _abandon(self, move: Move, error: BaseException) -> None:
        """After a failure leave nothing, if the storage lets us; else whoever finds the note does."""
        if not self._noted:
            return
        try:
            await self.mend(move)
        except Exception as again:
            error.add_note(f"what was moved half-way will be mended later: {type(again).__name__}")

    async def _complete(self, move: Move, work: Coroutine[Any, Any, None]) -> None:
        """Do the rest of what has moved. If the storage does not let us even in a second attempt, the note stays, and it is done later."""
        try:
            try:
                await work
            except (Refused, GatewayError):
                await self.mend(move)
        except (Refused, GatewayError) as error:
            log.warn("an old name is still there, and will be removed later: {error}", error=str(error))

    async def mend(self, move: Move) -> None:
        """Bring a move that was cut to an end: forwards if it has moved, else back."""
        if move.directory:
            await (self._finish(move) if move.copied else self._undo(move))
            return
        copy = await self._container.head(move.target)
        if copy is not None and copy.metadata.get(WRITER) == move.token:
            source = await self._container.head(move.source)
            if source is not None and source.etag == copy.metadata.get(MOVED):
                await self._remove(move.source, source.etag)
        await self._end(move)

    async def mend_all(self) -> None:
        """Mend every move whose worker is gone."""
        async for found in walk(self._container, NOTES):
            try:
                _, content = await self._container.get(found.name, 0, max(1, found.size), found.etag)
                move = Move(**json.loads(content))
                move.lease = str(uuid4())
                await self._container.lease(move.note, "acquire", move.lease, LEASE)
            except (Refused, ValueError, TypeError):
                continue  # somebody works on it, or has ended it, or has only begun to write it
            self._noted, self._renewed = True, self._container.transport.now()
            await self.mend(move)
            self._noted, self._renewed = False, 0.0

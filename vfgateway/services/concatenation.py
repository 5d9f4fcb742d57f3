"""Partial uploads that become one file."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from sqlalchemy import Connection

from vfgateway.abilities import IResumableStaging
from vfgateway.errors import GatewayError, InvalidArgument, Unsupported, UploadNotFound
from vfgateway.interfaces import IStagedFile
from vfgateway.model import Usage
from vfgateway.services import holds
from vfgateway.services.context import FolderContext
from vfgateway.services.resumable import ResumableUpload
from vfgateway.services.uploads import UploadRow, UploadState

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway
    from vfgateway.services.staging import Staging

#: Where a part remembers the upload that it went into (in ``info``), for a client that asks again.
JOINED_INTO = "joined-into"


async def concatenate(
    gateway: Gateway, staging: Staging, context: FolderContext, row: UploadRow, parts: Sequence[ResumableUpload]
) -> ResumableUpload:
    """Join, publish and remove ``parts``. On failure they are as before."""
    if not parts:
        raise InvalidArgument("parts", "name at least one upload")
    if (joined := await _joined_before(staging, context, parts)) is not None:
        return joined
    if not IResumableStaging.providedBy(context.folder):
        raise Unsupported("joining uploads")
    distinct = sorted({part.id: part for part in parts}.values(), key=lambda part: part.id)
    try:
        for part in distinct:
            await part.acquire()
            if not part.partial or not part.whole:
                raise InvalidArgument("parts", f"upload {part.id} is not a complete partial upload")
            await part.mark()
        stage: IStagedFile = await context.folder.join(row.target, [part.id for part in parts])
        row = attrs.evolve(row, id=stage.token, size=stage.size)
        upload = await _enter(gateway, staging, context, stage, row, distinct)
    except BaseException:
        for part in distinct:
            with contextlib.suppress(GatewayError):
                await part.release()
        raise
    for part in distinct:
        await part.absorb({**part.info, JOINED_INTO: row.id})
    return upload


async def _joined_before(
    staging: Staging, context: FolderContext, parts: Sequence[ResumableUpload]
) -> ResumableUpload | None:
    """The upload that these very parts went into, if they did."""
    into = {part.info.get(JOINED_INTO) for part in parts}
    if len(into) != 1 or not all(part.published for part in parts):
        return None
    (upload_id,) = into
    if upload_id is None:
        return None
    return ResumableUpload(staging, context, await staging.uploads.get(upload_id))


async def _enter(
    gateway: Gateway,
    staging: Staging,
    context: FolderContext,
    stage: IStagedFile,
    row: UploadRow,
    parts: Sequence[ResumableUpload],
) -> ResumableUpload:
    """Record the whole, with the room of its parts made its own, and publish it. On failure the parts have their room back."""
    held = {part.id: part.offset for part in parts}

    def move_in(connection: Connection) -> None:
        for part_id in held:
            for subject, amount in holds.held_by(connection, part_id).items():
                holds.add_hold(connection, row.id, gateway.processes.id, subject, amount)
            holds.drop_holds(connection, part_id)

    def move_out(connection: Connection) -> None:
        for subject in list(holds.held_by(connection, row.id)):
            for part_id, size in held.items():
                holds.add_hold(connection, part_id, gateway.processes.id, subject, Usage(size, 0))
        holds.drop_holds(connection, row.id)

    await staging.uploads.add(row, context.vfolder.volume)
    upload = ResumableUpload(staging, context, row)
    await gateway.database.write(move_in)
    try:
        await stage.close()
        await upload.finish()
    except BaseException:
        await gateway.database.write(move_out)
        with contextlib.suppress(UploadNotFound):
            await upload.cancel()
        raise
    assert upload.state is UploadState.PUBLISHED
    return upload

"""Opening files for in-place work; see :mod:`vfgateway.services.inplace`."""

from __future__ import annotations

from functools import lru_cache

import attrs

from vfgateway.abilities import IAtHand, IRandomWrite
from vfgateway.errors import AlreadyExists, IsADirectory, Locked, NotFound, Unsupported
from vfgateway.interfaces import IFile
from vfgateway.model import FileStat, OpenMode, Permission, Usage
from vfgateway.paths import FolderPath
from vfgateway.services.claimed import is_claimed, settle_now, take_now
from vfgateway.services.context import FolderContext
from vfgateway.services.handles import Handle
from vfgateway.services.inplace import CopyHandle, WritableHandle
from vfgateway.services.localcopies import LocalCopy
from vfgateway.services.windows import Window

#: Modes, combined once: that takes longer than much else here.
_CHANGES, _BOTH = OpenMode.WRITE | OpenMode.CREATE, OpenMode.READ | OpenMode.WRITE
#: What making a file is counted as.
_ONE = Usage(0, 1)


async def open_handle(context: FolderContext, path: FolderPath, mode: OpenMode) -> Handle:
    """Open a regular file; see ``FolderSession.open``."""
    if not mode & _CHANGES:
        return Handle(context, path, await context.reading(path).open(path, OpenMode.READ))
    context.allow(Permission.RW, path, "write this")
    if path.is_root:
        raise IsADirectory(path)
    window = await Window.begin(context, path)
    try:
        return await _open_to_write(context, path, mode | _BOTH, window)
    except BaseException:
        await window.end()
        raise


@attrs.frozen
class _Steps:
    """A mode in parts.

    :ivar changes: to be asked for with more than reading
    :ivar present: to open what is there
    :ivar make: to make what is not; ``None`` if that must not be
    """

    changes: bool
    present: OpenMode
    make: OpenMode | None
    exclusive: bool
    truncates: bool


@lru_cache(64)
def _steps(bits: int) -> _Steps:
    """By the number of the mode: to look a mode up takes a call."""
    mode = OpenMode(bits)
    creates = OpenMode.CREATE in mode
    make = mode | _BOTH | OpenMode.EXCLUSIVE if creates else None
    return _Steps(bool(mode & _CHANGES), _BOTH, make, creates and OpenMode.EXCLUSIVE in mode, OpenMode.TRUNCATE in mode)


def open_now(context: FolderContext, path: FolderPath, mode: OpenMode) -> Handle | None:
    """As :func:`open_handle`, if nothing has to be waited for; else ``None``, and nothing has happened. Not a coroutine.

    To write, for those alone who may remove what they like: of all others it is remembered what they created.
    """
    steps = _steps(mode._value_)
    if not steps.changes:
        readable = context.reading(path)
        read = readable.open_now(path, OpenMode.READ) if IAtHand.providedBy(readable) else None
        return None if read is None else Handle(context, path, read)
    context.allow(Permission.RW, path, "write this")
    folder = context.folder
    if path.is_root or not IAtHand.providedBy(folder) or not is_claimed(context, path):
        return None
    file = None if steps.make is None else _make_now(context, folder, path, steps.make)
    if file is not None:
        return WritableHandle(context, path, file, None)
    if steps.exclusive:
        return None
    return _open_present_now(context, folder, path, steps)


def _make_now(context: FolderContext, folder: IAtHand, path: FolderPath, mode: OpenMode) -> IFile | None:
    """Make a file; ``None`` if one is there, or if nothing could be done."""
    needs = take_now(context, _ONE)
    if needs is None:
        return None
    file: IFile | None = None
    try:
        file = folder.open_now(path, mode)
    except AlreadyExists:
        pass
    finally:
        if file is not None or needs:
            settle_now(context, path, _ONE if file is not None else Usage(), needs)
    return file


def _open_present_now(context: FolderContext, folder: IAtHand, path: FolderPath, steps: _Steps) -> Handle | None:
    try:
        file = folder.open_now(path, steps.present)
    except NotFound:
        if steps.make is None:
            raise
        return None
    if file is None:
        return None
    handle = WritableHandle(context, path, file, None)
    if steps.truncates and not handle.truncate_now(0):
        handle.close_now()
        return None
    return handle


async def _open_to_write(context: FolderContext, path: FolderPath, mode: OpenMode, window: Window) -> Handle:
    try:
        file = None
        if OpenMode.CREATE in mode and not await context.gateway.quota.is_limited(context.vfolder):
            file = await _make(context, path, mode, window)
        if file is None:
            file = await _open_or_make(context, path, mode, window)
        if not IRandomWrite.providedBy(file):
            await file.close()
            raise Unsupported("writing in place")
    except Unsupported:
        await window.end()
        return CopyHandle(context, path, await LocalCopy.open(context, path, mode))
    if window.made:
        window.also = context.after_creation(window.intent, path)
    handle = WritableHandle(context, path, file, window)
    if window.made:
        try:
            await context.remember_creation(path)
        except BaseException:
            await handle.close()
            raise
    return handle


async def _make(context: FolderContext, path: FolderPath, mode: OpenMode, window: Window) -> IFile | None:
    """Make a file without looking first, where no limit can be in the way; ``None`` if one is there, or none must be made."""
    try:
        window.intent.names(context.lock_path(path))
        file: IFile = await context.folder.open(path, mode | OpenMode.EXCLUSIVE)
    except (AlreadyExists, Locked):
        return None
    window.made = 1
    return file


async def _open_or_make(context: FolderContext, path: FolderPath, mode: OpenMode, window: Window) -> IFile:
    present = await _present(context, path)
    makes = present is None and OpenMode.CREATE in mode
    if makes:
        window.intent.names(context.lock_path(path))
        await window.reservation.ensure(Usage(0, 1))
    file: IFile = await context.folder.open(path, mode)
    if makes:
        window.made = 1
    elif present is not None:
        window.began_with = window.size = present.size
        if OpenMode.TRUNCATE in mode:
            window.size = 0
    return file


async def _present(context: FolderContext, path: FolderPath) -> FileStat | None:
    try:
        return await context.folder.stat(path)
    except NotFound:
        return None

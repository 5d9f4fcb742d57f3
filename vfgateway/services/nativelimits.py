"""Limits of quota scopes and vfolders where the storage enforces them as well: ours are set there, and the two views are held against each
other.

The storage's limit is what stops jobs that write through their mounts; the ledger's is what stops everybody else, to the byte. Where they differ, ours is
what was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from twisted.logger import LogLevel

from vfgateway.abilities import INativeFolderQuota, INativeQuota
from vfgateway.errors import GatewayError, QuotaScopeNotFound, Unsupported, VFolderNotFound, VolumeUnavailable
from vfgateway.interfaces import IVolume
from vfgateway.model import Limits, QuotaScopeId, Usage, VFolder, VFolderId, VFolderStatus
from vfgateway.services.events import Event
from vfgateway.services.quota import Quota
from vfgateway.services.tasks import RunningTask
from vfgateway.services.vfolders import VFolders

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: Seconds from the start to the first look.
FIRST = 120.0


async def set_there(volume: IVolume, scope: QuotaScopeId, limits: Limits) -> None:
    """Set the limits where the storage can. Raises what it has against them."""
    if INativeQuota.providedBy(volume):
        await volume.set_limits(scope, limits)


async def set_on_folder(volume: IVolume, vfid: VFolderId, limits: Limits) -> None:
    """As :func:`set_there`, for a vfolder. One of which the storage cannot limit the bytes has the ledger's limits alone."""
    if INativeFolderQuota.providedBy(volume):
        with suppress(Unsupported):
            await volume.set_folder_limits(vfid, limits)


def is_limited_by(volume: IVolume) -> bool:
    """Whether the storage enforces limits itself."""
    return bool(INativeQuota.providedBy(volume) or INativeFolderQuota.providedBy(volume))


async def differences(
    name: str, volume: IVolume, vfolders: VFolders, quota: Quota, fix: bool
) -> Sequence[tuple[str, bool]]:
    """In what the storage and we disagree about a volume, a sentence each, and whether it was put right.

    :param fix: set our limits there; usage is put right by counting vfolders
    """
    told: list[tuple[str, bool]] = []
    if INativeQuota.providedBy(volume):
        told += await _of_scopes(name, volume, vfolders, quota, fix)
    if INativeFolderQuota.providedBy(volume):
        for vfolder in await vfolders.list():
            if vfolder.volume == name and vfolder.status is VFolderStatus.READY:
                told += await _of_vfolder(volume, vfolder, fix)
    return told


async def _of_vfolder(volume: Any, vfolder: VFolder, fix: bool) -> Sequence[tuple[str, bool]]:
    """Only limits: what is used is counted there in blocks."""
    wanted = _kept(vfolder.limits, volume)
    try:
        _, there = await volume.native_folder_usage(vfolder.id)
        if there == wanted:
            return []
        if fix:
            await volume.set_folder_limits(vfolder.id, vfolder.limits)
    except (VFolderNotFound, Unsupported):
        return []
    except GatewayError as error:
        return [(f"the storage does not tell the limits of vfolder {vfolder.id}: {error}", False)]
    return [(f"the storage limits vfolder {vfolder.id} to {_words(there)}, we to {_words(wanted)}", fix)]


def _kept(limits: Limits, volume: Any) -> Limits:
    """What the storage makes of ``limits``."""
    kept = limits.rounded_up(volume.limit_step)
    return kept if volume.limits_files else Limits(kept.bytes)


async def _of_scopes(name: str, volume: Any, vfolders: VFolders, quota: Quota, fix: bool) -> Sequence[tuple[str, bool]]:
    told: list[tuple[str, bool]] = []
    for scope, limits in await vfolders.scopes(name):
        try:
            used, there = await volume.native_usage(scope)
            if there != limits:
                if fix:
                    await volume.set_limits(scope, limits)
                told.append((f"the storage limits {scope} to {_words(there)}, we to {_words(limits)}", fix))
        except QuotaScopeNotFound:
            continue  # it has nothing on this volume yet
        except GatewayError as error:
            told.append((f"the storage does not tell the limits of {scope}: {error}", False))
            continue
        charged = await quota.scope_usage(name, scope)
        if used != charged:
            told.append((f"the storage counts {_used(used)} in {scope}, we {_used(charged)}", False))
    return told


@attrs.frozen(kw_only=True)
class NativeDifference(Event):
    """The storage and we disagree about a quota scope; ``mended``: not any more."""

    name: ClassVar[str] = "native_difference"
    level: ClassVar[Any] = LogLevel.warn

    volume: str
    detail: str
    mended: bool


class Reconciliation:
    """Holds both views against each other every so often, by a background task."""

    def __init__(self, gateway: Gateway, every: float) -> None:
        self._gateway = gateway
        gateway.tasks.register("reconcile_limits", self._task)
        if every:
            gateway.tasks.schedule.add("reconcile_limits", every, first=FIRST, is_due=self._is_due)

    async def _is_due(self) -> bool:
        return bool(await self._volumes())

    async def _volumes(self) -> Sequence[tuple[str, IVolume]]:
        """Those that have limits of their own, and answer."""
        found = []
        for name in self._gateway.volumes:
            with suppress(VolumeUnavailable):
                volume = self._gateway.volumes.get(name)
                if is_limited_by(volume):
                    found.append((name, volume))
        return found

    async def _task(self, task: RunningTask) -> None:
        gateway, mended, told = self._gateway, 0, 0
        volumes = await self._volumes()
        for done, (name, volume) in enumerate(volumes, 1):
            for detail, fixed in await differences(name, volume, gateway.vfolders, gateway.quota, fix=True):
                told, mended = told + 1, mended + fixed
                gateway.events.publish(NativeDifference(volume=name, detail=detail, mended=fixed))
            await task.progress(done, len(volumes), f"{told} differences, {mended} of them put right")


def _words(limits: Limits) -> str:
    size = "no bytes" if limits.bytes == 0 else "any size" if limits.bytes is None else f"{limits.bytes} bytes"
    return size if limits.files is None else f"{size} and {limits.files} files"


def _used(usage: Usage) -> str:
    return f"{usage.bytes} bytes in {usage.files} entries"

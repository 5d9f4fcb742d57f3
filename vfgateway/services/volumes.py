"""The configured volumes: start them without letting a dead one hold up the rest, and find them by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger

from vfgateway.errors import GatewayError, UnknownVolume, VolumeUnavailable
from vfgateway.interfaces import IVolume
from vfgateway.model import Health, HealthState, VFolder

#: Seconds between attempts to start a volume; the last one repeats.
RETRIES = (1.0, 2.0, 5.0, 10.0, 30.0)
#: Seconds after which a start or a health check counts as hung.
PATIENCE = 20.0


@attrs.define(eq=False)
class _Slot:
    volume: IVolume
    started: bool = False
    reason: str = "not started yet"
    starting: Deferred[None] | None = None


class Volumes:
    """All volumes by name, in the order of the configuration."""

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._slots: dict[str, _Slot] = {}

    def add(self, volume: IVolume) -> None:
        """Take a volume in, before :meth:`start`."""
        self._slots[volume.name] = _Slot(volume)

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def get(self, name: str) -> IVolume:
        """A volume that is ready for use. Raises ``UnknownVolume`` or ``VolumeUnavailable``."""
        slot = self._slot(name)
        if not slot.started:
            raise VolumeUnavailable(name, slot.reason)
        return slot.volume

    def of(self, vfolder: VFolder) -> IVolume:
        """Where a vfolder lies. ``VolumeUnavailable``, also while that volume is not in the configuration: nobody has asked for it by name."""
        try:
            return self.get(vfolder.volume)
        except UnknownVolume:
            raise VolumeUnavailable(vfolder.volume, "it is not in the configuration") from None

    def configured(self, name: str) -> IVolume:
        """A volume, ready or not. Raises ``UnknownVolume``."""
        return self._slot(name).volume

    def _slot(self, name: str) -> _Slot:
        try:
            return self._slots[name]
        except KeyError:
            raise UnknownVolume(name) from None

    async def start(self) -> None:
        """Begin to start all; returns when each has been tried once or has taken longer than :data:`PATIENCE`."""
        tried: list[Deferred[None]] = []
        for slot in self._slots.values():
            first: Deferred[None] = Deferred()
            tried.append(first)
            slot.starting = Deferred.fromCoroutine(self._keep_starting(slot, first))
        await gatherResults(tried)

    async def _keep_starting(self, slot: _Slot, first: Deferred[None]) -> None:
        attempt = 0
        try:
            while not slot.started:
                try:
                    await self._in_time(Deferred.fromCoroutine(slot.volume.start()))
                    slot.started, slot.reason = True, ""
                    self.log.info(
                        "volume {name} ({backend}) is ready", name=slot.volume.name, backend=slot.volume.backend
                    )
                except VolumeUnavailable as error:
                    self._note_failure(slot, error.reason or str(error))
                except GatewayError as error:
                    self._note_failure(slot, str(error))
                except Exception:
                    self.log.failure("volume {name} failed to start", name=slot.volume.name)
                    slot.reason = "internal error, see the log"
                if not first.called:
                    first.callback(None)
                if not slot.started:
                    await deferLater(self._reactor, RETRIES[min(attempt, len(RETRIES) - 1)])
                    attempt += 1
        except CancelledError:
            if not first.called:
                first.callback(None)

    def _note_failure(self, slot: _Slot, reason: str) -> None:
        if reason != slot.reason:
            slot.reason = reason
            self.log.error("volume {name} cannot start, will retry: {reason}", name=slot.volume.name, reason=reason)

    async def _in_time(self, call: Deferred[Any]) -> Any:
        """Wait for ``call``, but say that the storage is unavailable when it takes longer than :data:`PATIENCE`."""
        try:
            return await call.addTimeout(PATIENCE, self._reactor)
        except TimeoutError:
            raise VolumeUnavailable("", f"no answer within {PATIENCE:.0f} seconds") from None

    async def stop(self) -> None:
        """Stop all, at the same time."""
        for slot in self._slots.values():
            if slot.starting is not None:
                slot.starting.cancel()
        await gatherResults([Deferred.fromCoroutine(self._stop(slot)) for slot in self._slots.values()])

    async def _stop(self, slot: _Slot) -> None:
        slot.started, slot.reason = False, "stopped"
        try:
            await self._in_time(Deferred.fromCoroutine(slot.volume.stop()))
        except Exception:
            self.log.failure("volume {name} failed to stop", name=slot.volume.name)

    async def health(self, name: str) -> Health:
        """How a volume is; never raises for one that does not answer."""
        slot = self._slot(name)
        if not slot.started:
            return Health(HealthState.UNAVAILABLE, slot.reason)
        try:
            health: Health = await self._in_time(Deferred.fromCoroutine(slot.volume.health()))
            return health
        except GatewayError as error:
            return Health(HealthState.UNAVAILABLE, str(error))

"""Ends what has had its time, in the process that leads: temporary vfolders go to the trash, what lay in the trash long enough is removed by
a background task, and invitations, share links and sessions that have expired are struck."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from vfgateway.errors import GatewayError
from vfgateway.model import VFolderStatus
from vfgateway.services.leading import WhileLeading
from vfgateway.services.permissions import has_expired

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: Seconds between two looks.
EVERY = 60.0
#: Who deletes what has expired.
EXPIRY = "its expiry"


class Retention:
    """See the module."""

    log = Logger()

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._loop = WhileLeading(gateway.reactor, gateway.processes, EVERY, self.look, "look for what has expired")

    def start(self) -> None:
        """Begin, with a look at once."""
        self._loop.start()

    async def stop(self) -> None:
        """End. Idempotent."""
        await self._loop.stop()

    async def look(self) -> None:
        """End all whose time has passed."""
        gateway = self._gateway
        steps: tuple[Callable[[], Awaitable[object]], ...] = (
            self._expire,
            self._purge,
            gateway.file_trash.sweep,
            gateway.collaboration.sweep,
            gateway.share_links.sweep,
        )
        for step in steps:
            try:
                await step()
            except CancelledError:
                raise
            except Exception:
                self.log.failure("could not end what has expired")

    async def _expire(self) -> None:
        gateway, now = self._gateway, self._gateway.reactor.seconds()
        for vfolder in await gateway.vfolders.list():
            if vfolder.status is VFolderStatus.READY and has_expired(vfolder, now):
                await self._quietly(gateway.trash.put(vfolder, EXPIRY), vfolder.id)

    async def _purge(self) -> None:
        for trashed in await self._gateway.trash.due():
            await self._quietly(self._gateway.trash.purge(trashed.vfolder.key), trashed.vfolder.id)

    async def _quietly(self, work: Awaitable[object], vfid: object) -> None:
        try:
            await work
        except GatewayError as error:
            self.log.warn("cannot end {vfid}: {error}", vfid=str(vfid), error=str(error))

"""What a vfolder holds, for managers that ask: counted afresh when that is quick, otherwise as the ledger has it.

Jobs on the cluster write to the same storage without asking the gateway, so the ledger can be behind. A count that finds it wrong
has it corrected.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure

from vfgateway.errors import GatewayError
from vfgateway.model import Usage, VFolder, VFolderStatus
from vfgateway.principals import INTERNAL, ORCHESTRATOR
from vfgateway.services import trees
from vfgateway.services.gateway import Gateway

#: Seconds after which the ledger's figure is given instead. The reference gave up after 30.
PATIENCE = 20.0


class Counting:
    """Counts vfolders, each once for all who ask at the same time."""

    log = Logger()

    def __init__(self, gateway: Gateway, patience: float = PATIENCE) -> None:
        self._gateway = gateway
        self._patience = patience
        self._waiting: dict[int, list[Deferred[Usage]]] = {}

    async def usage(self, vfolder: VFolder) -> Usage:
        """What ``vfolder`` holds, with what uploads under way have brought so far."""
        waiter: Deferred[Usage] = Deferred()
        if vfolder.key in self._waiting:
            self._waiting[vfolder.key].append(waiter)
        else:
            self._waiting[vfolder.key] = [waiter]
            Deferred.fromCoroutine(self._usage(vfolder)).addBoth(self._tell, vfolder.key)
        return await waiter

    def _tell(self, outcome: Usage | Failure, key: int) -> None:
        for waiter in self._waiting.pop(key):
            if not waiter.called:
                waiter.callback(outcome)

    async def _usage(self, vfolder: VFolder) -> Usage:
        ledger = await self._gateway.quota.usage(vfolder)
        counting = Deferred.fromCoroutine(self._count(vfolder))
        try:
            counted = await counting.addTimeout(self._patience, self._gateway.reactor)
        except TimeoutError:
            return ledger
        uploads = await self._gateway.staging.list(vfolder)
        if not uploads and counted != ledger and vfolder.status is VFolderStatus.READY:
            await self._correct(vfolder, ledger)
        return counted + Usage(sum(upload.offset for upload in uploads), len(uploads))

    async def _count(self, vfolder: VFolder) -> Usage:
        folder = await self._gateway.session(ORCHESTRATOR, INTERNAL).folder(vfolder.id, vfolder.volume)
        return await trees.measure(folder.context.folder)

    async def _correct(self, vfolder: VFolder, ledger: Usage) -> None:
        """Begin to correct the ledger, unless somebody wrote meanwhile, which explains the difference."""
        if await self._gateway.quota.usage(vfolder) == ledger:
            Deferred.fromCoroutine(self._recount(vfolder))

    async def _recount(self, vfolder: VFolder) -> None:
        try:
            await self._gateway.lifecycle.recount(vfolder)
        except GatewayError as error:
            self.log.info("could not recount {vfid}: {error}", vfid=str(vfolder.id), error=error)
        except Exception:
            self.log.failure("could not recount {vfid}", vfid=str(vfolder.id))

"""The registry of vfolders, made again from what lies on the volumes."""

from __future__ import annotations

from collections.abc import Sequence

from vfgateway.protocols.manager.faults import shown
from vfgateway.protocols.web.fields import Answer, Closed, Flag
from vfgateway.protocols.web.routing import Call, NoParameters, Reply, Routes
from vfgateway.services.gateway import Gateway
from vfgateway.services.rebuilding import Orphan


class RebuildOrder(Closed):
    """``accounts``: make the accounts that descriptions name and that are not there, without passwords."""

    accounts: Flag = False


class OrphanInfo(Answer):
    """A folder that no vfolder is registered for: what lies beside it says of it, and what became of it. Without ``vfid`` it is a volume that
    could not be looked at. ``described`` is false where nothing lies beside it that can be read."""

    volume: str
    vfid: str | None
    name: str | None
    owner: str | None
    described: bool
    entered: bool
    problem: str


class OrphanList(Answer):
    """Folders that no vfolder is, or was, registered for."""

    folders: list[OrphanInfo]


class RegistryRoutes(Routes):
    """See the module."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="vfolders")
        self.add("GET", "/registry/orphans", self.orphans, NoParameters, {200: OrphanList})
        self.add("POST", "/registry/rebuild", self.rebuild, RebuildOrder, {200: OrphanList})

    async def orphans(self, call: Call, params: NoParameters) -> Reply:
        """List what a rebuild would register."""
        return Reply(body=_told(await self.gateway.rebuilding.orphans()))

    async def rebuild(self, call: Call, params: RebuildOrder) -> Reply:
        """Register every folder that is not, as it is described where it lies. Each is counted in the background."""
        return Reply(body=_told(await self.gateway.rebuilding.rebuild(params.accounts)))


def _told(orphans: Sequence[Orphan]) -> OrphanList:
    return OrphanList(folders=[_one(orphan) for orphan in orphans])


def _one(orphan: Orphan) -> OrphanInfo:
    found = orphan.description
    trashed = found.trash if found is not None else None
    name = trashed.name if trashed is not None else found.name if found is not None else None
    owner = None
    if found is not None and found.owner is not None:
        owner = found.owner.name or str(found.owner.id)
    return OrphanInfo(
        volume=orphan.volume,
        vfid=None if orphan.vfid is None else str(orphan.vfid),
        name=None if name is None else shown(name),
        owner=None if owner is None else shown(owner),
        described=found is not None,
        entered=orphan.entered,
        problem=shown(orphan.problem),
    )

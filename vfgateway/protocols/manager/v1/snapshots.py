"""Snapshots of all vfolders."""

from __future__ import annotations

from vfgateway.protocols.web.routing import Call
from vfgateway.protocols.web.snapshotroutes import SnapshotRoutes
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession


class ManagerSnapshotRoutes(SnapshotRoutes):
    """See the module."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "/vfolders/{vfolder}")

    async def hands(self, call: Call) -> FolderSession:
        """By its digits."""
        vfolder = await self.gateway.vfolders.resolve(call.path["vfolder"])
        return await self.gateway.session(call.principal, call.origin).folder(vfolder.id, vfolder.volume)

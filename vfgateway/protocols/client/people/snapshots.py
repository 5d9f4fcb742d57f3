"""Snapshots of my vfolders."""

from __future__ import annotations

from vfgateway.protocols.client.people import rooms
from vfgateway.protocols.client.people.dispatch import PersonsCall
from vfgateway.protocols.web.snapshotroutes import SnapshotRoutes
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession


class PeoplesSnapshotRoutes(SnapshotRoutes):
    """See the module."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "/vfolders/{folder}")

    async def hands(self, call: PersonsCall) -> FolderSession:
        """By the name that the caller sees."""
        return await rooms.folder(self.gateway, call)

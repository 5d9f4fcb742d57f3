"""Making vfolders by oneself, where the site lets people."""

from __future__ import annotations

from vfgateway.errors import ConfigurationError
from vfgateway.protocols.client.people import rooms
from vfgateway.protocols.client.people.bodies import VFolderCreation, VFolderInfo
from vfgateway.protocols.client.people.dispatch import PersonsCall
from vfgateway.protocols.client.settings import SelfServiceSettings
from vfgateway.protocols.web.routing import Reply, Routes
from vfgateway.services.gateway import Gateway
from vfgateway.services.selfservice import Policy, make_vfolder


class SelfServiceRoutes(Routes):
    """See the module. ``ConfigurationError`` for a volume that is not configured.

    :param settings: ``None`` where the site lets nobody
    """

    def __init__(self, gateway: Gateway, settings: SelfServiceSettings | None) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="vfolders")
        self._policy = None
        if settings is not None:
            self._policy = Policy(settings.volumes, settings.most, settings.max_size)
            for name in settings.volumes:
                if name not in list(gateway.volumes):
                    raise ConfigurationError("frontends.client.self_service.volumes", f"there is no volume {name!r}")
        self.add("POST", "/vfolders", self.vfolder_create, VFolderCreation, {201: VFolderInfo}, 404, 409)

    async def vfolder_create(self, call: PersonsCall, params: VFolderCreation) -> Reply:
        """Make a vfolder, where the site lets people: mine, or a group's that I administer."""
        principal, group = await call.session.refresh(), None
        if params.group is not None:
            group = (await self.gateway.accounts.group(rooms.account(params.group))).id
        made = await make_vfolder(
            self.gateway,
            principal,
            self._policy,
            params.name,
            group=group,
            volume=params.volume,
            limit_bytes=params.limit_bytes,
            expires=params.expires,
        )
        entry = await rooms.by_key(self.gateway, call, made.key)
        return Reply(201, await rooms.describe(self.gateway, call, entry, await rooms.names(self.gateway)))

"""Puts the manager front end together: all routes, the document that describes them, and who may use them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attrs

from vfgateway.protocols.manager.access import Access, Gate
from vfgateway.protocols.manager.dispatch import Dispatcher
from vfgateway.protocols.manager.files import FileRoutes
from vfgateway.protocols.manager.folders import FolderRoutes
from vfgateway.protocols.manager.health import HealthMonitor, HealthRoutes
from vfgateway.protocols.manager.openapi import document
from vfgateway.protocols.manager.scopes import ScopeRoutes
from vfgateway.protocols.manager.sessions import SessionRoutes
from vfgateway.protocols.manager.v1.accounts import AccountRoutes
from vfgateway.protocols.manager.v1.activity import ActivityRoutes
from vfgateway.protocols.manager.v1.audit import AuditRoutes
from vfgateway.protocols.manager.v1.links import LinkRoutes
from vfgateway.protocols.manager.v1.logins import LoginRoutes
from vfgateway.protocols.manager.v1.registry import RegistryRoutes
from vfgateway.protocols.manager.v1.running import RunningRoutes
from vfgateway.protocols.manager.v1.scans import ScanRoutes
from vfgateway.protocols.manager.v1.sharing import SharingRoutes
from vfgateway.protocols.manager.v1.snapshots import ManagerSnapshotRoutes
from vfgateway.protocols.manager.v1.storageaccess import StorageAccessRoutes
from vfgateway.protocols.manager.v1.system import SystemRoutes
from vfgateway.protocols.manager.v1.vfolders import VFolderRoutes
from vfgateway.protocols.manager.volumes import VolumeRoutes
from vfgateway.protocols.web.routing import JSON, Call, NoParameters, Raw, Reply, Route, Routes
from vfgateway.services.gateway import Gateway


@attrs.frozen
class Choices:
    """What the routes need to know of the configuration.

    :ivar scandir_limit: entries of the longest listing; 0 is no limit
    :ivar auto_scopes: make a missing quota scope together with the first vfolder in it
    :ivar clone_patience: seconds for which the reply to a clone waits for its end
    :ivar public_metrics: tell the metrics without the secret
    :ivar client_url: where people reach the client front end; ``""`` if that is not known
    """

    scandir_limit: int = 10_000
    auto_scopes: bool = True
    clone_patience: float = 10.0
    public_metrics: bool = False
    client_url: str = ""


class DocumentRoutes(Routes):
    """The OpenAPI document, itself included."""

    def __init__(self, gateway: Gateway, others: Sequence[Routes]) -> None:
        super().__init__(gateway, tag="health")
        self.add("GET", "/openapi.json", self.openapi, NoParameters, {200: Raw(JSON, "This document")})
        table = [route for routes in (*others, self) for route in routes.table]
        self._document = json.dumps(document(table, list(gateway.volumes)), indent=1).encode("ascii")

    async def openapi(self, call: Call, params: NoParameters) -> Reply:
        """Describe this API."""
        return Reply(body=self._document, media_type=JSON)


class Application:
    """All routes of one gateway.

    :ivar monitor: looks at health; started and stopped by the front end
    """

    def __init__(self, gateway: Gateway, choices: Choices) -> None:
        self._gateway = gateway
        self.monitor = HealthMonitor(gateway)
        groups: list[Routes] = [
            HealthRoutes(gateway, self.monitor, choices.public_metrics),
            VolumeRoutes(gateway),
            ScopeRoutes(gateway),
            FolderRoutes(gateway, choices.auto_scopes, choices.clone_patience),
            FileRoutes(gateway, choices.scandir_limit),
            SessionRoutes(gateway),
            AccountRoutes(gateway),
            LoginRoutes(gateway),
            VFolderRoutes(gateway),
            LinkRoutes(gateway, choices.client_url),
            StorageAccessRoutes(gateway),
            SharingRoutes(gateway, choices.client_url),
            ActivityRoutes(gateway),
            AuditRoutes(gateway),
            RunningRoutes(gateway),
            ScanRoutes(gateway),
            ManagerSnapshotRoutes(gateway),
            RegistryRoutes(gateway),
            SystemRoutes(gateway, self.monitor),
        ]
        groups.append(DocumentRoutes(gateway, groups))
        self.table: list[Route[Any]] = [route for group in groups for route in group.table]
        self._dispatcher = Dispatcher(gateway, self.table)

    def gate(self, secrets: Sequence[str], by_peer: bool = False) -> Gate:
        """The resource for a site; see :class:`vfgateway.protocols.manager.access.Gate`."""
        return self._gate(self.table, self._dispatcher, Access(self._gateway, secrets, by_peer))

    def monitoring_gate(self) -> Gate:
        """The resource for a site on the inside: health and metrics, told to anybody, and nothing else."""
        table = HealthRoutes(self._gateway, self.monitor, public_metrics=True).table
        return self._gate(table, Dispatcher(self._gateway, table), Access(self._gateway, ()))

    def _gate(self, table: Sequence[Route[Any]], dispatcher: Dispatcher, access: Access) -> Gate:
        public = frozenset(route.path.encode("ascii") for route in table if route.public)
        return Gate(access, dispatcher.klein.resource(), public, self._gateway.metrics)

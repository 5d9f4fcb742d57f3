"""Puts the people's API together, and its document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vfgateway.protocols.client.people.account import AccountRoutes, DocumentRoutes
from vfgateway.protocols.client.people.credentials import CredentialRoutes
from vfgateway.protocols.client.people.dispatch import mount
from vfgateway.protocols.client.people.entering import CSRF_HEADER, PLAIN_COOKIE
from vfgateway.protocols.client.people.entries import EntryRoutes
from vfgateway.protocols.client.people.selfservice import SelfServiceRoutes
from vfgateway.protocols.client.people.sharing import SharingRoutes
from vfgateway.protocols.client.people.snapshots import PeoplesSnapshotRoutes
from vfgateway.protocols.client.people.vfolders import VFolderRoutes
from vfgateway.protocols.web.openapi import Api, document
from vfgateway.protocols.web.routing import Route

if TYPE_CHECKING:
    from vfgateway.protocols.client.app import ClientApp

_DESCRIPTION = f"""What people do with their vfolders and files.

Log in by `Authorization` (Basic with a password or key, Bearer with a key), or with a browser at `/vfgateway/v1/login`; a request that comes
by cookie and changes something shows the token of the login in `{CSRF_HEADER}`. Beside what is described here, a file has a URL of its own below
`/vfgateway/v1/files/<vfolder>/`, and `/vfgateway/v1/uploads` takes resumable uploads by tus and by the IETF's protocol. Failures are problems
(RFC 9457)."""

_SECURITY = {
    "basic": {"type": "http", "scheme": "basic", "description": "A name with its password or a key"},
    "key": {"type": "http", "scheme": "bearer", "description": "A key"},
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": PLAIN_COOKIE.decode("ascii"),
        "description": "A browser that logged in; over TLS the name begins with `__Host-`",
    },
}


def describe(table: Iterable[Route[Any]]) -> dict[str, Any]:
    """The document of all routes in ``table``."""
    return document(table, Api("vfgateway people's API", _DESCRIPTION, _SECURITY, refusals=(401, 403, 429)))


def install(app: ClientApp) -> None:
    """Add all routes to ``app``."""
    gateway = app.gateway
    groups = (
        AccountRoutes(gateway, app.settings.login_lifetime),
        CredentialRoutes(gateway),
        VFolderRoutes(gateway),
        SelfServiceRoutes(gateway, app.settings.self_service),
        SharingRoutes(gateway),
        EntryRoutes(app),
        PeoplesSnapshotRoutes(gateway),
    )
    table = [route for group in groups for route in group.table]
    mount(app.klein, gateway, [*table, *DocumentRoutes(gateway, table, describe).table])

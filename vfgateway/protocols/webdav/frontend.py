"""The WebDAV front end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.application.service import IService
from zope.interface import implementer

from vfgateway.interfaces import IFrontEnd
from vfgateway.protocols.web.lane import Lane
from vfgateway.protocols.web.site import GatewaySite, SiteListener
from vfgateway.protocols.webdav import express
from vfgateway.protocols.webdav.app import WebDav
from vfgateway.protocols.webdav.faults import fail
from vfgateway.protocols.webdav.settings import WebDavSettings
from vfgateway.services.gateway import Gateway


@implementer(IFrontEnd)
class WebDavFrontEnd:
    """See the module."""

    name = "webdav"
    summary = "Vfolders as a network drive: Finder, Explorer, GNOME Files, davfs2, rclone"

    def configure(self, settings: Mapping[str, Any], gateway: Gateway) -> IService:
        """Make the service."""
        return WebDavService(WebDavSettings.model_validate(settings), gateway)


class WebDavService(SiteListener):
    """Listens."""

    def __init__(self, settings: WebDavSettings, gateway: Gateway) -> None:
        site = GatewaySite(
            WebDav(gateway, settings),
            gateway,
            "webdav",
            fail=fail,
            public_url=settings.public_url,
            body_timeout=settings.body_timeout,
            grace=gateway.settings.gateway.grace,
            endpoint_of=lambda path: "/{vfolder}/{path}" if len(path) > 1 else "/",
        )
        site.lane = Lane(site, express.routes(settings))
        endpoints = [settings.endpoint] if isinstance(settings.endpoint, str) else list(settings.endpoint)
        super().__init__(site, endpoints, settings.tls(gateway.reactor), first_steps=_first_steps)


def _first_steps(url: str) -> Sequence[str]:
    """For a user and a vfolder as the manager front end's first steps make them."""
    return (f"curl -u alice -T FILE {url}/data/",)

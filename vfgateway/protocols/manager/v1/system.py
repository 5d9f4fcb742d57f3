"""The gateway itself: its volumes, and what an administrator wants to know when something is wrong."""

from __future__ import annotations

import os
import platform
import resource
from collections import Counter
from pathlib import Path

from sqlalchemy import make_url

from vfgateway import __version__, plugins
from vfgateway.errors import GatewayError, UnknownAccount
from vfgateway.interfaces import IVolumeFactory
from vfgateway.model import Health, HealthState, Space
from vfgateway.protocols.manager.health import HealthMonitor, Looked
from vfgateway.protocols.manager.v1.logins import look_at_authenticators
from vfgateway.protocols.manager.v1.things import (
    BackendInfo,
    BackendList,
    DoctorReport,
    Finding,
    VolumeDetails,
    VolumeDetailsList,
)
from vfgateway.protocols.manager.volumes import capabilities
from vfgateway.protocols.web.routing import Call, NoParameters, Reply, Routes
from vfgateway.services.gateway import Gateway

#: Descriptors below which a busy gateway runs out of them.
FEW_DESCRIPTORS = 4096


class SystemRoutes(Routes):
    """Everything about the gateway itself."""

    def __init__(self, gateway: Gateway, monitor: HealthMonitor) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="system")
        self._monitor = monitor
        self._started = gateway.reactor.seconds()
        self.add("GET", "/volumes", self.volume_list, NoParameters, {200: VolumeDetailsList})
        self.add("GET", "/volumes/{volume}", self.volume_show, NoParameters, {200: VolumeDetails}, 404)
        self.add("GET", "/backends", self.backend_list, NoParameters, {200: BackendList})
        self.add("GET", "/doctor", self.doctor, NoParameters, {200: DoctorReport})

    # --- volumes ---

    async def volume_list(self, call: Call, params: NoParameters) -> Reply:
        """List the volumes and how they are."""
        counts = Counter(vfolder.volume for vfolder in await self.gateway.vfolders.list())
        volumes = [await self._volume(name, counts[name]) for name in self.gateway.volumes]
        return Reply(body=VolumeDetailsList(volumes=volumes))

    async def volume_show(self, call: Call, params: NoParameters) -> Reply:
        """Show a volume and how it is."""
        name = call.path["volume"]
        if name not in self.gateway.volumes:
            raise UnknownAccount("volume", name)
        return Reply(body=await self._volume(name, len(await self.gateway.vfolders.list(name))))

    async def _volume(self, name: str, vfolders: int) -> VolumeDetails:
        volume = self.gateway.volumes.configured(name)
        health = await self.gateway.volumes.health(name)
        space = await self._space(name) if health.state is not HealthState.UNAVAILABLE else None
        return VolumeDetails(
            name=name,
            backend=volume.backend,
            path=volume.path,
            capabilities=capabilities(volume),
            state=health.state.value,
            info=health.info,
            metadata=dict(health.metadata),
            capacity_bytes=space.capacity if space else None,
            used_bytes=space.used if space else None,
            available_bytes=space.available if space else None,
            vfolders=vfolders,
        )

    async def _space(self, name: str) -> Space | None:
        try:
            return await self.gateway.volumes.get(name).space()
        except GatewayError:
            return None

    async def backend_list(self, call: Call, params: NoParameters) -> Reply:
        """List the kinds of volumes that can be configured."""
        found = sorted(plugins.installed(IVolumeFactory), key=lambda one: one.name)
        return Reply(body=BackendList(backends=[BackendInfo(name=one.name, summary=one.summary) for one in found]))

    # --- doctor ---

    async def doctor(self, call: Call, params: NoParameters) -> Reply:
        """Look at everything now, and tell what was found. Tells no secret."""
        await self._monitor.look()
        settings = self.gateway.settings
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        findings = [_finding(look) for look in self._monitor.found]
        findings += [_login_finding(each.name, health) for each, health in await look_at_authenticators(self.gateway)]
        findings.append(
            Finding(what="descriptors", ok=limit >= FEW_DESCRIPTORS, detail=f"at most {limit} descriptors may be open")
        )
        return Reply(
            body=DoctorReport(
                version=__version__,
                python=platform.python_version(),
                platform=platform.platform(),
                process=os.getpid(),
                uptime=self.gateway.reactor.seconds() - self._started,
                configuration=str(settings.source) if settings.source else None,
                data_dir=str(self.gateway.data_dir),
                database=make_url(settings.database_url).render_as_string(hide_password=True),
                front_ends=list(settings.frontends),
                authenticators=list(settings.authenticators),
                open_descriptors=len(list(Path("/proc/self/fd").iterdir())),
                descriptor_limit=limit,
                findings=findings,
            )
        )


def _finding(look: Looked) -> Finding:
    return Finding(what=f"{look.group} {look.name}", ok=look.healthy, detail=look.error or "healthy")


def _login_finding(name: str, health: Health | None) -> Finding:
    good = health is None or health.state is HealthState.HEALTHY
    detail = "healthy" if health is None or good else health.info or health.state.value
    return Finding(what=f"authenticator {name}", ok=good, detail=detail)

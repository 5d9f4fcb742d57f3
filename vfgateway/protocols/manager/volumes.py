"""The reference's routes about volumes (reference 2.3)."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs

from vfgateway.abilities import IFastUsage, IHardwareInfo, IPerformanceMetrics
from vfgateway.errors import Unsupported
from vfgateway.interfaces import IVolume
from vfgateway.model import Health, HealthState
from vfgateway.protocols.manager import faults
from vfgateway.protocols.manager.fields import NOOP
from vfgateway.protocols.manager.performance import PerformanceCache
from vfgateway.protocols.manager.wire import (
    FsUsage,
    HardwareInfo,
    Metric,
    OfVolume,
    OldQuota,
    OldQuotaChange,
    PerformanceReport,
    VolumeInfo,
    VolumeList,
)
from vfgateway.protocols.web.routing import Call, NoParameters, Reply, Routes
from vfgateway.services.gateway import Gateway


def capabilities(volume: IVolume) -> list[str]:
    """What a volume can do, in the reference's words (reference 3.3). Every volume has limits here: the gateway keeps them."""
    able = ["vfolder", "quota"]
    if IPerformanceMetrics.providedBy(volume):
        able.append("metric")
    if IFastUsage.providedBy(volume):
        able += ["fast-scan", "fast-size"]
    return able


class VolumeRoutes(Routes):
    """Everything about whole volumes."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, reference=True, tag="volumes")
        self._performance = PerformanceCache(gateway)
        self.add("GET", "/volumes", self.volumes, NoParameters, {200: VolumeList})
        self.add("GET", "/volume/hwinfo", self.volume_hwinfo, OfVolume, {200: HardwareInfo})
        self.add("GET", "/volume/performance-metric", self.volume_performance, OfVolume, {200: PerformanceReport})
        self.add("GET", "/folder/fs-usage", self.volume_usage, OfVolume, {200: FsUsage})
        self.add("GET", "/volume/quota", self.volume_quota, OldQuota, {}, deprecated=True)
        self.add("PATCH", "/volume/quota", self.volume_quota_change, OldQuotaChange, {}, deprecated=True)

    async def volumes(self, call: Call, params: NoParameters) -> Reply:
        """List the volumes.

        Those that do not answer at the moment are listed too.
        """
        volumes = [self.gateway.volumes.configured(name) for name in self.gateway.volumes]
        return Reply(
            body=VolumeList(
                volumes=[
                    VolumeInfo(name=one.name, backend=one.backend, path=one.path, capabilities=capabilities(one))
                    for one in volumes
                ]
            )
        )

    async def volume_hwinfo(self, call: Call, params: OfVolume) -> Reply:
        """Say how a volume's storage is."""
        health = await self._health(params.volume)
        return Reply(
            body=HardwareInfo(status=health.state.value, status_info=health.info, metadata=dict(health.metadata))
        )

    async def _health(self, name: str) -> Health:
        if name == NOOP:
            return Health(HealthState.HEALTHY)
        health = await self.gateway.volumes.health(name)
        volume = self.gateway.volumes.configured(name)
        if health.state is not HealthState.UNAVAILABLE and IHardwareInfo.providedBy(volume):
            return await volume.hardware_info()
        return health

    async def volume_performance(self, call: Call, params: OfVolume) -> Reply:
        """Tell a volume's rates.

        They may be some seconds old: ``observed_at`` says how old. A volume that does not measure itself answers 400.
        """
        if params.volume == NOOP:
            raise Unsupported("performance metrics")
        observed = await self._performance.get(params.volume)
        when = datetime.fromtimestamp(observed.at, UTC).isoformat()
        return Reply(body=PerformanceReport(metric=Metric(**attrs.asdict(observed.metric)), observed_at=when))

    async def volume_usage(self, call: Call, params: OfVolume) -> Reply:
        """Tell how full a volume is, as the storage says; −1 where it does not."""
        if params.volume == NOOP:
            return Reply(body=FsUsage(capacity_bytes=0, used_bytes=0))
        space = await self.gateway.volumes.get(params.volume).space()
        return Reply(body=FsUsage(capacity_bytes=space.capacity, used_bytes=space.used))

    async def volume_quota(self, call: Call, params: OldQuota) -> Reply:
        """Refuse: the quota of a single vfolder is not asked for here any more."""
        return faults.deprecated("reading the quota of a single vfolder is a deprecated API")

    async def volume_quota_change(self, call: Call, params: OldQuotaChange) -> Reply:
        """Refuse: the quota of a single vfolder is not set here any more."""
        return faults.deprecated("setting the quota of a single vfolder is a deprecated API")

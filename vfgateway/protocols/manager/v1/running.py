"""What can be seen and changed of the gateway while it runs: levels of the log, and what the configuration says by now."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vfgateway.blocking import Pool
from vfgateway.config import Settings
from vfgateway.configdiff import Difference, differences
from vfgateway.errors import ConfigurationError, Conflict
from vfgateway.log_settings import type_level
from vfgateway.protocols.web.fields import Answer, Closed
from vfgateway.protocols.web.routing import Call, NoParameters, Reply, Routes
from vfgateway.services.gateway import Gateway

#: What an event of the log is filed under; empty for everything.
Namespace = Annotated[str, Field(max_length=200, pattern="^[A-Za-z0-9_.]*$")]


class LevelInfo(Answer):
    """From which level on a namespace, and all below it, is told; ``""`` is everything. ``changed`` is what was said at run time."""

    namespace: str
    configured: str | None
    changed: str | None


class LevelList(Answer):
    """Levels of the log."""

    levels: list[LevelInfo]


class LevelChange(Closed):
    """A level for a namespace (``""``: everything); ``null`` goes back to what is configured."""

    namespace: Namespace = ""
    level: type_level | None


class DifferenceInfo(Answer):
    """A key that the file has otherwise than what runs; ``null`` where it is not there."""

    key: str
    running: str | None
    written: str | None


class DifferenceList(Answer):
    """What a reload would change. ``reloads``: whether this gateway can, without a restart."""

    source: str | None
    reloads: bool
    differences: list[DifferenceInfo]


class RunningRoutes(Routes):
    """See the module."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="system")
        self.add("GET", "/log/levels", self.log_levels, NoParameters, {200: LevelList})
        self.add("PATCH", "/log/levels", self.log_level_set, LevelChange, {200: LevelList}, 409)
        self.add("GET", "/config/differences", self.config_diff, NoParameters, {200: DifferenceList}, 409)

    async def log_levels(self, call: Call, params: NoParameters) -> Reply:
        """Show from which level on the log tells what."""
        return Reply(body=await self._levels())

    async def log_level_set(self, call: Call, params: LevelChange) -> Reply:
        """Change a level, in all processes within seconds, until it is changed back."""
        await self.gateway.log_levels.set(params.namespace, params.level)
        self.gateway.audit.note("log_level_set", params.namespace, level=params.level or "as configured")
        return Reply(body=await self._levels())

    async def _levels(self) -> LevelList:
        configured, changed = self.gateway.log_levels.configured, await self.gateway.log_levels.changed()
        told = [
            LevelInfo(namespace=name, configured=configured.get(name), changed=changed.get(name))
            for name in sorted(configured.keys() | changed.keys())
        ]
        return LevelList(levels=told)

    async def config_diff(self, call: Call, params: NoParameters) -> Reply:
        """Tell what is written in the configuration by now, and is not in force."""
        settings = self.gateway.settings
        pool = Pool(self.gateway.reactor, 1, "config")
        pool.start()
        try:
            found = await pool.run(_compare, settings)
        finally:
            await pool.stop()
        told = [DifferenceInfo(key=each.key, running=each.running, written=each.written) for each in found]
        source = str(settings.source) if settings.source else None
        return Reply(body=DifferenceList(source=source, reloads=settings.gateway.reloads, differences=told))


def _compare(settings: Settings) -> list[Difference]:
    if settings.source is None:
        return []
    try:
        return list(differences(settings.text, settings.source.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise Conflict(f"cannot read {settings.source}: {error}") from None
    except ConfigurationError as error:
        raise Conflict(str(error)) from None

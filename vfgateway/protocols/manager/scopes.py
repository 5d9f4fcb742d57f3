"""The reference's routes about quota scopes (reference 2.4)."""

from __future__ import annotations

from vfgateway.errors import QuotaScopeNotFound
from vfgateway.model import Limits, QuotaScopeId
from vfgateway.protocols.manager.fields import NOOP
from vfgateway.protocols.manager.wire import OfScope, ScopeChange, ScopeCreation, ScopeOptions, ScopeUsage
from vfgateway.protocols.web.routing import NO_CONTENT, NOTHING, Call, Reply, Routes
from vfgateway.services.gateway import Gateway


def limits_of(options: ScopeOptions | None) -> Limits:
    """What a manager asks for; 0 is no limit, as it is where storage keeps limits itself."""
    return Limits(bytes=(options.limit_bytes or None) if options is not None else None)


class ScopeRoutes(Routes):
    """Everything about quota scopes."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, reference=True, tag="quota scopes")
        self.add("POST", "/quota-scope", self.scope_create, ScopeCreation, {204: NOTHING}, 409)
        self.add("GET", "/quota-scope", self.scope_show, OfScope, {200: ScopeUsage}, 404)
        self.add("PATCH", "/quota-scope", self.scope_change, ScopeChange, {204: NOTHING})
        self.add("DELETE", "/quota-scope/quota", self.scope_unset, OfScope, {204: NOTHING}, 404)

    async def scope_create(self, call: Call, params: ScopeCreation) -> Reply:
        """Create a quota scope, with or without a limit."""
        if params.volume != NOOP:
            await self.gateway.lifecycle.create_scope(params.volume, params.qsid, limits_of(params.options))
        return NO_CONTENT

    async def scope_show(self, call: Call, params: OfScope) -> Reply:
        """Tell what a quota scope holds and may hold."""
        if params.volume == NOOP:
            return Reply(body=ScopeUsage(used_bytes=None, limit_bytes=None))
        limits = await self._limits(params.volume, params.qsid)
        used = await self.gateway.quota.scope_usage(params.volume, params.qsid)
        return Reply(body=ScopeUsage(used_bytes=max(0, used.bytes), limit_bytes=limits.bytes))

    async def scope_change(self, call: Call, params: ScopeChange) -> Reply:
        """Set the limit of a quota scope, which is created if it is not there."""
        if params.volume != NOOP:
            limits = limits_of(params.options)
            await self.gateway.lifecycle.create_scope(params.volume, params.qsid, limits, exist_ok=True)
        return NO_CONTENT

    async def scope_unset(self, call: Call, params: OfScope) -> Reply:
        """Lift the limit of a quota scope, and keep the scope."""
        if params.volume != NOOP:
            await self._limits(params.volume, params.qsid)
            await self.gateway.lifecycle.create_scope(params.volume, params.qsid, Limits(), exist_ok=True)
        return NO_CONTENT

    async def _limits(self, volume: str, scope: QuotaScopeId) -> Limits:
        """The limits of a scope that the registry or the storage knows. ``QuotaScopeNotFound``."""
        place = self.gateway.volumes.get(volume)
        limits = await self.gateway.vfolders.scope_limits(volume, scope)
        if limits is None and not await place.has_scope(scope):
            raise QuotaScopeNotFound(scope)
        return limits or Limits()

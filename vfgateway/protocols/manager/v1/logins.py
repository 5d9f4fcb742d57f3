"""How people log in: their second factor, who has to wait after wrong logins, and who is asked."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, TimeoutError, gatherResults

from vfgateway.errors import UnknownAccount
from vfgateway.interfaces import IAuthenticator, ICheckable
from vfgateway.model import Health, HealthState
from vfgateway.protocols.manager.v1.accounts import account
from vfgateway.protocols.manager.v1.login_bodies import (
    AuthenticatorInfo,
    AuthenticatorList,
    Invalidated,
    Invalidation,
    Lifted,
    Lifting,
    LockoutInfo,
    LockoutList,
)
from vfgateway.protocols.web.factorbodies import FactorCode, FactorInfo, NewFactorInfo, RecoveryCodes
from vfgateway.protocols.web.routing import NO_CONTENT, NOTHING, Call, NoParameters, Reply, Routes
from vfgateway.services.gateway import Gateway
from vfgateway.services.people import User

#: Seconds for one authenticator to say how it is.
PATIENCE = 20.0


class LoginRoutes(Routes):
    """See the module."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="logins")
        self._factors = gateway.second_factors
        factor = "/users/{user}/second-factor"
        self.add("GET", factor, self.factor_show, NoParameters, {200: FactorInfo}, 404)
        self.add("POST", factor, self.factor_begin, NoParameters, {201: NewFactorInfo}, 404, 409)
        self.add("DELETE", factor, self.factor_remove, NoParameters, {204: NOTHING}, 404)
        self.add("POST", f"{factor}/confirm", self.factor_confirm, FactorCode, {200: RecoveryCodes}, 404, 409)
        self.add("POST", f"{factor}/recovery-codes", self.factor_codes, NoParameters, {201: RecoveryCodes}, 404, 409)
        self.add("GET", "/lockouts", self.lockout_list, NoParameters, {200: LockoutList})
        self.add("POST", "/lockouts/lift", self.lockout_lift, Lifting, {200: Lifted})
        self.add("GET", "/authenticators", self.authenticator_list, NoParameters, {200: AuthenticatorList})
        invalidate = "/authenticators/{authenticator}/invalidate"
        self.add("POST", invalidate, self.authenticator_invalidate, Invalidation, {200: Invalidated}, 404)

    async def _user(self, call: Call) -> User:
        return await self.gateway.accounts.user(account(call.path["user"]))

    # --- the second factor ---

    async def factor_show(self, call: Call, params: NoParameters) -> Reply:
        """Tell how a user stands with the second factor."""
        state = await self._factors.state((await self._user(call)).id)
        return Reply(body=FactorInfo(enabled=state.enabled, begun=state.begun, recovery_codes=state.recovery_codes))

    async def factor_begin(self, call: Call, params: NoParameters) -> Reply:
        """Hand out a secret for an authenticator app.

        It is told this once, and counts once a code of it was shown.
        """
        new = await self._factors.begin((await self._user(call)).id)
        return Reply(201, NewFactorInfo(secret=new.secret, uri=new.uri))

    async def factor_confirm(self, call: Call, params: FactorCode) -> Reply:
        """Take the first code, from when on they are asked for wherever a password is used."""
        codes = await self._factors.confirm((await self._user(call)).id, params.code)
        return Reply(body=RecoveryCodes(recovery_codes=list(codes)))

    async def factor_codes(self, call: Call, params: NoParameters) -> Reply:
        """Make other recovery codes; those from before are worth nothing."""
        codes = await self._factors.new_recovery_codes((await self._user(call)).id)
        return Reply(201, RecoveryCodes(recovery_codes=list(codes)))

    async def factor_remove(self, call: Call, params: NoParameters) -> Reply:
        """Ask a user for codes no more."""
        await self._factors.remove((await self._user(call)).id)
        return NO_CONTENT

    # --- who has to wait ---

    async def lockout_list(self, call: Call, params: NoParameters) -> Reply:
        """List who has to wait after wrong logins."""
        found = await self.gateway.lockouts.list()
        return Reply(
            body=LockoutList(
                lockouts=[
                    LockoutInfo(
                        kind=each.kind,
                        name=each.name,
                        address=each.address,
                        failures=each.failures,
                        last=each.last,
                        until=each.until,
                    )
                    for each in found
                ]
            )
        )

    async def lockout_lift(self, call: Call, params: Lifting) -> Reply:
        """Judge logins again, and forget the wrong ones."""
        return Reply(body=Lifted(lifted=await self.gateway.lockouts.lift(params.name, params.address)))

    # --- who is asked ---

    async def authenticator_list(self, call: Call, params: NoParameters) -> Reply:
        """List who is asked who somebody is, and how each of them is now."""
        provisioning = self.gateway.provisioning
        return Reply(
            body=AuthenticatorList(
                authenticators=[
                    AuthenticatorInfo(
                        name=each.name,
                        source=provisioning.is_source(each.name),
                        state=health.state.value if health else None,
                        info=health.info if health else None,
                    )
                    for each, health in await look_at_authenticators(self.gateway)
                ]
            )
        )

    async def authenticator_invalidate(self, call: Call, params: Invalidation) -> Reply:
        """Forget what an authenticator has answered, about some people or about everybody.

        It is asked anew at their next request, in all processes; for whoever it knows no more, connections end.
        """
        name = call.path["authenticator"]
        if not self.gateway.provisioning.is_source(name):
            raise UnknownAccount("authenticator with people of its own", name)
        accounts = await self.gateway.provisioning.forget(name, params.people)
        self.gateway.audit.note("authenticator_invalidated", name, accounts=accounts)
        return Reply(body=Invalidated(accounts=accounts))


async def look_at_authenticators(gateway: Gateway) -> Sequence[tuple[IAuthenticator, Health | None]]:
    """Each authenticator with how it is; ``None`` for one that depends on nothing."""
    asked = gateway.authentication.authenticators
    found = await gatherResults([Deferred.fromCoroutine(_health(gateway, each)) for each in asked])
    return list(zip(asked, found, strict=True))


async def _health(gateway: Gateway, authenticator: IAuthenticator) -> Health | None:
    if not ICheckable.providedBy(authenticator):
        return None
    looking: Deferred[Health] = Deferred.fromCoroutine(ICheckable(authenticator).health())
    try:
        return await looking.addTimeout(PATIENCE, gateway.reactor)
    except TimeoutError:
        return Health(HealthState.UNAVAILABLE, f"no answer within {PATIENCE:.0f} seconds")

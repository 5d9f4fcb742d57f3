"""What I log in with beside my password: keys, app passwords that permit less, and the second factor."""

from __future__ import annotations

from typing import Any

from vfgateway.errors import VFolderNotFound
from vfgateway.model import Permission
from vfgateway.principals import KeyScope
from vfgateway.protocols.client.people import rooms
from vfgateway.protocols.client.people.account import check_password, check_whole
from vfgateway.protocols.client.people.bodies import (
    KeyCreation,
    KeyInfo,
    KeyList,
    NewKeyInfo,
    Proof,
)
from vfgateway.protocols.client.people.dispatch import PersonsCall
from vfgateway.protocols.web.factorbodies import FactorCode, FactorInfo, NewFactorInfo, RecoveryCodes
from vfgateway.protocols.web.routing import NO_CONTENT, NOTHING, NoParameters, Reply, Routes
from vfgateway.services.gateway import Gateway
from vfgateway.services.people import Credential


class CredentialRoutes(Routes):
    """See the module."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="account")
        self._factors = gateway.second_factors
        factor = "/me/second-factor"
        self.add("GET", "/me/keys", self.key_list, NoParameters, {200: KeyList})
        self.add("POST", "/me/keys", self.key_create, KeyCreation, {201: NewKeyInfo}, 404, 409)
        self.add("DELETE", "/me/keys/{key}", self.key_delete, NoParameters, {204: NOTHING}, 404)
        self.add("GET", factor, self.factor_show, NoParameters, {200: FactorInfo})
        self.add("POST", factor, self.factor_begin, Proof, {201: NewFactorInfo}, 409)
        self.add("POST", factor + "/confirm", self.factor_confirm, FactorCode, {200: RecoveryCodes}, 409)
        self.add("POST", factor + "/codes", self.factor_codes, Proof, {201: RecoveryCodes}, 409)
        self.add("POST", factor + "/remove", self.factor_remove, Proof, {204: NOTHING})

    # --- keys ---

    async def key_list(self, call: PersonsCall, params: NoParameters) -> Reply:
        """List my keys."""
        keys = await self.gateway.accounts.keys(await check_whole(self.gateway, call.principal))
        return Reply(body=KeyList(keys=[KeyInfo(**await self._key(key)) for key in keys]))

    async def key_create(self, call: PersonsCall, params: KeyCreation) -> Reply:
        """Make an API key or an app password, or let a public key in. The secret in the answer cannot be asked for again."""
        user = await check_whole(self.gateway, call.principal)
        vfolders = None
        if params.vfolders is not None:
            found = [await rooms.visible(self.gateway, call, name) for name in params.vfolders]
            vfolders = frozenset(entry.vfolder.key for entry in found)
        protocols = None if params.protocols is None else frozenset(params.protocols)
        scope = KeyScope(protocols, vfolders, Permission.parse(params.permission))
        made = await self.gateway.accounts.add_key(
            user, params.kind, public_key=params.public_key, label=params.label, expires=params.expires, scope=scope
        )
        return Reply(201, NewKeyInfo(**await self._key(made.credential), secret=made.secret))

    async def key_delete(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Remove a key of mine."""
        await self.gateway.accounts.delete_key(await check_whole(self.gateway, call.principal), call.path["key"])
        return NO_CONTENT

    async def _key(self, key: Credential) -> dict[str, Any]:
        scope = key.scope or KeyScope()
        return {
            "id": key.id,
            "kind": key.kind,
            "label": key.label,
            "public_key": key.public_key,
            "protocols": None if scope.protocols is None else sorted(scope.protocols),
            "vfolders": None if scope.vfolders is None else [await self._vfid(each) for each in sorted(scope.vfolders)],
            "permission": str(scope.permission),
            "created": key.created,
            "expires": key.expires,
            "last_used": key.last_used,
        }

    async def _vfid(self, key: int) -> str:
        try:
            return str((await self.gateway.vfolders.by_key(key)).id)
        except VFolderNotFound:
            return "deleted"

    # --- second factor ---

    async def factor_show(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Tell how I stand with the second factor."""
        state = await self._factors.state(await check_whole(self.gateway, call.principal))
        return Reply(body=FactorInfo(enabled=state.enabled, begun=state.begun, recovery_codes=state.recovery_codes))

    async def factor_begin(self, call: PersonsCall, params: Proof) -> Reply:
        """Hand out a secret for an authenticator app; it counts once a code of it was shown."""
        user = await check_whole(self.gateway, call.principal)
        await check_password(self.gateway, call, params.current)
        new = await self._factors.begin(user)
        return Reply(201, NewFactorInfo(secret=new.secret, uri=new.uri))

    async def factor_confirm(self, call: PersonsCall, params: FactorCode) -> Reply:
        """Show the first code, from when on they are asked for wherever a password is used."""
        codes = await self._factors.confirm(await check_whole(self.gateway, call.principal), params.code)
        return Reply(body=RecoveryCodes(recovery_codes=list(codes)))

    async def factor_codes(self, call: PersonsCall, params: Proof) -> Reply:
        """Make other recovery codes; those from before are worth nothing."""
        user = await check_whole(self.gateway, call.principal)
        await check_password(self.gateway, call, params.current)
        return Reply(201, RecoveryCodes(recovery_codes=list(await self._factors.new_recovery_codes(user))))

    async def factor_remove(self, call: PersonsCall, params: Proof) -> Reply:
        """Have codes asked for no more."""
        user = await check_whole(self.gateway, call.principal)
        await check_password(self.gateway, call, params.current)
        await self._factors.remove(user)
        return NO_CONTENT

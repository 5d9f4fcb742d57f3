"""Users, groups and keys."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel

from vfgateway.errors import UnknownAccount, VFolderNotFound
from vfgateway.model import Actor, Limits, Permission
from vfgateway.principals import KeyScope
from vfgateway.protocols.manager.v1.people import (
    GroupChange,
    GroupCreation,
    GroupDetails,
    GroupInfo,
    GroupList,
    KeyCreation,
    KeyInfo,
    KeyList,
    MemberInfo,
    Membership,
    NewKeyInfo,
    PasswordChange,
    Removal,
    UserChange,
    UserCreation,
    UserInfo,
    UserList,
)
from vfgateway.protocols.web.routing import NO_CONTENT, NOTHING, Call, NoParameters, Reply, Routes, Source
from vfgateway.services.gateway import Gateway
from vfgateway.services.people import Credential, Group, User


class AccountRoutes(Routes):
    """Everything about people. Accounts are named by UUID or name."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="accounts")
        self._accounts = gateway.accounts
        self._enter_users()
        self._enter_groups()

    def _enter_users(self) -> None:
        created = {201: UserInfo}
        self.add("GET", "/users", self.user_list, NoParameters, {200: UserList})
        self.add("POST", "/users", self.user_create, UserCreation, created, 409)
        self.add("GET", "/users/{user}", self.user_show, NoParameters, {200: UserInfo}, 404)
        self.add("PATCH", "/users/{user}", self.user_change, UserChange, {200: UserInfo}, 404, 409)
        self.add("DELETE", "/users/{user}", self.user_delete, Removal, {204: NOTHING}, 404, 409, source=Source.QUERY)
        self.add("PUT", "/users/{user}/password", self.user_password, PasswordChange, {204: NOTHING}, 404)
        self.add("GET", "/users/{user}/keys", self.key_list, NoParameters, {200: KeyList}, 404)
        self.add("POST", "/users/{user}/keys", self.key_create, KeyCreation, {201: NewKeyInfo}, 404, 409)
        self.add("DELETE", "/users/{user}/keys/{key}", self.key_delete, NoParameters, {204: NOTHING}, 404)

    def _enter_groups(self) -> None:
        member = "/groups/{group}/members/{user}"
        self.add("GET", "/groups", self.group_list, NoParameters, {200: GroupList})
        self.add("POST", "/groups", self.group_create, GroupCreation, {201: GroupInfo}, 409)
        self.add("GET", "/groups/{group}", self.group_show, NoParameters, {200: GroupDetails}, 404)
        self.add("PATCH", "/groups/{group}", self.group_change, GroupChange, {200: GroupInfo}, 404, 409)
        self.add("DELETE", "/groups/{group}", self.group_delete, Removal, {204: NOTHING}, 404, 409, source=Source.QUERY)
        self.add("PUT", member, self.member_set, Membership, {204: NOTHING}, 404)
        self.add("DELETE", member, self.member_remove, NoParameters, {204: NOTHING}, 404)

    async def _user(self, call: Call) -> User:
        return await self._accounts.user(account(call.path["user"]))

    async def _group(self, call: Call) -> Group:
        return await self._accounts.group(account(call.path["group"]))

    # --- users ---

    async def user_list(self, call: Call, params: NoParameters) -> Reply:
        """List the users by name."""
        return Reply(body=UserList(users=[user_info(user) for user in await self._accounts.users()]))

    async def user_create(self, call: Call, params: UserCreation) -> Reply:
        """Create a user, with the orchestrator's UUID where it has one."""
        if params.password is not None:
            self._accounts.password_policy.checked(params.password, params.name, params.email)
        user = await self._accounts.create_user(
            params.name,
            user_id=params.id,
            email=params.email,
            administrator=params.administrator,
            active=params.active,
            actor=Actor(params.uid, params.gid),
            limits=Limits(params.limit_bytes, params.limit_files),
            expires=params.expires,
        )
        if params.password is not None:
            try:
                await self._accounts.set_password(user.id, params.password)
            except BaseException:
                await self._accounts.delete_user(user.id)
                raise
        return Reply(201, user_info(user))

    async def user_show(self, call: Call, params: NoParameters) -> Reply:
        """Show a user."""
        return Reply(body=user_info(await self._user(call)))

    async def user_change(self, call: Call, params: UserChange) -> Reply:
        """Change what is given of a user."""
        user = await self._user(call)
        changes = given(params, "name", "email", "administrator", "active", "expires", "source")
        if params.source is not None and not self.gateway.provisioning.is_source(params.source):
            raise UnknownAccount("authenticator with people of its own", params.source)
        if params.model_fields_set & {"uid", "gid"}:
            actor = merged(params, uid=user.actor.uid, gid=user.actor.gid)
            changes["actor"] = Actor(**actor)
        changes |= changed_limits(params, user.limits)
        return Reply(body=user_info(await self._accounts.update_user(user.id, **changes)))

    async def user_delete(self, call: Call, params: Removal) -> Reply:
        """Delete a user with keys, memberships and grants.

        One that owns vfolders stays, unless they are to be kept for a later account.
        """
        user = await self._user(call)
        await self._accounts.delete_user(user.id, keep_vfolders=params.keep_vfolders)
        return NO_CONTENT

    async def user_password(self, call: Call, params: PasswordChange) -> Reply:
        """Set a user's password, or take it away."""
        await self._accounts.set_password((await self._user(call)).id, params.password)
        return NO_CONTENT

    # --- keys ---

    async def key_list(self, call: Call, params: NoParameters) -> Reply:
        """List a user's keys, oldest first."""
        keys = await self._accounts.keys((await self._user(call)).id)
        return Reply(body=KeyList(keys=[KeyInfo(**await self._key(key)) for key in keys]))

    async def key_create(self, call: Call, params: KeyCreation) -> Reply:
        """Make an API key or app password, which is told this once, or take in a public key."""
        user = await self._user(call)
        new = await self._accounts.add_key(
            user.id,
            params.kind,
            public_key=params.public_key,
            label=params.label,
            expires=params.expires,
            scope=await self._scope(params),
        )
        return Reply(201, NewKeyInfo(**await self._key(new.credential), secret=new.secret))

    async def _scope(self, params: KeyCreation) -> KeyScope:
        vfolders = None
        if params.vfolders is not None:
            vfolders = frozenset([(await self.gateway.vfolders.resolve(each)).key for each in params.vfolders])
        protocols = None if params.protocols is None else frozenset[str](params.protocols)
        return KeyScope(protocols, vfolders, Permission.parse(params.permission))

    async def _key(self, key: Credential) -> dict[str, Any]:
        scope = key.scope or KeyScope()
        vfolders = None if scope.vfolders is None else [await self._vfid(each) for each in sorted(scope.vfolders)]
        return {
            "id": key.id,
            "user_id": str(key.user_id),
            "kind": key.kind,
            "label": key.label,
            "public_key": key.public_key,
            "protocols": None if scope.protocols is None else sorted(scope.protocols),
            "vfolders": None if vfolders is None else [vfid for vfid in vfolders if vfid is not None],
            "permission": str(scope.permission),
            "created": key.created,
            "expires": key.expires,
            "last_used": key.last_used,
        }

    async def _vfid(self, key: int) -> str | None:
        """The identifier of a vfolder; ``None`` if it is gone."""
        try:
            return str((await self.gateway.vfolders.by_key(key)).id)
        except VFolderNotFound:
            return None

    async def key_delete(self, call: Call, params: NoParameters) -> Reply:
        """Delete a key; it opens nothing from now on."""
        await self._accounts.delete_key((await self._user(call)).id, call.path["key"])
        return NO_CONTENT

    # --- groups ---

    async def group_list(self, call: Call, params: NoParameters) -> Reply:
        """List the groups by name."""
        return Reply(body=GroupList(groups=[group_info(group) for group in await self._accounts.groups()]))

    async def group_create(self, call: Call, params: GroupCreation) -> Reply:
        """Create a group, with the orchestrator's UUID of its project where it has one."""
        group = await self._accounts.create_group(
            params.name, group_id=params.id, limits=Limits(params.limit_bytes, params.limit_files)
        )
        return Reply(201, group_info(group))

    async def group_show(self, call: Call, params: NoParameters) -> Reply:
        """Show a group with its members."""
        group = await self._group(call)
        members = [
            MemberInfo(id=str(member.user.id), name=member.user.name, administrator=member.administrator)
            for member in await self._accounts.members(group.id)
        ]
        return Reply(body=GroupDetails(**group_info(group).model_dump(), members=members))

    async def group_change(self, call: Call, params: GroupChange) -> Reply:
        """Change what is given of a group."""
        group = await self._group(call)
        changes = given(params, "name") | changed_limits(params, group.limits)
        return Reply(body=group_info(await self._accounts.update_group(group.id, **changes)))

    async def group_delete(self, call: Call, params: Removal) -> Reply:
        """Delete a group with its memberships and grants; its vfolders as with a user's."""
        group = await self._group(call)
        await self._accounts.delete_group(group.id, keep_vfolders=params.keep_vfolders)
        return NO_CONTENT

    async def member_set(self, call: Call, params: Membership) -> Reply:
        """Take a user into a group, or change what it may do there."""
        group, user = await self._group(call), await self._user(call)
        await self._accounts.set_member(group.id, user.id, administrator=params.administrator)
        return NO_CONTENT

    async def member_remove(self, call: Call, params: NoParameters) -> Reply:
        """Take a user out of a group."""
        group, user = await self._group(call), await self._user(call)
        await self._accounts.remove_member(group.id, user.id)
        return NO_CONTENT


def account(text: str) -> UUID | str:
    """What names an account: its UUID if it looks like one, else its name."""
    try:
        return UUID(text)
    except ValueError:
        return text


def given(params: BaseModel, *names: str) -> dict[str, Any]:
    """Those of the named parameters that the client sent."""
    return {name: getattr(params, name) for name in names if name in params.model_fields_set}


def merged(params: BaseModel, **present: Any) -> dict[str, Any]:
    """What the client sent of these parameters, and what is there now for the rest."""
    return present | given(params, *present)


def changed_limits(params: BaseModel, present: Limits) -> dict[str, Any]:
    """The argument ``limits``, if the client sent any."""
    if not params.model_fields_set & {"limit_bytes", "limit_files"}:
        return {}
    limits = merged(params, limit_bytes=present.bytes, limit_files=present.files)
    return {"limits": Limits(limits["limit_bytes"], limits["limit_files"])}


def user_info(user: User) -> UserInfo:
    """A user for JSON."""
    return UserInfo(
        id=str(user.id),
        name=user.name,
        email=user.email,
        administrator=user.administrator,
        active=user.active,
        uid=user.actor.uid,
        gid=user.actor.gid,
        limit_bytes=user.limits.bytes,
        limit_files=user.limits.files,
        created=user.created,
        expires=user.expires,
        source=user.source,
        withdrawn=user.outside is not None and user.outside.withdrawn,
    )


def group_info(group: Group) -> GroupInfo:
    """A group for JSON."""
    return GroupInfo(
        id=str(group.id),
        name=group.name,
        limit_bytes=group.limits.bytes,
        limit_files=group.limits.files,
        created=group.created,
    )

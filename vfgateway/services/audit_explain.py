"""Why somebody was refused: what said no then, how that stands now, and what would make it pass. For administrators, who may know all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs

from vfgateway.errors import AuthenticationFailed, GatewayError, UnknownAccount, VFolderNotFound
from vfgateway.model import HealthState, Permission, ScopeKind, VFolder, VFolderId
from vfgateway.paths import parse_text
from vfgateway.services.audit_records import Entry
from vfgateway.services.permissions import Grant

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway


@attrs.frozen
class Explanation:
    """Sentences for an administrator.

    :ivar because: which grant, limit, lock or backend said no
    :ivar now: how that stands at present
    :ivar remedy: what would make it pass
    """

    entry: Entry
    because: Sequence[str]
    now: Sequence[str]
    remedy: Sequence[str]


@attrs.define
class _Draft:
    """An explanation in the making."""

    because: list[str] = attrs.Factory(list)
    now: list[str] = attrs.Factory(list)
    remedy: list[str] = attrs.Factory(list)


class Explainer:
    """Explains the entries of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._by_refuser: dict[str, Callable[[Entry, _Draft], Any]] = {
            "grant": self._grant,
            "limit": self._limit,
            "lock": self._lock,
            "backend": self._backend,
            "login": self._login,
            "path": self._path,
        }

    async def explain(self, decision: str) -> Explanation | None:
        """The explanation of a refusal; ``None`` for an identifier that nobody was told, or that was forgotten since."""
        entry = await self._gateway.audit.get(decision)
        if entry is None or entry.refuser is None:
            return None
        draft = _Draft()
        draft.because.append(f"{entry.facts.get('said') or entry.refuser}")
        await self._by_refuser[entry.refuser](entry, draft)
        if entry.facts.get("various"):
            draft.because.append("many were refused at that time; this entry stands for all of them")
        return Explanation(entry, draft.because, draft.now, draft.remedy)

    # --- grants ---

    async def _grant(self, entry: Entry, draft: _Draft) -> None:
        facts = entry.facts
        if "needed" in facts:
            had = f"{entry.who} had {facts['had']}, and " if facts.get("had") else ""
            draft.because.append(f"{had}{facts['needed']} was needed to {facts.get('action', 'do this')}")
        if facts.get("error") == "PermissionDenied" and entry.vfid is None:
            draft.remedy.append("no grant changes this: it is not for anybody to do by this way")
            return
        vfolder = await self._vfolder(entry)
        if vfolder is None:
            draft.now.append("there is no such vfolder")
            draft.remedy.append(
                "give the name as `vfgateway vfolder list` shows it, or create it: vfgateway vfolder create"
            )
            return
        name = await self._name(vfolder)
        await self._rules(entry, vfolder, name, draft)

    async def _rules(self, entry: Entry, vfolder: VFolder, name: str, draft: _Draft) -> None:
        gateway, needed = self._gateway, str(entry.facts.get("needed") or "ro")
        try:
            principal = await gateway.accounts.principal_of(UUID(entry.user_id or ""))
        except (ValueError, AuthenticationFailed):
            draft.now.append(f"{entry.who or 'whoever asked'} has no account that may log in, so no grant counts")
            draft.remedy.append("a token carries the permission of its own operation alone: mint another one")
            return
        access = await gateway.vfolders.access(principal, vfolder)
        draft.now.append(f"{entry.who} has {access.permission} in {name}")
        for grant in await gateway.vfolders.grants(vfolder.key):
            if grant.subject == principal.user_id or grant.subject in principal.groups | principal.administered_groups:
                draft.now.append(await self._told(grant))
        if needed in ("ro", "rw", "rwd") and access.permission >= Permission.parse(needed):
            draft.now.append("that would do now: try again")
        wanted = needed if needed in ("ro", "rw", "rwd") else "rwd"
        draft.remedy.append(f"vfgateway grant add {name} --user {entry.who} --permission {wanted}")

    async def _told(self, grant: Grant) -> str:
        whom = f"{grant.subject_kind} {await self._account(ScopeKind.USER if grant.subject_kind == 'user' else ScopeKind.PROJECT, grant.subject)}"
        expired = grant.expires is not None and self._gateway.reactor.seconds() >= grant.expires
        until = "" if grant.expires is None else f", {'expired' if expired else 'until'} {_moment(grant.expires)}"
        return f"grant {grant.id}: {grant.permission} to {whom}, since {_moment(grant.created)}{until}"

    # --- limits ---

    async def _limit(self, entry: Entry, draft: _Draft) -> None:
        facts = entry.facts
        if "subject" not in facts:
            draft.remedy.append(f"send at most {facts.get('limit')} bytes, or have the limit of the front end raised")
            return
        resource, limit, wanted = facts.get("resource"), int(facts.get("limit", 0)), int(facts.get("wanted", 0))
        draft.because.append(
            f"the limit of {facts['subject']}: {limit} {resource}, of which {facts.get('used')} were used and reserved; "
            f"{wanted} more were wanted"
        )
        vfolder = await self._vfolder(entry)
        if vfolder is not None:
            remaining = await self._gateway.quota.remaining(vfolder)
            left = remaining.free_bytes if resource == "bytes" else remaining.free_files
            draft.now.append(f"{'no limit applies any more' if left is None else f'{left} {resource} are left now'}")
        draft.remedy.append(
            f"free {max(0, int(facts.get('used', 0)) + wanted - limit)} {resource}, or raise the limit of {facts['subject']}"
        )

    # --- locks ---

    async def _lock(self, entry: Entry, draft: _Draft) -> None:
        owner = entry.facts.get("owner")
        if owner:
            until = entry.facts.get("until")
            draft.because.append(
                f"a lock of {owner}" + (f", until {_moment(float(until))}" if until else ", without end")
            )
        vfolder = await self._vfolder(entry)
        held = [] if vfolder is None else await self._gateway.locks.list(vfolder)
        path = parse_text(entry.target.lstrip("/")) if entry.target else None
        over = [lock for lock in held if path is None or lock.covers(path) or lock.path.within(path)]
        for lock in over:
            draft.now.append(f"{lock.owner} holds a lock on {lock.path or 'the top of the vfolder'}")
            draft.remedy.append(f"wait until it is released, or: vfgateway lock break {lock.token}")
        if not over:
            draft.now.append("nobody holds a lock there any more: try again")
            draft.remedy.append("read the file anew before it is written again: it may have changed")

    # --- storage ---

    async def _backend(self, entry: Entry, draft: _Draft) -> None:
        name = entry.volume or str(entry.facts.get("volume") or "")
        reason = entry.facts.get("reason")
        draft.because.append(f"the storage of volume {name or '?'} said no" + (f": {reason}" if reason else ""))
        if name in self._gateway.volumes:
            health = await self._gateway.volumes.health(name)
            draft.now.append(f"volume {name} is {health.state.value}" + (f": {health.info}" if health.info else ""))
            if health.state is HealthState.HEALTHY and entry.facts.get("error") != "NoSpace":
                draft.now.append("try again")
            with suppress(GatewayError):
                space = await self._gateway.volumes.get(name).space()
                if space.available >= 0:
                    draft.now.append(f"{space.available} bytes are free on it")
        draft.remedy.append(f"vfgateway volume show {name or 'NAME'}; vfgateway doctor")

    # --- logins, paths ---

    async def _login(self, entry: Entry, draft: _Draft) -> None:
        if entry.facts.get("error") == "AuthenticatorUnavailable":
            draft.because.append(
                f"whoever would have to be asked does not answer: {entry.facts.get('reason') or 'no reason is known'}"
            )
            draft.remedy.append("vfgateway doctor; the server of that authenticator has to answer again")
            return
        if entry.protocol == "client" and not entry.who:
            draft.remedy.append("mint a new token: this one was forged, has expired, or is for something else")
            return
        try:
            user = await self._gateway.accounts.user(entry.who)
        except UnknownAccount:
            draft.now.append(f"there is no user {entry.who!r} here" if entry.who else "no name was given")
            draft.remedy.append("check the name; or: vfgateway user add NAME")
            return
        now = self._gateway.reactor.seconds()
        if not user.active:
            draft.now.append(f"{user.name} is disabled")
            draft.remedy.append(f"vfgateway user enable {user.name}")
        elif user.expires is not None and now >= user.expires:
            draft.now.append(f"the account of {user.name} has expired at {_moment(user.expires)}")
            draft.remedy.append(f"vfgateway user edit {user.name} --expires none")
        else:
            kept = f"; it is kept by {user.source}" if user.source else ""
            draft.now.append(f"{user.name} may log in: the password, key or address did not fit{kept}")
            draft.remedy.append(f"vfgateway user passwd {user.name}; vfgateway key list {user.name}")

    async def _path(self, entry: Entry, draft: _Draft) -> None:
        draft.because.append("the path leads over a link that points out of the vfolder, or that may not be followed")
        draft.remedy.append("nothing makes this pass: replace the link by what it points to")

    # --- names ---

    async def _vfolder(self, entry: Entry) -> VFolder | None:
        try:
            if entry.vfid is not None:
                return await self._gateway.vfolders.get(VFolderId.parse(entry.vfid), entry.volume)
            name = entry.target.strip("/")
            return await self._gateway.vfolders.resolve(str(entry.facts.get("said", "")).rpartition(": ")[2] or name)
        except (VFolderNotFound, GatewayError):
            return None

    async def _name(self, vfolder: VFolder) -> str:
        owner = await self._account(vfolder.kind, vfolder.owner) if vfolder.owner else "-"
        return f"{owner}/{vfolder.display_name}"

    async def _account(self, kind: ScopeKind, account: UUID) -> str:
        try:
            accounts = self._gateway.accounts
            return (await accounts.user(account) if kind is ScopeKind.USER else await accounts.group(account)).name
        except UnknownAccount:
            return str(account)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))

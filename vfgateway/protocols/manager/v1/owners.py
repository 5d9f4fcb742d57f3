"""Whose a vfolder is and to whom it is opened, in names: UUIDs looked up among the accounts."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from vfgateway.errors import InvalidArgument, UnknownAccount
from vfgateway.model import ScopeKind
from vfgateway.protocols.manager.v1.accounts import account
from vfgateway.protocols.manager.v1.things import type_kind
from vfgateway.services.gateway import Gateway

#: Names of accounts.
type_names = Mapping[tuple[type_kind, UUID], str]

_KINDS: dict[type_kind, ScopeKind] = {"user": ScopeKind.USER, "group": ScopeKind.PROJECT}


def word_of(kind: ScopeKind) -> type_kind:
    """Our word for a kind of owner."""
    return "user" if kind is ScopeKind.USER else "group"


class Owners:
    """Looks accounts up, either way."""

    def __init__(self, gateway: Gateway) -> None:
        self._accounts = gateway.accounts

    async def names(self) -> dict[tuple[type_kind, UUID], str]:
        """The names of all accounts."""
        users = {("user", user.id): user.name for user in await self._accounts.users()}
        groups = {("group", group.id): group.name for group in await self._accounts.groups()}
        return {**users, **groups}  # type: ignore[dict-item]  # the words are literals

    async def find(self, text: str, kind: type_kind | None) -> tuple[ScopeKind, UUID]:
        """The account that ``text`` names. Without ``kind``, whichever there is; the name of a user and of a group alike is
        ambiguous. A UUID with a ``kind`` needs no account. ``UnknownAccount``, ``InvalidArgument``."""
        wanted = account(text)
        if kind is not None and isinstance(wanted, UUID):
            return _KINDS[kind], wanted
        found: list[tuple[ScopeKind, UUID]] = []
        for word, scope in _KINDS.items():
            if kind in (None, word) and (identity := await self._one(word, wanted)) is not None:
                found.append((scope, identity))
        if not found:
            raise UnknownAccount(kind or "user or group", text)
        if len(found) > 1:
            raise InvalidArgument("kind", f"there are a user and a group called {text}; say which")
        return found[0]

    async def _one(self, kind: type_kind, wanted: UUID | str) -> UUID | None:
        try:
            return (await (self._accounts.user if kind == "user" else self._accounts.group)(wanted)).id
        except UnknownAccount:
            return None

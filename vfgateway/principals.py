"""Who is asking, what they came with, and from where: frozen values that front ends, authenticators and services exchange."""

from __future__ import annotations

import enum
from typing import Final
from uuid import UUID

import attrs

from vfgateway.model import Actor, Permission, VFolderId


class PrincipalKind(enum.Enum):
    """Where a principal's rights come from."""

    USER = "user"
    ORCHESTRATOR = "orchestrator"
    TOKEN = "token"


@attrs.frozen
class TokenScope:
    """The one thing a token permits."""

    operation: str
    volume: str
    vfid: VFolderId


@attrs.frozen
class KeyScope:
    """The most that a key permits to whoever comes with it. ``None`` narrows nothing.

    :ivar protocols: as in :attr:`Origin.protocol`
    :ivar vfolders: numbers of vfolders (:attr:`vfgateway.model.VFolder.key`)
    """

    protocols: frozenset[str] | None = None
    vfolders: frozenset[int] | None = None
    permission: Permission = Permission.RWD


class CredentialKind(enum.Enum):
    """What can be taken back while somebody who came with it is still here."""

    PASSWORD = "password"
    KEY = "key"
    SESSION = "session"
    LINK = "link"


@attrs.frozen
class ShownCredential:
    """What somebody came with: once it is gone, or ``expires`` (epoch seconds) has passed, so is what it opened.

    :ivar id: of the gateway's own records
    """

    kind: CredentialKind
    id: str
    expires: float | None = None


#: Whoever acts on storage without an account of its own there.
_NOBODY: Final = Actor()


@attrs.frozen
class Principal:
    """Who is asking.

    A ``USER`` has an account; the ``ORCHESTRATOR`` is trusted and not bound by grants; a ``TOKEN`` carries the one
    permission that was minted into it (``token``). ``source`` names the authenticator that the account came from, if it is not
    the gateway's own. ``key_scope`` is what the key permits that it came with, if that narrows anything: it then administers nothing, neither
    vfolders nor its own account. ``credential`` is what it came with, where that is the gateway's own to take back; rights do not depend on it,
    so principals are equal without it.
    """

    kind: PrincipalKind
    name: str
    user_id: UUID | None = None
    groups: frozenset[UUID] = frozenset()
    administered_groups: frozenset[UUID] = frozenset()
    administrator: bool = False
    actor: Actor = _NOBODY
    token: TokenScope | None = None
    source: str | None = None
    key_scope: KeyScope | None = None
    credential: ShownCredential | None = attrs.field(default=None, eq=False)


#: The orchestrator itself, after its shared secret was verified.
ORCHESTRATOR: Final = Principal(PrincipalKind.ORCHESTRATOR, "manager", administrator=True)


@attrs.frozen
class Origin:
    """Where a request came from: for logs, events and audit.

    :ivar protocol: ``client``, ``manager``, ``webdav``, ``sftp``, ``cli``
    :ivar address: the caller's address, after trusted proxies were resolved
    :ivar request_id: the identifier told to the client
    """

    protocol: str
    address: str = ""
    request_id: str = ""


#: Work that the gateway does by itself.
INTERNAL: Final = Origin("internal")

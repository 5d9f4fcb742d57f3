"""Share links: whoever has one may download a file or a directory, or drop files into a directory, without an account.

A link rests on the rights of whoever made it: it does what that person may do now, and nothing once the person may do that no more. The
secret is 256 random bits of which only a digest is stored, so a look-up by digest tells nothing about secrets that are nearly right;
the password, if there is one, is kept as all passwords are.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from uuid import UUID

import attrs
from argon2 import PasswordHasher
from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from vfgateway.blocking import Pool
from vfgateway.errors import (
    AuthenticationFailed,
    NotADirectory,
    NotFound,
    PermissionDenied,
    UnknownAccount,
)
from vfgateway.model import Permission, VFolder
from vfgateway.paths import FolderPath, parse_bytes
from vfgateway.principals import ORCHESTRATOR, CredentialKind, Origin, Principal, ShownCredential
from vfgateway.services import audit_records, passwords
from vfgateway.services.access_events import SharingChanged
from vfgateway.services.permissions import administers
from vfgateway.services.sharing_tables import share_links

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway
    from vfgateway.services.session import FolderSession

T = TypeVar("T")

#: The number that counts up when a link is revoked.
GENERATION = "share_links"
#: Seconds for which a password that was verified need not be verified again.
REMEMBERED = 300.0
#: Links that are remembered as unlocked, and wrong passwords of one link in :data:`REMEMBERED` seconds after which none is looked at.
MOST_UNLOCKED, MOST_WRONG = 10_000, 20

type_link = Literal["download", "upload"]
_NEEDED = {"download": Permission.RO, "upload": Permission.RW}


class PasswordNeeded(AuthenticationFailed):
    """The link has a password, and it was not told."""

    refuser = ""

    def __init__(self) -> None:
        super().__init__("this link needs a password")


class WrongPassword(PasswordNeeded):
    """What was told is not the password of the link; which one that is, ``subject`` says."""

    refuser = "login"

    def __init__(self, link: ShareLink) -> None:
        super().__init__()
        self.subject = f"link {link.id}"
        self.vfolder_key = link.vfolder


@attrs.frozen
class ShareLink:
    """A link as it is stored.

    :ivar creator: on whose rights it rests; ``None`` for an administrator's
    :ivar most_uses: how often it may be used in all; ``uses``: how often it was
    """

    id: str
    vfolder: int
    path: FolderPath
    kind: type_link
    label: str
    creator: UUID | None
    created: float
    expires: float | None
    most_uses: int | None
    uses: int
    password: str | None = attrs.field(repr=False)


@attrs.frozen
class NewLink:
    """A link just made. ``secret`` is what its URL ends with, which nobody can ask for again."""

    link: ShareLink
    secret: str = attrs.field(repr=False)


@attrs.frozen
class OpenedLink:
    """A link in somebody's hands: what it is for, with the rights that it rests on."""

    link: ShareLink
    folder: FolderSession

    @property
    def unlocked(self) -> str:
        """What to show instead of the password next time, as long as that is not changed; it opens no other link."""
        return hmac.digest((self.link.password or "").encode(), self.link.id.encode(), "sha256").hex()


class ShareLinks:
    """See the module.

    :param pool: where passwords are hashed
    """

    def __init__(self, gateway: Gateway, pool: Pool, hasher: PasswordHasher | None = None) -> None:
        self._gateway = gateway
        self._database = gateway.database
        self._pool = pool
        self._hasher = hasher or passwords.argon2id()
        self._key = secrets.token_bytes(32)
        self._unlocked: OrderedDict[bytes, float] = OrderedDict()
        self._wrong: dict[str, list[float]] = {}

    # --- making and unmaking ---

    async def create(
        self,
        folder: FolderSession,
        path: FolderPath,
        kind: type_link,
        *,
        password: str | None = None,
        label: str = "",
        expires: float | None = None,
        most_uses: int | None = None,
    ) -> NewLink:
        """Make a link to what is at ``path``. ``PermissionDenied`` unless the principal administers the vfolder, ``NotADirectory`` for a drop
        box that is none, ``NotFound``."""
        principal = folder.principal
        if not administers(principal, folder.vfolder):
            raise PermissionDenied(path, "make a link to this", "to be the vfolder's owner")
        folder.context.allow(_NEEDED[kind], path, "make a link to this")
        stat = await folder.stat(path, follow=True)
        if kind == "upload" and not stat.is_dir:
            raise NotADirectory(path)
        stored = None
        if password is not None:
            checked = self._gateway.accounts.password_policy.checked(password)
            stored = await self._pool.run(self._hasher.hash, checked)
        secret = secrets.token_urlsafe(32)
        row = {
            "id": uuid.uuid4().hex,
            "vfolder": folder.vfolder.key,
            "path": bytes(path),
            "kind": kind,
            "digest": _digest(secret),
            "password": stored,
            "label": label[:255],
            "creator": None if principal.user_id is None else str(principal.user_id),
            "created": self._now(),
            "expires": expires,
            "most_uses": most_uses,
            "uses": 0,
        }

        def write(connection: Connection) -> ShareLink:
            connection.execute(insert(share_links).values(row))
            return _of(connection.execute(_QUERY.where(share_links.c.id == row["id"])).one())

        about = {"link": row["id"], "kind": kind, "expires": expires, "most_uses": most_uses}
        link = await self._change(write, "link_made", folder.vfolder, path, **about, password=stored is not None)
        self._tell("link", principal, folder.vfolder, link)
        return NewLink(link, secret)

    async def list(self, principal: Principal, vfolder: VFolder) -> Sequence[ShareLink]:
        """The links of a vfolder, oldest first. ``PermissionDenied`` unless ``principal`` administers it."""
        if not administers(principal, vfolder):
            raise PermissionDenied("", "see the links of this vfolder", "to be its owner")
        query = _QUERY.where(share_links.c.vfolder == vfolder.key)
        return await self._database.read(lambda connection: [_of(row) for row in connection.execute(query)])

    async def revoke(self, principal: Principal, vfolder: VFolder, link_id: str) -> None:
        """End a link at once. ``PermissionDenied``, ``UnknownAccount`` (of kind ``link``)."""
        link = next((link for link in await self.list(principal, vfolder) if link.id == link_id), None)
        if link is None:
            raise UnknownAccount("link", link_id)
        strike = delete(share_links).where(share_links.c.id == link_id)
        await self._change(lambda c: c.execute(strike).rowcount, "link_revoked", vfolder, link.path, link=link_id)
        self._tell("unlink", principal, vfolder, link)

    async def by_id(self, link_id: str) -> ShareLink:
        """A link by its identifier, for administrators. ``UnknownAccount``."""
        query = _QUERY.where(share_links.c.id == link_id)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            raise UnknownAccount("link", link_id)
        return _of(row)

    # --- using ---

    async def open(self, secret: str, password: str | None, origin: Origin, unlocked: str | None = None) -> OpenedLink:
        """Enter by a link. ``NotFound`` for one that does not exist, was revoked, has expired, was used up, or rests on nothing any more: the
        difference is not told. :class:`PasswordNeeded`.

        :param unlocked: what :attr:`OpenedLink.unlocked` was once
        """
        query = _QUERY.where(share_links.c.digest == _digest(secret))
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        link = None if row is None else _of(row)
        if link is None or self._is_over(link):
            raise _gone()
        opened = OpenedLink(link, await self._enter(link, origin))
        if not unlocked or not hmac.compare_digest(opened.unlocked.encode(), unlocked.encode("utf-8", "replace")):
            await self._check_password(link, password)
        return opened

    def _is_over(self, link: ShareLink) -> bool:
        expired = link.expires is not None and self._now() >= link.expires
        return expired or (link.most_uses is not None and link.uses >= link.most_uses)

    async def _enter(self, link: ShareLink, origin: Origin) -> FolderSession:
        gateway = self._gateway
        try:
            vfolder = await gateway.vfolders.by_key(link.vfolder)
            principal = ORCHESTRATOR
            if link.creator is not None:
                principal = await gateway.current(await gateway.accounts.principal_of(link.creator))
                if not administers(principal, vfolder):
                    raise _gone()
            shown = ShownCredential(CredentialKind.LINK, link.id, link.expires)
            principal = attrs.evolve(principal, credential=shown)
            folder = await gateway.session(principal, origin).folder(vfolder.id, vfolder.volume)
        except (NotFound, AuthenticationFailed):
            raise _gone() from None
        if folder.access.permission < _NEEDED[link.kind]:
            raise _gone()
        return folder

    async def use(self, link: ShareLink) -> None:
        """Count one use, before it is made. ``NotFound`` if it was the last but one already, or the link was revoked just now."""
        here = share_links.c.id == link.id
        left = or_(share_links.c.most_uses.is_(None), share_links.c.uses < share_links.c.most_uses)
        count = update(share_links).where(here, left).values(uses=share_links.c.uses + 1)
        if not await self._database.write(lambda connection: connection.execute(count).rowcount):
            raise _gone()
        path = str(link.path) or "."
        self._gateway.audit.note("link_used", path, link=link.id, kind=link.kind)

    async def _check_password(self, link: ShareLink, password: str | None) -> None:
        if link.password is None:
            return
        if not password:
            raise PasswordNeeded
        ticket = hashlib.blake2b(f"{link.id}:{link.password}:{password}".encode(), key=self._key).digest()
        now = self._now()
        if self._unlocked.get(ticket, 0.0) > now:
            return
        wrong = [when for when in self._wrong.get(link.id, ()) if now - REMEMBERED < when <= now]
        if len(wrong) >= MOST_WRONG:
            raise WrongPassword(link)
        if not await self._pool.run(passwords.fits, self._hasher, link.password, password):
            if len(self._wrong) >= MOST_UNLOCKED:
                self._wrong.clear()
            self._wrong[link.id] = [*wrong, now]
            raise WrongPassword(link)
        self._unlocked[ticket] = now + REMEMBERED
        if len(self._unlocked) > MOST_UNLOCKED:
            self._unlocked.popitem(last=False)

    async def _change(
        self, write: Callable[[Connection], T], event: str, vfolder: VFolder, path: FolderPath, **about: Any
    ) -> T:
        about |= {"vfolder": vfolder.key, "target": str(path) or "."}
        return await audit_records.change(self._database, GENERATION, write, event, self._now(), **about)

    async def sweep(self) -> None:
        """Strike links whose time has passed."""
        old = delete(share_links).where(share_links.c.expires <= self._now())
        await self._database.write(lambda connection: connection.execute(old).rowcount, durable=False)

    def _now(self) -> float:
        seconds: float = self._gateway.reactor.seconds()
        return seconds

    def _tell(self, action: str, principal: Principal, vfolder: VFolder, link: ShareLink) -> None:
        self._gateway.events.publish(
            SharingChanged(
                action=action, user=principal.name, vfid=str(vfolder.id), subject=link.id, permission=link.kind
            )
        )


def _gone() -> NotFound:
    return NotFound("", "this link does not exist, or not any more")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


_QUERY = select(share_links).order_by(share_links.c.created, share_links.c.id)


def _of(row: Row[Any]) -> ShareLink:
    return ShareLink(
        id=row.id,
        vfolder=row.vfolder,
        path=parse_bytes(row.path),
        kind=row.kind,
        label=row.label,
        creator=None if row.creator is None else UUID(row.creator),
        created=row.created,
        expires=row.expires,
        most_uses=row.most_uses,
        uses=row.uses,
        password=row.password,
    )

"""What the people's API is sent and answers. Times are epoch seconds, sizes bytes; ``null`` limits nothing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vfgateway.protocols.web.fields import Answer, Closed, Limit, Name, Time

type_kind = Literal["user", "group"]
type_permission = Literal["ro", "rw", "rwd"]
type_role = Literal["ro", "rw", "rwd", "owner"]
#: A user or group as somebody types it.
Account = Annotated[str, Field(min_length=1, max_length=255)]


# --- logging in, and one's own account ---


class Login(Closed):
    """A name and its password; ``otp`` is the code of the second factor, where there is one."""

    name: Name
    password: Annotated[str, Field(min_length=1, max_length=1024)]
    otp: Annotated[str, Field(max_length=64)] | None = None


class LoggedIn(Answer):
    """The cookie is set. ``csrf_token`` belongs into the ``X-CSRF-Token`` header of every request that changes something."""

    user: str
    csrf_token: str
    expires: float


class GroupOfMine(Answer):
    """A group that I am in."""

    id: str
    name: str
    administrator: bool


class Me(Answer):
    """Who I am; ``csrf_token`` comes with a login by cookie."""

    id: str | None
    name: str
    email: str | None
    administrator: bool
    groups: list[GroupOfMine]
    limit_bytes: int | None
    limit_files: int | None
    csrf_token: str | None


class SessionInfo(Answer):
    """A browser in which I am logged in."""

    id: str
    address: str
    agent: str
    created: float
    used: float
    expires: float
    current: bool


class SessionList(Answer):
    """My sessions, the newest first."""

    sessions: list[SessionInfo]


class PasswordChange(Closed):
    """My password, and the new one."""

    current: Annotated[str, Field(min_length=1, max_length=1024)]
    new: Annotated[str, Field(min_length=1, max_length=1024)]


class KeyInfo(Answer):
    """A key of mine, without what is secret about it, and the most that it permits: by which protocols, in which vfolders (their
    identifiers), with which permission. ``null`` narrows nothing."""

    id: str
    kind: str
    label: str
    public_key: str | None
    protocols: list[str] | None
    vfolders: list[str] | None
    permission: type_permission
    created: float
    expires: float | None
    last_used: float | None


class NewKeyInfo(KeyInfo):
    """A key just made; ``secret`` is the API key or app password, which nobody can ask for again."""

    secret: str | None


class KeyList(Answer):
    """My keys, oldest first."""

    keys: list[KeyInfo]


class KeyCreation(Closed):
    """An API key, an app password (taken in the place of a password, and where there is a second factor without a code), or a public key as
    OpenSSH writes it; and the most that it shall permit. ``vfolders`` names vfolders of mine."""

    kind: Literal["api_key", "app_password", "public_key"]
    protocols: Annotated[list[Literal["client", "webdav", "sftp"]], Field(min_length=1, max_length=3)] | None = None
    vfolders: Annotated[list[Name], Field(min_length=1, max_length=100)] | None = None
    permission: type_permission = "rwd"
    public_key: Annotated[str, Field(max_length=16384)] | None = None
    label: Annotated[str, Field(max_length=255)] = ""
    expires: Time | None = None


class Proof(Closed):
    """My password."""

    current: Annotated[str, Field(min_length=1, max_length=1024)]


# --- vfolders ---


class VFolderInfo(Answer):
    """A vfolder as I see it: by which name, with which permission, and whether I administer it (share, rename, delete). ``url`` is
    where its files are by their names. ``free_bytes`` and ``free_files`` are what the tightest limit leaves."""

    name: str
    id: str
    volume: str
    owner: str | None
    owner_name: str | None
    kind: Literal["user", "project"]
    permission: Literal["ro", "rw", "rwd", "none"]
    administer: bool
    read_only: bool
    status: Literal["ready", "cloning", "trashed", "deleting"]
    used_bytes: int
    used_files: int
    limit_bytes: int | None
    limit_files: int | None
    free_bytes: int | None
    free_files: int | None
    created: float
    expires: float | None
    url: str


class VFolderList(Answer):
    """My vfolders, by name."""

    vfolders: list[VFolderInfo]


class VFolderCreation(Closed):
    """A vfolder of mine, or of a ``group`` that I administer (by name or UUID); on the site's first ``volume`` for that, and with as much room as the
    site gives, unless I say otherwise."""

    name: Name
    group: Account | None = None
    volume: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    limit_bytes: Limit | None = None
    expires: Time | None = None


class VFolderChange(Closed):
    """What is given changes; ``null`` lifts an expiry."""

    name: Name | None = None
    expires: Time | None = None


class TrashedInfo(Answer):
    """A deleted vfolder; ``purge_at`` is when it is removed for good."""

    id: str
    name: str
    used_bytes: int
    deleted_by: str
    deleted: float
    purge_at: float


class TrashedList(Answer):
    """Deleted vfolders that I may restore, what was deleted last first."""

    vfolders: list[TrashedInfo]


class NewName(Closed):
    """Under another name than before."""

    name: Name | None = None


class Task(Answer):
    """Work that goes on in the background."""

    task: str


# --- sharing ---


class GrantInfo(Answer):
    """A vfolder opened to a user or group."""

    id: str
    kind: type_kind
    subject: str | None
    subject_id: str
    permission: type_permission
    created: float
    expires: float | None


class GrantList(Answer):
    """To whom a vfolder is opened, oldest first."""

    grants: list[GrantInfo]


class GrantCreation(Closed):
    """Opens a vfolder to a user or group at once, in place of an earlier grant to the same."""

    kind: type_kind
    subject: Account
    permission: type_permission
    expires: Time | None = None


class InvitationInfo(Answer):
    """An offer that waits for an answer. With the role ``owner`` the vfolder itself is offered, and the former owner keeps ``keep``."""

    id: str
    vfolder: str
    vfolder_id: str
    user: str | None
    inviter: str | None
    role: type_role
    keep: Literal["ro", "rw", "rwd", "none"]
    message: str
    grant_expires: float | None
    created: float
    expires: float


class InvitationList(Answer):
    """Offers, oldest first."""

    invitations: list[InvitationInfo]


class InvitationCreation(Closed):
    """Offers a vfolder to a user, by name, UUID or e-mail address."""

    user: Account
    role: type_role
    keep: type_permission | None = None
    message: Annotated[str, Field(max_length=1000)] = ""
    grant_expires: Time | None = None


class Transfer(Closed):
    """Hands a vfolder over to a group that I administer."""

    group: Account
    name: Name | None = None
    keep: type_permission | None = None

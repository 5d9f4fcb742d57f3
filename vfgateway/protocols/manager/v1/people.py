"""Bodies about users, groups and keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vfgateway.protocols.web.fields import WHOLE, Answer, Closed, Flag, Limit, Name, Time, Uuid

#: Numeric identity on storage; one less than the highest 32-bit number, which means "nobody".
Number = Annotated[int, Field(strict=True, ge=0, lt=(1 << 32) - 1), WHOLE]
Password = Annotated[str, Field(min_length=1, max_length=1024)]
Email = Annotated[str, Field(max_length=255)]
Label = Annotated[str, Field(max_length=255)]
SourceName = Annotated[str, Field(min_length=1, max_length=64)]
VFolderText = Annotated[str, Field(min_length=1, max_length=600)]


class UserInfo(Answer):
    """A user. Times in epoch seconds; ``null`` limits nothing. ``source`` is the authenticator that the account follows, ``null`` for one of the
    gateway's own; one that is ``withdrawn`` is not known there any more, and cannot log in."""

    id: str
    name: str
    email: str | None
    administrator: bool
    active: bool
    uid: int | None
    gid: int | None
    limit_bytes: int | None
    limit_files: int | None
    created: float
    expires: float | None
    source: str | None
    withdrawn: bool


class UserList(Answer):
    """All users by name."""

    users: list[UserInfo]


class UserCreation(Closed):
    """A new user; ``id`` is the orchestrator's, where it has one. Without password or key it cannot log in."""

    name: Name
    id: Uuid | None = None
    password: Password | None = None
    email: Email | None = None
    administrator: Flag = False
    active: Flag = True
    uid: Number | None = None
    gid: Number | None = None
    limit_bytes: Limit | None = None
    limit_files: Limit | None = None
    expires: Time | None = None


class UserChange(Closed):
    """What is given changes; ``null`` lifts a limit, an expiry, a numeric identity or an address. ``source`` hands the account to whoever
    that authenticator knows under its name, or, with ``null``, makes it one of the gateway's own."""

    name: Name = ""
    email: Email | None = None
    administrator: Flag = False
    active: Flag = True
    uid: Number | None = None
    gid: Number | None = None
    limit_bytes: Limit | None = None
    limit_files: Limit | None = None
    expires: Time | None = None
    source: SourceName | None = None


class PasswordChange(Closed):
    """A new password; ``null`` takes it away."""

    password: Password | None


class Removal(Closed):
    """How to remove somebody who owns vfolders: refused, unless they are to be kept for a later account."""

    keep_vfolders: bool = False


class KeyInfo(Answer):
    """A key, without what is secret about it; and what it permits at most: ``null`` for all protocols, or all vfolders. Those are named by their
    identifiers."""

    id: str
    user_id: str
    kind: Literal["api_key", "app_password", "public_key"]
    label: str
    public_key: str | None
    protocols: list[str] | None
    vfolders: list[str] | None
    permission: Literal["ro", "rw", "rwd"]
    created: float
    expires: float | None
    last_used: float | None


class NewKeyInfo(KeyInfo):
    """A key just made; ``secret`` is an API key or app password, which is told this once."""

    secret: str | None


class KeyList(Answer):
    """The keys of a user, oldest first."""

    keys: list[KeyInfo]


class KeyCreation(Closed):
    """A new API key, an app password (which is taken in the place of a password only), or an OpenSSH public key to take in. It may be
    limited to protocols, to vfolders (named as everywhere), and to a permission."""

    kind: Literal["api_key", "app_password", "public_key"]
    public_key: Annotated[str, Field(max_length=16384)] | None = None
    label: Label = ""
    expires: Time | None = None
    protocols: Annotated[list[Literal["client", "webdav", "sftp"]], Field(min_length=1, max_length=3)] | None = None
    vfolders: Annotated[list[VFolderText], Field(min_length=1, max_length=1000)] | None = None
    permission: Literal["ro", "rw", "rwd"] = "rwd"


class GroupInfo(Answer):
    """A group."""

    id: str
    name: str
    limit_bytes: int | None
    limit_files: int | None
    created: float


class MemberInfo(Answer):
    """A user in a group."""

    id: str
    name: str
    administrator: bool


class GroupDetails(GroupInfo):
    """A group with its members."""

    members: list[MemberInfo]


class GroupList(Answer):
    """All groups by name."""

    groups: list[GroupInfo]


class GroupCreation(Closed):
    """A new group; ``id`` is the orchestrator's project, where it has one."""

    name: Name
    id: Uuid | None = None
    limit_bytes: Limit | None = None
    limit_files: Limit | None = None


class GroupChange(Closed):
    """What is given changes; ``null`` lifts a limit."""

    name: Name = ""
    limit_bytes: Limit | None = None
    limit_files: Limit | None = None


class Membership(Closed):
    """What a member may do."""

    administrator: Flag = False

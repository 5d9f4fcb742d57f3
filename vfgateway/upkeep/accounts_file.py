"""The file in which accounts go from one gateway to another (``docs/accounts-file.md``): JSON, in which everything is called by its name."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vfgateway.errors import Conflict, InvalidArgument


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PublicKey(_Part):
    """``line`` as in ``authorized_keys``; ``expires`` in epoch seconds."""

    line: str
    label: str = ""
    expires: float | None = None


class UserEntry(_Part):
    """A user. ``password`` is a hash: Argon2 as the gateway makes it, or bcrypt. ``source`` and ``subject`` name the authenticator that it
    comes from, and what that calls it. Without ``id`` it gets a new one."""

    id: UUID | None = None
    name: str
    email: str | None = None
    administrator: bool = False
    active: bool = True
    uid: int | None = None
    gid: int | None = None
    limit_bytes: int | None = Field(default=None, ge=0)
    limit_files: int | None = Field(default=None, ge=0)
    expires: float | None = None
    source: str | None = None
    subject: str | None = None
    password: str | None = Field(default=None, repr=False)
    keys: tuple[PublicKey, ...] = ()


class MemberEntry(_Part):
    """A user in a group."""

    user: str
    administrator: bool = False


class GroupEntry(_Part):
    """A group and its members."""

    id: UUID | None = None
    name: str
    limit_bytes: int | None = Field(default=None, ge=0)
    limit_files: int | None = Field(default=None, ge=0)
    source: str | None = None
    subject: str | None = None
    members: tuple[MemberEntry, ...] = ()


class GrantEntry(_Part):
    """A vfolder, by ``volume`` and ``vfid``, is open to a user or group; ``vfolder`` is for people."""

    volume: str
    vfid: str
    vfolder: str = ""
    kind: Literal["user", "group"]
    account: str
    permission: Literal["ro", "rw", "rwd"]
    expires: float | None = None


class AccountsFile(_Part):
    """The whole file."""

    format: Literal["vfgateway-accounts"] = "vfgateway-accounts"
    version: int = 1
    exported: str = ""
    users: tuple[UserEntry, ...] = ()
    groups: tuple[GroupEntry, ...] = ()
    grants: tuple[GrantEntry, ...] = ()


def parse(text: bytes) -> AccountsFile:
    """Read a file. ``InvalidArgument`` says where it is wrong, without repeating what is there; ``Conflict`` if it is of a newer version."""
    try:
        found = AccountsFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise InvalidArgument(where, f"{first['msg']}; expected the format of `vfgateway db export`") from None
    if found.version != 1:
        raise Conflict(f"the file is of version {found.version}, and this gateway reads version 1")
    return found

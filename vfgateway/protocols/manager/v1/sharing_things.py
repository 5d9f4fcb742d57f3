"""Bodies about trash, invitations and share links."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vfgateway.protocols.manager.fields import VolumeName
from vfgateway.protocols.manager.v1.things import Account, type_kind
from vfgateway.protocols.web.fields import Answer, Closed, Flag, Name, Time
from vfgateway.protocols.web.linkbodies import LinkInfo, NewLinkInfo

type_role = Literal["ro", "rw", "rwd", "owner"]


class Deletion(Closed):
    """How to delete a vfolder. ``purge``: for good, at once, instead of into the trash."""

    volume: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    purge: Literal["true", "false"] = "false"


class TrashedInfo(Answer):
    """A vfolder in the trash. ``name`` is what it was called; ``purge_at`` when it is removed for good (epoch seconds)."""

    id: str
    folder: str
    name: str
    owner: str | None
    owner_id: str | None
    kind: type_kind
    volume: str
    used_bytes: int
    used_files: int
    deleted_by: str
    deleted: float
    purge_at: float


class TrashedList(Answer):
    """The trash, what was deleted last first."""

    vfolders: list[TrashedInfo]


class AdoptionOrder(Closed):
    """What lies on a volume already, to be made a vfolder where it lies: ``place`` in the storage's own words (an absolute path, a
    path on the share, the name of a container)."""

    owner: Account
    name: Name
    place: Annotated[str, Field(min_length=1, max_length=4096)]
    volume: VolumeName
    kind: type_kind | None = None
    read_only: Flag = True


class Restoration(Closed):
    """Under which name to restore: under the old one by default."""

    name: Name | None = None


class InvitationInfo(Answer):
    """An offer that waits for an answer; ``owner`` as role is the offer of ownership."""

    id: str
    vfolder: str
    user: str | None
    user_id: str
    role: type_role
    inviter_id: str | None
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
    message: Annotated[str, Field(max_length=1000)] = ""
    grant_expires: Time | None = None


class VFolderLinkInfo(LinkInfo):
    """A share link, with its vfolder and whoever made it."""

    vfolder: str
    creator_id: str | None


class NewVFolderLinkInfo(VFolderLinkInfo, NewLinkInfo):
    """A share link just made."""


class VFolderLinkList(Answer):
    """Share links of a vfolder, oldest first."""

    links: list[VFolderLinkInfo]

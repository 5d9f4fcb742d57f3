"""What both APIs are sent and answer about share links."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from vfgateway.paths import json_name
from vfgateway.protocols.web.fields import WHOLE, Answer, Closed, RelPath, Time
from vfgateway.services.session import FolderSession
from vfgateway.services.sharelinks import NewLink, ShareLink, ShareLinks


class LinkInfo(Answer):
    """A share link, without its secret. ``uses`` of ``most_uses`` are gone (``null``: any number)."""

    id: str
    path: str
    kind: Literal["download", "upload"]
    label: str
    has_password: bool
    created: float
    expires: float | None
    most_uses: int | None
    uses: int


class NewLinkInfo(LinkInfo):
    """A share link just made; ``url`` holds its secret, which nobody can ask for again."""

    url: str


class LinkList(Answer):
    """Share links of a vfolder, oldest first."""

    links: list[LinkInfo]


class LinkCreation(Closed):
    """A link to download a file or a directory, or to send files into a directory without seeing it."""

    path: RelPath = Field(default=".", validate_default=True)
    kind: Literal["download", "upload"] = "download"
    password: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    label: Annotated[str, Field(max_length=255)] = ""
    expires: Time | None = None
    most_uses: Annotated[int, Field(strict=True, ge=1, le=1_000_000_000), WHOLE] | None = None


def link_facts(link: ShareLink) -> dict[str, Any]:
    """The fields of :class:`LinkInfo`."""
    return {
        "id": link.id,
        "path": json_name(str(link.path))["name"],
        "kind": link.kind,
        "label": link.label,
        "has_password": link.password is not None,
        "created": link.created,
        "expires": link.expires,
        "most_uses": link.most_uses,
        "uses": link.uses,
    }


async def make_link(links: ShareLinks, folder: FolderSession, params: LinkCreation) -> NewLink:
    """Make the link that is asked for."""
    return await links.create(
        folder,
        params.path,
        params.kind,
        password=params.password,
        label=params.label,
        expires=params.expires,
        most_uses=params.most_uses,
    )

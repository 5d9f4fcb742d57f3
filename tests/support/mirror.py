"""A client that keeps a mirror of a collection by ``sync-collection`` alone (RFC 6578)."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from lxml import etree

from tests.support.uploading import Answer
from tests.support.webdav import DAV, Dav, condition

QUESTION = (
    '<D:sync-collection xmlns:D="DAV:"><D:sync-token>{token}</D:sync-token><D:sync-level>{level}</D:sync-level>'
    "{limit}<D:prop><D:getetag/><D:resourcetype/></D:prop></D:sync-collection>"
)
#: What a member is known by: its ETag, ``"collection"`` for a collection.
type_state = Mapping[str, str]


async def sync(
    dav: Dav, target: str, token: str = "", level: str = "infinite", limit: int | None = None, **fields: str
) -> Answer:
    """One REPORT."""
    bound = "" if limit is None else f"<D:limit><D:nresults>{limit}</D:nresults></D:limit>"
    body = QUESTION.format(token=token, level=level, limit=bound).encode()
    return await dav.ask("REPORT", target, body, Content_Type="application/xml", **fields)


@attrs.define
class Mirror:
    """What the client believes.

    :ivar begun: how often it had to begin anew
    :ivar told: members that the last sync named, in order
    """

    dav: Dav
    target: str
    level: str = "infinite"
    limit: int | None = None
    token: str = ""
    members: dict[str, str] = attrs.Factory(dict)
    begun: int = 0
    told: list[str] = attrs.Factory(list)

    async def follow(self) -> None:
        """Ask until there is no more."""
        self.told = []
        while True:
            answer = await sync(self.dav, self.target, self.token, self.level, self.limit)
            if answer.status == 403 and self.token:
                assert condition(answer) == "valid-sync-token"
                self.token, self.members = "", {}
                self.begun += 1
                self.told = []
                continue
            assert answer.status == 207, (answer.status, answer.body)
            if not self._take(answer):
                return

    def _take(self, answer: Answer) -> bool:
        root = etree.fromstring(answer.body)
        more, named = False, []
        for response in root.findall(DAV + "response"):
            href = response.findtext(DAV + "href") or ""
            status = response.findtext(DAV + "status")
            if status is not None and " 507 " in status:
                assert (
                    href == self.target
                    and response.find(f"{DAV}error/{DAV}number-of-matches-within-limits") is not None
                )
                more = True
            elif status is not None:
                assert " 404 " in status and response.find(DAV + "propstat") is None
                named.append(href)
                self._forget(href)
            else:
                named.append(href)
                self._know(href, response)
        assert len(set(named)) == len(named), f"a member is named twice: {named}"
        assert self.limit is None or len(named) <= self.limit
        self.told += named
        token = root.findtext(DAV + "sync-token")
        assert token
        self.token = token
        return more

    def _forget(self, href: str) -> None:
        """With a slash at its end or without, it is one member (RFC 4918, 5.2): what was a file may have become a collection, and gone."""
        top = href.rstrip("/")
        self.members.pop(top, None)
        for member in [member for member in self.members if member.startswith(top + "/")]:
            del self.members[member]

    def _know(self, href: str, response: etree._Element) -> None:
        if response.find(f".//{DAV}collection") is not None:
            self.members.pop(href.rstrip("/"), None)
            self.members[href] = "collection"
        else:
            self._forget(href)
            self.members[href] = response.findtext(f".//{DAV}getetag") or ""


async def truth(dav: Dav, target: str, depth: str = "infinity") -> dict[str, str]:
    """The members as PROPFIND has them."""
    body = b'<D:propfind xmlns:D="DAV:"><D:prop><D:getetag/><D:resourcetype/></D:prop></D:propfind>'
    answer = await dav.ask("PROPFIND", target, body, Depth=depth)
    assert answer.status == 207
    found = {}
    for response in etree.fromstring(answer.body).findall(DAV + "response"):
        href = response.findtext(DAV + "href") or ""
        if href != target:
            etag = response.findtext(f".//{DAV}getetag")
            found[href] = "collection" if response.find(f".//{DAV}collection") is not None else etag or ""
    return found

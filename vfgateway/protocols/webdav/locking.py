"""LOCK and UNLOCK (RFC 4918 sections 9.10 and 9.11), on the one table of locks that all protocols obey."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import re
from typing import Final

import attrs
from lxml import etree

from vfgateway.errors import AlreadyExists, Locked, LockLost
from vfgateway.model import ABSENT, Permission
from vfgateway.paths import parse_text
from vfgateway.protocols.webdav.activelock import active_lock
from vfgateway.protocols.webdav.documents import DAV, read_document, written
from vfgateway.protocols.webdav.exchange import INFINITY, Exchange, present, refuse_orphan
from vfgateway.protocols.webdav.faults import PROLOGUE, ConflictingLock, Refused, answer_empty, answer_xml
from vfgateway.protocols.webdav.multistatus import answer_failures
from vfgateway.services.locks import Lock
from vfgateway.services.session import FolderSession

_SECONDS: Final = re.compile(r"second-([0-9]{1,12})")
#: Bytes of what a client may say of itself.
LONGEST_OWNER: Final = 8192


async def answer_lock(exchange: Exchange) -> None:
    """Take a lock, or with no body refresh one."""
    if exchange.place.is_top:
        raise Refused(403, "the list of vfolders cannot be locked")
    folder = await exchange.folder()
    folder.context.allow(Permission.RW, exchange.place.path, "lock this")
    root = await read_document(exchange.request)
    if root is None:
        await _refresh(exchange, folder)
        return
    infinite, exclusive, owner = _wanted(exchange, root)
    found = await present(folder, exchange.place)
    if found is None:
        await refuse_orphan(folder, exchange.place)
    try:
        lock = await folder.lock(
            exchange.place.path,
            infinite=infinite,
            exclusive=exclusive,
            timeout=_timeout(exchange),
            description=owner,
        )
    except Locked as error:
        _refuse_conflict(exchange, folder, error)
        return
    made = False
    if found is None:
        made = await _make_empty(exchange, folder, lock)
    exchange.request.setHeader(b"lock-token", b"<%s>" % lock.token.encode("ascii"))
    _answer(exchange, lock, 201 if made else 200)


def _refuse_conflict(exchange: Exchange, folder: FolderSession, error: Locked) -> None:
    """Another lock is in the way: over this place, or on a member of it, which is then told as such (section 9.10.3)."""
    conflict = ConflictingLock(error.path, error.owner, error.until)
    vars(conflict).update(vars(error))
    place, root = exchange.place, parse_text(error.path)
    here = folder.context.lock_path(place.path)
    if root == here or not root.within(here):
        raise conflict
    member = attrs.evolve(place, path=root)
    depends = Refused(424, "a member is locked")
    answer_failures(exchange.request, [(member, conflict), (place, depends)])


async def _make_empty(exchange: Exchange, folder: FolderSession, lock: Lock) -> bool:
    """Where nothing is, a lock makes an empty file (section 7.3); ``False`` if somebody else was quicker."""
    try:
        holder = folder.holding(folder.context.lock_tokens | {lock.token})
        async with await holder.upload(exchange.place.path, size=0, expect=ABSENT) as upload:
            await upload.commit()
        return True
    except AlreadyExists:
        return False
    except BaseException:
        await folder.unlock(lock.token)
        raise


async def _refresh(exchange: Exchange, folder: FolderSession) -> None:
    """The token is in ``If`` (section 9.10.2)."""
    path = folder.context.lock_path(exchange.place.path)
    for token in exchange.tokens:
        lock = await folder.context.gateway.locks.get(token)
        if lock is not None and lock.vfolder == folder.vfolder.key and lock.covers(path):
            try:
                _answer(exchange, await folder.refresh_lock(token, _timeout(exchange)), 200)
            except LockLost:
                continue
            return
    condition = "lock-token-matches-request-uri"
    raise Refused(412, "LOCK without a body refreshes the lock that If names, and there is none here", condition)


async def answer_unlock(exchange: Exchange) -> None:
    """End a lock."""
    value = (exchange.request.getHeader(b"lock-token") or b"").decode("latin-1").strip()
    if not (value.startswith("<") and value.endswith(">")):
        raise Refused(400, "Lock-Token must name a lock in angle brackets")
    folder = await exchange.folder()
    token = value[1:-1]
    lock = await folder.context.gateway.locks.get(token)
    path = folder.context.lock_path(exchange.place.path)
    if lock is None or lock.vfolder != folder.vfolder.key or not lock.covers(path):
        raise Refused(409, "no such lock here", "lock-token-matches-request-uri")
    await folder.unlock(token)
    answer_empty(exchange.request, 204)


def _wanted(exchange: Exchange, root: etree._Element) -> tuple[bool, bool, str]:
    """Depth, scope, and how the client describes itself."""
    if root.tag != DAV + "lockinfo":
        raise Refused(400, "expected DAV:lockinfo")
    depth = exchange.depth(INFINITY)
    if depth == "1":
        raise Refused(400, "the Depth of LOCK is 0 or infinity")
    scope, kind = root.find(DAV + "lockscope"), root.find(DAV + "locktype")
    if scope is None or kind is None or kind.find(DAV + "write") is None:
        raise Refused(422, "only write locks are known")
    shared, exclusive = scope.find(DAV + "shared") is not None, scope.find(DAV + "exclusive") is not None
    if shared == exclusive:
        raise Refused(422, "a lock is either exclusive or shared")
    owner = root.find(DAV + "owner")
    described = "" if owner is None else written(owner)
    if len(described) > LONGEST_OWNER:
        raise Refused(413, "the owner of a lock is described in fewer words")
    return depth == INFINITY, exclusive, described


def _timeout(exchange: Exchange) -> float:
    """``Timeout`` (section 10.7): the first time that can be read, within what is allowed."""
    longest = exchange.app.settings.longest_lock
    for choice in (exchange.request.getHeader(b"timeout") or b"").decode("latin-1").lower().split(","):
        match = _SECONDS.fullmatch(choice.strip())
        if match is not None:
            return max(1.0, min(float(match[1]), longest))
        if choice.strip() == "infinite":
            return longest
    return min(3600.0, longest)


def _answer(exchange: Exchange, lock: Lock, status: int) -> None:
    now = exchange.app.gateway.reactor.seconds()
    inner = active_lock(lock, exchange.place.name, now)
    body = b'<D:prop xmlns:D="DAV:"><D:lockdiscovery>%s</D:lockdiscovery></D:prop>\n' % inner
    answer_xml(exchange.request, status, PROLOGUE + body)

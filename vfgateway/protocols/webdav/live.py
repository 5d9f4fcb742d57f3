"""Properties that the gateway itself knows (RFC 4918 section 15, RFC 4331, RFC 6578): each is an element, or not defined there."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final
from xml.sax.saxutils import escape

import attrs

from vfgateway.model import FileStat, FileType
from vfgateway.protocols.web.conditions import http_date
from vfgateway.protocols.webdav.activelock import active_lock
from vfgateway.protocols.webdav.get import content_type
from vfgateway.services.locks import Lock
from vfgateway.services.quota import Remaining

_SECOND: Final = 1_000_000_000
#: Characters that XML 1.0 cannot hold, however they are written (section 2.2 there).
_IMPOSSIBLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_SPECIAL: Final = re.compile("[&<>\x00-\x1f\x7f-\U0010ffff]")


@attrs.define
class Described:
    """A resource of which properties are told.

    :ivar vfolder: the name of the vfolder
    :ivar remaining: what its vfolder has left; ``None`` where nobody asked
    :ivar locks: those that cover it
    :ivar now: epoch seconds
    :ivar sync_token: of a collection whose changes are followed; ``None`` where nobody asked
    """

    name: str
    stat: FileStat
    vfolder: str = ""
    remaining: Remaining | None = None
    locks: Sequence[Lock] = ()
    now: float = 0.0
    sync_token: bytes | None = None


def text_of(text: str) -> bytes:
    """``text`` as XML; what XML cannot hold becomes U+FFFD."""
    if _SPECIAL.search(text) is None:
        return text.encode("ascii")
    return escape(_IMPOSSIBLE.sub("\ufffd", text)).encode("utf-8")


@lru_cache(maxsize=4096)
def iso_date(seconds: int) -> bytes:
    """Epoch seconds as RFC 3339 has it; what lies before 1970 or after 9999 is moved to that end."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(min(max(seconds, 0), 253402300799))).encode("ascii")


def _creation(item: Described) -> bytes:
    """When it was made, as far as its facts tell."""
    return b"<D:creationdate>%s</D:creationdate>" % iso_date(min(item.stat.ctime_ns, item.stat.mtime_ns) // _SECOND)


def _modified(item: Described) -> bytes:
    return b"<D:getlastmodified>%s</D:getlastmodified>" % http_date(item.stat.mtime_ns // _SECOND)


def _name(item: Described) -> bytes:
    return b"<D:displayname>%s</D:displayname>" % text_of(item.name)


def _length(item: Described) -> bytes | None:
    return b"<D:getcontentlength>%d</D:getcontentlength>" % item.stat.size if item.stat.is_file else None


def _content_type(item: Described) -> bytes | None:
    return b"<D:getcontenttype>%s</D:getcontenttype>" % content_type(item.name) if item.stat.is_file else None


def _etag(item: Described) -> bytes | None:
    return b'<D:getetag>"%s"</D:getetag>' % item.stat.identity.encode("ascii") if item.stat.is_file else None


def _kind(item: Described) -> bytes:
    return b"<D:resourcetype/>" if item.stat.is_file else b"<D:resourcetype><D:collection/></D:resourcetype>"


_ENTRY: Final = b"<D:lockentry><D:lockscope><D:%s/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
SUPPORTED: Final = b"<D:supportedlock>" + _ENTRY % b"exclusive" + _ENTRY % b"shared" + b"</D:supportedlock>"


def _lockable(item: Described) -> bytes | None:
    return SUPPORTED if item.vfolder else None


def _locks(item: Described) -> bytes | None:
    if not item.locks:
        return b"<D:lockdiscovery/>" if item.vfolder else None
    inner = b"".join(active_lock(lock, item.vfolder, item.now) for lock in item.locks)
    return b"<D:lockdiscovery>%s</D:lockdiscovery>" % inner


def _free(item: Described) -> bytes | None:
    """Where nothing is limited there is no such property (RFC 4331 section 3): any number would be believed."""
    if item.remaining is None or item.remaining.free_bytes is None or not item.stat.is_dir:
        return None
    return b"<D:quota-available-bytes>%d</D:quota-available-bytes>" % item.remaining.free_bytes


def _used(item: Described) -> bytes | None:
    if item.remaining is None or not item.stat.is_dir:
        return None
    return b"<D:quota-used-bytes>%d</D:quota-used-bytes>" % item.remaining.used_bytes


def _executable(item: Described) -> bytes | None:
    """What davfs2 and other clients of neon keep the bit in, as Apache has it."""
    if not item.stat.is_file:
        return None
    flag = b"T" if item.stat.mode & 0o100 else b"F"
    return b'<A:executable xmlns:A="http://apache.org/dav/props/">%s</A:executable>' % flag


def _win32_modified(item: Described) -> bytes:
    date = http_date(item.stat.mtime_ns // _SECOND)
    return b'<Z:Win32LastModifiedTime xmlns:Z="urn:schemas-microsoft-com:">%s</Z:Win32LastModifiedTime>' % date


def _sync_token(item: Described) -> bytes | None:
    if item.sync_token is None or not item.stat.is_dir:
        return None
    return b"<D:sync-token>%s</D:sync-token>" % item.sync_token


_SYNC: Final = b"<D:supported-report><D:report><D:sync-collection/></D:report></D:supported-report>"


def _reports(item: Described) -> bytes:
    reports = _SYNC if item.sync_token is not None and item.stat.is_dir else b""
    return b"<D:supported-report-set>%s</D:supported-report-set>" % reports


type_live = Callable[[Described], bytes | None]

#: What ``allprop`` asks for: the properties of RFC 4918 (its section 9.1).
USUAL: Final[Mapping[str, type_live]] = {
    "{DAV:}creationdate": _creation,
    "{DAV:}displayname": _name,
    "{DAV:}getcontentlength": _length,
    "{DAV:}getcontenttype": _content_type,
    "{DAV:}getetag": _etag,
    "{DAV:}getlastmodified": _modified,
    "{DAV:}lockdiscovery": _locks,
    "{DAV:}resourcetype": _kind,
    "{DAV:}supportedlock": _lockable,
}
FREE, USED, LOCKS = "{DAV:}quota-available-bytes", "{DAV:}quota-used-bytes", "{DAV:}lockdiscovery"
EXECUTABLE, WIN32_MODIFIED = (
    "{http://apache.org/dav/props/}executable",
    "{urn:schemas-microsoft-com:}Win32LastModifiedTime",
)
SYNC_TOKEN, REPORTS = "{DAV:}sync-token", "{DAV:}supported-report-set"
MODIFIED, NAME = "{DAV:}getlastmodified", "{DAV:}displayname"
#: All of them; those beyond :data:`USUAL` are told to whoever asks by name.
LIVE: Final[Mapping[str, type_live]] = {
    **USUAL,
    FREE: _free,
    USED: _used,
    EXECUTABLE: _executable,
    WIN32_MODIFIED: _win32_modified,
    SYNC_TOKEN: _sync_token,
    REPORTS: _reports,
}


def top_stat(created: float) -> FileStat:
    """Facts about a collection that is no directory: the list of vfolders, or a vfolder in it, which may lie on storage that does not
    answer now."""
    when = int(created * _SECOND)
    return FileStat(FileType.DIRECTORY, 0, 0o555, 0, 0, when, when, "")

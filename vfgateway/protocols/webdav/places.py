"""URLs of this front end: ``/`` lists vfolders, ``/<vfolder>/<path>`` is what lies in one, and so is
``/<vfolder>/.uploads/dav/files/<user>/<path>`` for clients that send large files as Nextcloud has it."""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import urlsplit

import attrs

from vfgateway.errors import GatewayError, InvalidPath, NotFound
from vfgateway.paths import ROOT, FolderPath, parse_url, url_of
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.services.session import FolderSession

#: Tells whether a name is its own escaped form, in URLs and in XML.
is_plain = re.compile(r"[A-Za-z0-9._~!$()*,=@+-]+").fullmatch


#: Leads, with the name of a user behind it, to the files of a vfolder as well as nothing at all does.
FILES: Final = (".uploads", "dav", "files")


class BadUrl(GatewayError):
    """A URL that can name nothing here: 400."""


class ElsewhereUrl(GatewayError):
    """A URL on another server: 502 as a destination (RFC 4918 section 9.8.5)."""


@attrs.frozen
class Place:
    """What a URL names.

    :ivar name: the vfolder, by the name its user sees; ``""`` for the list of vfolders
    :ivar path: in the vfolder
    :ivar slash: whether the URL ended with a slash
    :ivar base: what stands between the two in the URL
    """

    name: str = ""
    path: FolderPath = ROOT
    slash: bool = True
    base: tuple[str, ...] = ()

    @property
    def is_top(self) -> bool:
        """Whether it is the list of vfolders."""
        return not self.name

    @property
    def is_fixed(self) -> bool:
        """Whether it is a vfolder or their list: there as long as the registry says so."""
        return self.path.is_root

    @property
    def whole(self) -> FolderPath:
        """All names of the URL, that of the vfolder included."""
        return FolderPath((self.name, *self.base, *self.path.parts)) if self.name else ROOT

    def href(self, collection: bool) -> bytes:
        """The path of its URL; that of a collection ends with a slash (RFC 4918 section 5.2)."""
        return href_of(self.whole, collection)


def href_of(whole: FolderPath, collection: bool) -> bytes:
    """As :meth:`Place.href`, for a path from the top. ``&`` is escaped too, so that no XML has to do it again."""
    if whole.is_root:
        return b"/"
    escaped = "/" + url_of(whole).replace("&", "%26").replace("'", "%27")
    return (escaped + "/" if collection else escaped).encode("ascii")


def segment_of(name: str) -> bytes:
    """One name as :func:`href_of` writes it, without slashes."""
    return name.encode("ascii") if is_plain(name) else href_of(FolderPath((name,)), False)[1:]


def place_of(raw: bytes) -> Place:
    """The place that the path of a URL names. Raises :class:`BadUrl`."""
    if b"#" in raw:
        raise BadUrl("a URL in a request has no fragment")
    try:
        whole = parse_url(raw)
    except InvalidPath as error:
        raise BadUrl(str(error)) from None
    if whole.is_root:
        return Place()
    base = whole.parts[1:5] if whole.parts[1:4] == FILES and len(whole.parts) > 4 else ()
    return Place(whole.parts[0], FolderPath(whole.parts[1 + len(base) :]), raw.endswith(b"/"), base)


def place_of_url(request: StreamingRequest, url: bytes) -> Place:
    """The place of an absolute URL or path, as ``Destination`` and ``If`` carry them. :class:`ElsewhereUrl` unless it is on this server,
    whatever its scheme: behind a proxy that ends TLS it is not ours, and some clients write ``webdav://``."""
    text = url.decode("latin-1").strip()
    authority, path = "", text
    if not text.startswith("/"):
        try:
            parts = urlsplit(text)
        except ValueError:
            raise BadUrl(f"not a URL: {text[:200]}") from None
        authority, path = parts.netloc.rpartition("@")[2].lower(), parts.path
        if not authority:
            raise BadUrl(f"not an absolute URL: {text[:200]}")
        if parts.fragment:
            raise BadUrl("a URL in a request has no fragment")
    if authority and _known_as(authority) not in _our_names(request):
        raise ElsewhereUrl(f"{authority} is another server")
    return place_of(path.partition("?")[0].encode("latin-1"))


def _our_names(request: StreamingRequest) -> set[str]:
    names = {_known_as(request.caller.host.lower()), _known_as(urlsplit(request.external_base).netloc.lower())}
    written = request.getHeader(b"host")  # a proxy may pass on the client's Destination beside a Host of its own
    return names | ({_known_as(written.decode("latin-1").strip().lower())} if written else set())


def _known_as(authority: str) -> str:
    return authority.removesuffix(":80").removesuffix(":443")


async def found_name(folder: FolderSession, path: FolderPath, decomposing: bool) -> FolderPath:
    """``path`` by the names that are there. macOS writes accents as characters of their own (NFD), all others in one with the letter
    (NFC): where nothing has the one name, what has the other is meant.

    :param decomposing: the client is one that decomposes: new names become NFC
    """
    if str(path).isascii():
        return path
    try:
        await folder.stat(path)
        return path
    except NotFound:
        pass
    composed, decomposed = (_normal(path, form) for form in ("NFC", "NFD"))
    for other in (composed, decomposed):
        if other != path:
            try:
                await folder.stat(other)
                return other
            except NotFound:
                continue
    return composed if decomposing else path


def _normal(path: FolderPath, form: str) -> FolderPath:
    return FolderPath(tuple(unicodedata.normalize(form, part) for part in path.parts))  # type: ignore[arg-type]

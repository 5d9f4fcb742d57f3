"""GET and HEAD (RFC 4918 section 9.4): files as they are, collections as a page for people."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import mimetypes
from functools import lru_cache
from typing import Final

from vfgateway.paths import FolderPath
from vfgateway.protocols.web.asked import Answer, Asked, lines_of
from vfgateway.protocols.web.reply import file_at_hand, send_file
from vfgateway.protocols.webdav import browsing, digests
from vfgateway.protocols.webdav.exchange import Exchange
from vfgateway.services.session import FolderSession

#: A page that somebody uploaded must not act in the name of whoever looks at it.
SANDBOX: Final = b"sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"

_GUARDS: Final = ((b"Cache-Control", b"private, no-cache"), (b"Content-Security-Policy", SANDBOX))

_GUARD_LINES: Final = lines_of(_GUARDS)

_types = mimetypes.MimeTypes()


async def answer(exchange: Exchange) -> None:
    """Answer it."""
    request, place = exchange.request, exchange.place
    if place.is_top:
        await browsing.answer_vfolders(exchange)
        return
    folder = await exchange.folder()
    path = exchange.place.path
    stat = await folder.stat(path, follow=True)
    if stat.is_dir:
        await browsing.answer_collection(exchange, folder)
        return
    for field in _GUARDS:
        request.setHeader(*field)
    download = await folder.download(path)
    try:
        await digests.tell(request, download)
    except BaseException:
        await download.close()
        raise
    await send_file(request, download, content_type=content_type(path.name))


def answer_at_hand(asked: Asked, folder: FolderSession, path: FolderPath) -> Answer | None:
    """GET and HEAD of a file on the fast lane."""
    return file_at_hand(asked, folder, path, content_type=content_type(path.name), more=_GUARD_LINES)


def content_type(name: str) -> bytes:
    """What a file of that name probably holds."""
    at = name.rfind(".")
    return _type_of(name[at + 1 :].lower()) if at > 0 else b"application/octet-stream"


@lru_cache(maxsize=1024)
def _type_of(extension: str) -> bytes:
    kind, encoding = _types.guess_type(f"name.{extension}", strict=False)
    known = kind is not None and encoding is None and kind.isascii()
    return kind.encode("ascii") if known and kind else b"application/octet-stream"

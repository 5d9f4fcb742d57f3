"""``/s/<secret>``: share links, for a browser as a small page and for scripts without one.

A link to a file, or to a directory as a zip, is fetched with ``?download=1``; a drop box takes ``PUT /s/<secret>/<name>`` and the form of its
page. A password goes by the page's form or as that of Basic authentication; a cookie for this one link remembers it.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import hashlib
import html
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from twisted.cred.credentials import UsernamePassword

from vfgateway.errors import AlreadyExists, AuthenticationFailed, GatewayError, InvalidArgument, NotFound
from vfgateway.model import ABSENT, FileStat
from vfgateway.paths import FolderPath, checked_name, parse_url
from vfgateway.protocols.client import faults
from vfgateway.protocols.client.archive import Top, send_archive
from vfgateway.protocols.client.content import NOT_ALLOWED
from vfgateway.protocols.client.faults import Answered
from vfgateway.protocols.client.people.entering import is_secure, received_cookie
from vfgateway.protocols.client.query import Query
from vfgateway.protocols.web.cors import same_origin
from vfgateway.protocols.web.faults import enter_refusal, fault_of
from vfgateway.protocols.web.login import credentials_of
from vfgateway.protocols.web.reply import send_file
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.storing import store_body
from vfgateway.services.session import FolderSession
from vfgateway.services.sharelinks import OpenedLink, PasswordNeeded

if TYPE_CHECKING:
    from vfgateway.protocols.client.app import ClientApp

PREFIX: Final = b"/s/"
#: Seconds for which a browser need not ask for the password again.
UNLOCKED: Final = 3600
#: Bytes of the form with a password.
LONGEST_FORM: Final = 8192
#: How often another name is tried for a file that is in the box already.
MOST_NAMES: Final = 100

_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-%s'; "
        b"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"x-robots-tag", b"noindex"),
)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 12vh auto; padding: 0 1rem; color: #222; background: #fff }}
h1 {{ font-size: 1.25rem; overflow-wrap: anywhere }} .button, button {{ display: inline-block; padding: .5rem 1.25rem; border: 0;
border-radius: .3rem; background: #14508c; color: #fff; font: inherit; text-decoration: none; cursor: pointer }}
input {{ font: inherit; padding: .4rem; max-width: 100% }} li {{ overflow-wrap: anywhere }}
</style></head><body><main><h1>{title}</h1>{body}</main></body></html>
"""
_DROP = """<p>Send files; you will not see what others sent.</p>
<p><input type="file" id="files" multiple aria-label="Files"> <button id="send" type="button">Send</button></p><ul id="told" aria-live="polite"></ul>
<script nonce="{nonce}">
const told = document.getElementById("told");
document.getElementById("send").addEventListener("click", async () => {{
  for (const file of document.getElementById("files").files) {{
    const line = told.appendChild(document.createElement("li"));
    line.textContent = file.name + ": on its way";
    const answer = await fetch(location.pathname + "/" + encodeURIComponent(file.name), {{method: "PUT", body: file}}).catch(() => null);
    line.textContent = file.name + (answer && answer.ok ? ": sent" : ": could not be sent");
  }}
}});
</script>"""
_PASSWORD = """<form method="post"><p><label>Password <input type="password" name="password" autocomplete="current-password" required
autofocus></label> <button>Open</button></p>{told}</form>"""


class LinkPages:
    """The routes."""

    def __init__(self, app: ClientApp) -> None:
        self._app = app
        self._gateway = app.gateway

    async def answer(self, request: StreamingRequest) -> None:
        """Answer any request below ``/s/``."""
        secret, _, rest = request.path[len(PREFIX) :].partition(b"/")
        code = secret.decode("ascii", "replace")
        if request.method == b"POST" and not rest:
            await self._unlock(request, code)
            return
        unlocked = received_cookie(request, _cookie(code))
        opened = await self._gateway.share_links.open(code, _password(request), request.origin, unlocked)
        if request.method in (b"GET", b"HEAD") and not rest:
            await self._get(request, opened)
        elif request.method == b"PUT" and opened.link.kind == "upload":
            await self._put(request, opened, rest)
        else:
            request.setHeader(
                b"allow", b"GET, HEAD, POST" if opened.link.kind == "download" else b"GET, HEAD, POST, PUT"
            )
            raise Answered(NOT_ALLOWED, "not with this method")

    def fail(self, request: StreamingRequest, error: BaseException) -> None:
        """Answer an error: as a page where a browser looks, else as a problem."""
        enter_refusal(request, error)
        if isinstance(error, PasswordNeeded):
            request.setHeader(b"www-authenticate", b'Basic realm="share link", charset="UTF-8"')
        if request.startedWriting or not _wants_page(request) or not isinstance(error, GatewayError):
            faults.fail(request, error)
        elif isinstance(error, PasswordNeeded):
            request.responseHeaders.removeHeader(b"www-authenticate")  # or the browser would ask in a box of its own
            told = "<p>That is not the password.</p>" if request.method == b"POST" else ""
            self._page(request, "This link needs a password", _PASSWORD.format(told=told), 401)
        else:
            self._page(request, "This does not work", f"<p>{html.escape(str(error))}</p>", fault_of(error).status)

    # --- passwords ---

    async def _unlock(self, request: StreamingRequest, code: str) -> None:
        """The form of the page: have the browser remember, for this link alone, that the password was known, and show the page."""
        if not same_origin(request):
            raise InvalidArgument("origin", "the form of another site")
        form = parse_qs((await request.body.read_all(LONGEST_FORM)).decode("utf-8", "replace"))
        opened = await self._gateway.share_links.open(code, form.get("password", [""])[0], request.origin)
        request.addCookie(
            _cookie(code),
            opened.unlocked.encode("ascii"),
            path=request.path,
            max_age=b"%d" % UNLOCKED,
            secure=is_secure(request),
            httpOnly=True,
            sameSite=b"strict",
        )
        request.setResponseCode(303)
        request.setHeader(b"location", request.path)
        request.setHeader(b"content-length", b"0")
        request.write(b"")

    # --- downloads ---

    async def _get(self, request: StreamingRequest, opened: OpenedLink) -> None:
        query = Query(request, ("download",))
        link, folder = opened.link, opened.folder
        if link.kind == "upload":
            nonce = secrets.token_urlsafe(16)
            self._page(request, link.label or "Drop box", _DROP.format(nonce=nonce), nonce=nonce)
            return
        stat = await folder.stat(link.path, follow=True)
        name = link.path.name or link.label or folder.vfolder.display_name
        if query.optional("download") is None and _wants_page(request):
            self._download_page(request, name, link.label, stat)
            return
        if request.method == b"GET" and _is_beginning(request):
            await self._gateway.share_links.use(link)
        await self._send(request, folder, link.path, name, stat)

    async def _send(
        self, request: StreamingRequest, folder: FolderSession, path: FolderPath, name: str, stat: FileStat
    ) -> None:
        request.setHeader(b"referrer-policy", b"no-referrer")
        if stat.is_dir:
            await send_archive(request, folder, [Top(path, path)], f"{name}.zip", self._app.pool, no_store=True)
        else:
            await send_file(request, await folder.download(path), disposition_name=name, no_store=True)

    def _download_page(self, request: StreamingRequest, name: str, label: str, stat: FileStat) -> None:
        what = "a folder, as a zip file" if stat.is_dir else f"{stat.size:,} bytes"
        shown = html.escape(name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
        words = f"<p>{html.escape(label)}</p>" if label else ""
        self._page(
            request, shown, f'{words}<p>{what}</p><p><a class="button" href="?download=1">Download</a></p>', raw=True
        )

    # --- drop boxes ---

    async def _put(self, request: StreamingRequest, opened: OpenedLink, rest: bytes) -> None:
        """A file into the box. One that is there already is not touched: the new one gets a number."""
        Query(request, ())
        where = parse_url(rest)
        if len(where.parts) != 1:
            raise NotFound(where, "a drop box has no directories")
        await self._gateway.share_links.use(opened.link)
        path = await self._free_name(opened, where.name)
        await store_body(request, opened.folder, path, limit=self._app.settings.max_upload_size, expect=ABSENT)
        request.setResponseCode(201)
        request.setHeader(b"content-length", b"0")
        request.write(b"")

    async def _free_name(self, opened: OpenedLink, name: str) -> FolderPath:
        stem, dot, ending = name.rpartition(".")
        stem, ending = (stem, dot + ending) if stem else (name, "")
        for number in range(1, MOST_NAMES):
            path = opened.link.path.child(checked_name(name if number == 1 else f"{stem} ({number}){ending}"))
            try:
                await opened.folder.stat(path)
            except NotFound:
                return path
        raise AlreadyExists(name)

    # --- pages ---

    def _page(
        self, request: StreamingRequest, title: str, body: str, status: int = 200, nonce: str = "", raw: bool = False
    ) -> None:
        data = _PAGE.format(title=title if raw else html.escape(title), body=body).encode("utf-8")
        request.setResponseCode(status)
        for name, value in _HEADERS:
            request.setHeader(name, value.replace(b"%s", (nonce or secrets.token_urlsafe(16)).encode("ascii")))
        request.setHeader(b"content-type", b"text/html; charset=utf-8")
        request.setHeader(b"content-length", b"%d" % len(data))
        request.write(b"" if request.method == b"HEAD" else data)


def _wants_page(request: StreamingRequest) -> bool:
    """Whether a person looks: browsers ask for HTML by its name."""
    return b"text/html" in (request.getHeader(b"accept") or b"")


def _is_beginning(request: StreamingRequest) -> bool:
    """Whether a request begins a download: what goes on with one counts no second time."""
    ranges = request.getHeader(b"range")
    return ranges is None or ranges.strip().startswith(b"bytes=0-")


def _password(request: StreamingRequest) -> str | None:
    """As Basic authentication says, whatever the name."""
    try:
        shown = credentials_of(request.getHeader(b"authorization") or b"")
    except AuthenticationFailed:
        return None
    return shown.password.decode("utf-8", "replace") if isinstance(shown, UsernamePassword) else None


def _cookie(code: str) -> bytes:
    """What the cookie of a link is called."""
    return b"vfgateway-link-" + hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()[:16].encode("ascii")

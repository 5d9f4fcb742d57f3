"""A collection as a page for people who arrive with a browser: readable, sortable, and without a script."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any, Final
from urllib.parse import quote_from_bytes

import attrs

from vfgateway.model import DirEntry
from vfgateway.paths import FolderPath
from vfgateway.protocols.webdav.exchange import Exchange
from vfgateway.services.session import FolderSession

#: Entries that a page shows; beyond them it says so. What is kept while sorting is twice that.
MOST: Final = 5000
BATCH: Final = 500

POLICY: Final = b"default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'"
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}th{text-align:left;border-bottom:1px solid #8888}"
    "td,th{padding:.2rem .6rem}td+td,th+th{text-align:right;white-space:nowrap}a{text-decoration:none}"
    "tr:hover td{background:#8881}:root{color-scheme:light dark}"
)


@attrs.frozen
class Row:
    """One line of the page; ``size`` is ``None`` for a collection."""

    name: str
    is_dir: bool
    size: int | None
    modified: float


_KEYS: Final[dict[str, Callable[[Row], Any]]] = {
    "name": lambda row: (not row.is_dir, row.name.casefold(), row.name),
    "size": lambda row: (not row.is_dir, row.size or 0, row.name),
    "modified": lambda row: (row.modified, row.name),
}


async def answer_vfolders(exchange: Exchange) -> None:
    """The list of vfolders."""
    rows = [Row(seen.name, True, None, seen.vfolder.created) for seen in await exchange.session.vfolders()]
    _answer(exchange, "Folders", rows, False)


async def answer_collection(exchange: Exchange, folder: FolderSession) -> None:
    """A directory of a vfolder."""
    key, backwards = _order(exchange)
    rows: list[Row] = []
    more = False
    listing = await folder.list(exchange.place.path)
    try:
        while entries := await listing.read(BATCH):
            rows.extend(map(_row, entries))
            if len(rows) > 2 * MOST:
                rows = sorted(rows, key=key, reverse=backwards)[:MOST]
                more = True
    finally:
        await listing.close()
    _answer(exchange, "/".join(exchange.place.whole.parts), rows, more or len(rows) > MOST)


def _row(entry: DirEntry) -> Row:
    stat = entry.stat
    return Row(entry.name, stat.is_dir, stat.size if stat.is_file else None, stat.mtime_ns / 1e9)


def _order(exchange: Exchange) -> tuple[Callable[[Row], Any], bool]:
    return _KEYS[_asked(exchange, b"sort", "name", _KEYS)], _asked(exchange, b"order", "up", ("up", "down")) == "down"


def _asked(exchange: Exchange, name: bytes, usual: str, known: Iterable[str]) -> str:
    value = ((exchange.request.args or {}).get(name) or [b""])[0].decode("latin-1")
    return value if value in known else usual


def _answer(exchange: Exchange, title: str, rows: Sequence[Row], more: bool) -> None:
    request = exchange.request
    key, backwards = _order(exchange)
    shown = sorted(rows, key=key, reverse=backwards)[:MOST]
    lines = [
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{_text(title)}</title><style>{_STYLE}</style>',
        f'<meta name="viewport" content="width=device-width"><h1>{_text(title)}</h1><table><tr>{_heads(exchange)}</tr>',
    ]
    if not exchange.place.is_top:
        above = FolderPath(exchange.place.whole.parts[:-1])
        lines.append(f'<tr><td><a href="{_link(above, True)}">../</a></td><td></td><td></td></tr>')
    lines += [_line(exchange.place.whole, row) for row in shown]
    lines.append("</table>")
    if more:
        lines.append(f"<p>These are the first {MOST} entries in this order; there are more.</p>")
    body = "\n".join(lines).encode("utf-8", "replace")
    request.setHeader(b"content-type", b"text/html; charset=utf-8")
    request.setHeader(b"content-security-policy", POLICY)
    request.setHeader(b"x-content-type-options", b"nosniff")
    request.setHeader(b"cache-control", b"private, no-cache")
    request.setHeader(b"content-length", b"%d" % len(body))
    request.write(b"" if request.method == b"HEAD" else body)


def _heads(exchange: Exchange) -> str:
    sort, order = _asked(exchange, b"sort", "name", _KEYS), _asked(exchange, b"order", "up", ("up", "down"))
    heads = []
    for name in _KEYS:
        turned = "down" if name == sort and order == "up" else "up"
        mark = {"up": " ▲", "down": " ▼"}[order] if name == sort else ""
        heads.append(f'<th><a href="?sort={name}&amp;order={turned}">{name.capitalize()}{mark}</a></th>')
    return "".join(heads)


def _line(above: FolderPath, row: Row) -> str:
    link = _link(FolderPath((*above.parts, row.name)), row.is_dir)
    size = "" if row.size is None else _size(row.size)
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(max(row.modified, 0)))
    return f'<tr><td><a href="{link}">{_text(row.name)}{"/" if row.is_dir else ""}</a></td><td>{size}</td><td>{when}</td></tr>'


def _link(whole: FolderPath, is_dir: bool) -> str:
    escaped = quote_from_bytes(bytes(whole), safe="/~")
    return "/" + escaped + ("/" if is_dir and escaped else "")


def _text(name: str) -> str:
    return escape(name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def _size(size: int) -> str:
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"

"""Entries of a directory as READDIR answers with them: name, a line as ``ls -l`` writes it, which is what version 3 shows people, and
attributes. And the names of owners."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final, cast

from vfgateway.model import DirEntry
from vfgateway.posix import type_file
from vfgateway.protocols.sftp import wire
from vfgateway.services.accounts import Accounts

#: Seconds for which names of owners are used again.
FRESH = 30.0
#: Seconds after which ``ls`` shows the year and not the time: half a year.
_RECENT = 15_778_476
#: Bytes of entries that are kept together.
PORTION: Final = 32 << 10
_LETTERS = {stat.S_IFREG: "-", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFIFO: "p"}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_U32_MAX = (1 << 32) - 1
_ATTRS = wire.ATTRIBUTES.pack
#: Of a mode: type and permissions.
_SHOWN = 0o170777
#: Dates that are kept for the next entry of the same minute.
_MOST_DATES = 4096

#: How many entries, and their bytes as they are sent.
type_portion = tuple[int, bytes]
#: A name, and the numbers of ``os.stat_result``.
type_found = tuple[str, Sequence[int]]


def _mode(mode: int) -> str:
    return _LETTERS.get(mode & 0o170000, "p") + stat.filemode(mode & 0o777)[1:]


class Encoder:
    """Puts entries into the form in which they are sent, in whatever thread.

    :param owners: names of users; who has none is shown as a number, as all groups are
    :param now: epoch seconds
    """

    def __init__(self, owners: Mapping[int, str], now: float) -> None:
        self._owners = owners
        self._soonest, self._latest = int(now) - _RECENT, int(now) + 86400
        self._heads: dict[tuple[int, int, int, int], bytes] = {}
        self._dates: dict[int, bytes] = {}

    def __call__(self, files: Sequence[type_file], others: Sequence[DirEntry]) -> Sequence[type_portion]:
        """As ``IPosixListing`` calls it."""
        portions: list[type_portion] = []
        parts: list[bytes] = []
        size = count = 0
        heads, dates = self._heads, self._dates
        # Ten whole numbers are what one is made of, whatever its type says.
        for text, found in cast("Iterable[type_found]", chain(files, map(_as_found, others))):
            mode, _, _, nlink, uid, gid, length, accessed, changed, _ = found
            name = text.encode("utf-8", "surrogateescape")
            head = heads.get((mode, nlink, uid, gid)) or self._head(mode, nlink, uid, gid)
            date = dates.get(changed // 60) or self._date(changed)
            line = b"%b%8d %b %b" % (head, length, date, name)
            if not (0 <= accessed <= _U32_MAX and 0 <= changed <= _U32_MAX):
                accessed, changed = (min(max(seconds, 0), _U32_MAX) for seconds in (accessed, changed))
            attributes = _ATTRS(wire.A_ALL, length, uid, gid, mode & _SHOWN, accessed, changed)
            parts += (len(name).to_bytes(4, "big"), name, len(line).to_bytes(4, "big"), line, attributes)
            size += len(name) + len(line) + 40
            count += 1
            if size >= PORTION:
                portions.append((count, b"".join(parts)))
                parts, size, count = [], 0, 0
        if count:
            portions.append((count, b"".join(parts)))
        return portions

    def _head(self, mode: int, nlink: int, uid: int, gid: int) -> bytes:
        """The line up to the size, and nearly the same for all entries of a directory."""
        owner = self._owners.get(uid) or str(uid)
        words = f"{_mode(mode)} {nlink:4} {owner:8} {gid!s:8} "
        made = self._heads[mode, nlink, uid, gid] = words.encode("utf-8", "surrogateescape")
        return made

    def _date(self, changed: int) -> bytes:
        """In UTC: the server's time zone is nobody's here."""
        minute = changed // 60
        moment = time.gmtime(minute * 60)
        recent = self._soonest < changed < self._latest
        tail = f" {moment.tm_hour:02}:{moment.tm_min:02}" if recent else f"  {moment.tm_year}"
        made = f"{_MONTHS[moment.tm_mon - 1]} {moment.tm_mday:2}{tail}".encode("ascii")
        if len(self._dates) < _MOST_DATES:
            self._dates[minute] = made
        return made


def _as_found(entry: DirEntry) -> type_found:
    """What is told in our words, in those of the kernel."""
    name, facts = entry
    accessed, changed = (facts.atime_ns or facts.mtime_ns) // 10**9, facts.mtime_ns // 10**9
    uid, gid = facts.uid & _U32_MAX, facts.gid & _U32_MAX
    return name, (
        wire.TYPE_BITS[facts.type] | facts.mode,
        0,
        0,
        facts.nlink,
        uid,
        gid,
        facts.size,
        accessed,
        changed,
        0,
    )


class Owners:
    """Names of users by their numbers on the storage, as accounts know them."""

    def __init__(self, accounts: Accounts, clock: object) -> None:
        self._accounts = accounts
        self._clock = clock
        self._known: dict[int, str] = {}
        self._until = 0.0

    async def names(self) -> Mapping[int, str]:
        """All of them."""
        now: float = self._clock.seconds()  # type: ignore[attr-defined]
        if now >= self._until:
            self._until = now + FRESH
            users = await self._accounts.users()
            self._known = {user.actor.uid: user.name for user in users if user.actor.uid is not None}
        return self._known

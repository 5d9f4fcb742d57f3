"""Entries of a directory as READDIR answers with them: name, a line as ``ls -l`` writes it, which is what version 3 shows people, and
attributes. And the names of owners."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from vfgateway.model import DirEntry, FileType
from vfgateway.protocols.sftp import wire
from vfgateway.services.accounts import Accounts

#: Seconds for which names of owners are used again.
FRESH = 30.0
#: Seconds after which ``ls`` shows the year and not the time: half a year.
_RECENT = 15_778_476
#: Bytes of entries that are kept together.
PORTION: Final = 32 << 10
_LETTERS = {FileType.FILE: "-", FileType.DIRECTORY: "d", FileType.SYMLINK: "l", FileType.OTHER: "p"}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LENGTH = struct.Struct(">I").pack

#: How many entries, and their bytes as they are sent.
type_portion = tuple[int, bytes]


def _mode(kind: FileType, mode: int) -> str:
    bits = "".join(
        letter if mode & (1 << place) else "-" for place, letter in zip(range(8, -1, -1), "rwxrwxrwx", strict=True)
    )
    return _LETTERS[kind] + bits


@lru_cache(4096)
def _date(minute: int, recent: bool) -> bytes:
    """In UTC: the server's time zone is nobody's here."""
    moment = time.gmtime(minute * 60)
    head = f"{_MONTHS[moment.tm_mon - 1]} {moment.tm_mday:2}"
    date = f"{head} {moment.tm_hour:02}:{moment.tm_min:02}" if recent else f"{head}  {moment.tm_year}"
    return date.encode("ascii")


def encoder(owners: Mapping[int, str], now: float) -> Callable[[Sequence[DirEntry]], Sequence[type_portion]]:
    """What puts entries into the form in which they are sent, in whatever thread.

    :param owners: names of users; who has none is shown as a number, as all groups are
    :param now: epoch seconds
    """
    soonest, latest = int(now) - _RECENT, int(now) + 86400
    heads: dict[tuple[FileType, int, int, int, int], bytes] = {}

    def head(key: tuple[FileType, int, int, int, int]) -> bytes:
        """The line up to the size, and nearly the same for all entries of a directory."""
        kind, mode, nlink, uid, gid = key
        owner = owners.get(uid) or str(uid)
        made = heads[key] = f"{_mode(kind, mode)} {nlink:4} {owner:8} {gid!s:8} ".encode("utf-8", "surrogateescape")
        return made

    def encode(entries: Sequence[DirEntry]) -> Sequence[type_portion]:
        portions: list[type_portion] = []
        parts: list[bytes] = []
        size = count = 0
        for text, stat in entries:
            kind, length, mode, uid, gid, mtime_ns, _, _, _, nlink, _ = stat
            changed = mtime_ns // 1_000_000_000
            key = (kind, mode, nlink, uid, gid)
            name = text.encode("utf-8", "surrogateescape")
            date = _date(changed // 60, soonest < changed < latest)
            line = b"%b%8d %b %b" % (heads.get(key) or head(key), length, date, name)
            attributes = wire.attributes(stat)
            parts += (_LENGTH(len(name)), name, _LENGTH(len(line)), line, attributes)
            size += len(name) + len(line) + 40
            count += 1
            if size >= PORTION:
                portions.append((count, b"".join(parts)))
                parts, size, count = [], 0, 0
        if count:
            portions.append((count, b"".join(parts)))
        return portions

    return encode


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

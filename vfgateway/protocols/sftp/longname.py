"""Entries as ``ls -l`` writes them, which is what version 3 shows people, and the names of owners."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache

from vfgateway.model import FileStat, FileType
from vfgateway.services.accounts import Accounts

#: Seconds for which names of owners are used again.
FRESH = 30.0
#: Seconds after which ``ls`` shows the year and not the time: half a year.
_RECENT = 15_778_476
_LETTERS = {FileType.FILE: "-", FileType.DIRECTORY: "d", FileType.SYMLINK: "l", FileType.OTHER: "p"}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(2048)
def _mode(kind: FileType, mode: int) -> str:
    bits = "".join(
        letter if mode & (1 << place) else "-" for place, letter in zip(range(8, -1, -1), "rwxrwxrwx", strict=True)
    )
    return _LETTERS[kind] + bits


@lru_cache(4096)
def _date(minute: int, recent: bool) -> str:
    """In UTC: the server's time zone is nobody's here."""
    moment = time.gmtime(minute * 60)
    head = f"{_MONTHS[moment.tm_mon - 1]} {moment.tm_mday:2}"
    return f"{head} {moment.tm_hour:02}:{moment.tm_min:02}" if recent else f"{head}  {moment.tm_year}"


def longname(name: bytes, stat: FileStat, owners: Mapping[int, str], now: float) -> bytes:
    """One line, as sftp(1) prints it for ``ls -l``."""
    changed = stat.mtime_ns // 10**9
    date = _date(changed // 60, -86400 < now - changed < _RECENT)
    owner, group = owners.get(stat.uid) or str(stat.uid), str(stat.gid)
    head = f"{_mode(stat.type, stat.mode)} {stat.nlink:4} {owner:8} {group:8} {stat.size:8} {date} "
    return head.encode("utf-8", "surrogateescape") + name


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

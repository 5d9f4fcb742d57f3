"""Adds up a tree in a thread, in slices: without an object for each entry, since a scan of a large site does nothing else. A large tree is
counted by a process beside us, if there is a program for it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from vfgateway.backends.vfs.counter import Counter
from vfgateway.backends.vfs.facts import name_of
from vfgateway.backends.vfs.resolve import Resolver
from vfgateway.errors import GatewayError
from vfgateway.model import NameRules, Usage
from vfgateway.paths import FolderPath
from vfgateway.treeusage import LOOSE, TreeUsage

#: Seconds after which a slice ends, so that a walk can be slowed down or cancelled, and others get the thread.
SLICE = 0.05
#: Entries between two looks at the clock.
BATCH = 500
#: Entries after which a process of its own begins anew.
LARGE = 5000
#: Directories that are held open, one in the other: to open what lies in one takes a tenth of the time that the whole way takes.
DEEP = 32

_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TYPE, _FILE, _DIRECTORY = 0o170000, stat.S_IFREG, stat.S_IFDIR


class _Directory:
    """The one that is listed, or one on the way to it.

    :ivar path: names from the top, as ``os`` has them
    :ivar share: of which directory at the top it is part
    :ivar number: it is open, or -1
    :ivar names: of the directories in it that are still to be visited
    """

    __slots__ = ("names", "number", "path", "share")

    def __init__(self, path: tuple[str, ...], share: bytes, number: int) -> None:
        self.path = path
        self.share = share
        self.number = number
        self.names: list[str] = []

    def close(self) -> None:
        number, self.number = self.number, -1
        if number >= 0:
            os.close(number)


class Measuring:
    """A sum under way. Each inode counts once; every name counts as one entry. What vanishes or cannot be listed is passed over.

    :param hide: a name in the top directory that does not count
    :param names: of the volume, some of which do not count anywhere
    """

    def __init__(self, resolver: Resolver, hide: str | None, names: NameRules = NameRules()) -> None:  # noqa: B008
        self._resolver = resolver
        self._hide = hide
        self._names = names
        self._way: list[_Directory] = []
        self._listing: Any = None
        self._counter: Counter | None = None
        self._alone = False
        self._begin()

    def _begin(self) -> None:
        self._begun = False
        self._shared: set[tuple[int, int]] = set()
        self._sum = TreeUsage()
        self._share, self._bytes, self._files = LOOSE, 0, 0  # what was counted last, and is not in the sum yet

    @property
    def usage(self) -> TreeUsage:
        """What has been counted."""
        if self._counter is not None:
            return self._counter.usage
        self._add_up(self._share)
        return self._sum

    def _add_up(self, share: bytes) -> None:
        """What comes next is part of ``share``."""
        if self._files:
            self._sum.add(self._share, Usage(self._bytes, self._files))
        self._share, self._bytes, self._files = share, 0, 0

    def go_on(self, top: int) -> bool:
        """Count for :data:`SLICE` seconds; whether there is more.

        :param top: a descriptor of the top directory
        """
        if self._counter is not None:
            return self._go_on_beside(self._counter)
        now = time.monotonic
        until = now() + SLICE
        while self._listing is not None or self._open_next(top):
            if not self._count():
                self._leave()
            if not self._alone and self.usage.total.files >= LARGE:
                self._alone = True  # it is tried once
                self._counter = Counter.start(top, self._hide, self._names.hidden)
                return True
            if now() >= until:
                return True
        return False

    def _go_on_beside(self, counter: Counter) -> bool:
        if counter.go_on(SLICE):
            return True
        if counter.failed:
            self.close()
            self._counter = None
            self._begin()
            return True
        return False

    def _open_next(self, top: int) -> bool:
        """Whether there is another directory to be listed. It is opened from the one that it lies in, as long as that is open."""
        while self._way or not self._begun:
            path: tuple[str, ...] = ()
            number = -1
            if self._begun:
                above = self._way[-1]
                if not above.names:
                    self._way.pop().close()
                    continue
                path, number = (*above.path, above.names.pop()), above.number
            self._begun = True
            try:
                if number >= 0:
                    number = os.open(path[-1], _LISTED | os.O_NOFOLLOW, dir_fd=number)
                else:
                    names = FolderPath(tuple([name_of(os.fsencode(name)) for name in path]))
                    number = self._resolver.open(top, names, _LISTED, links=False)
            except (OSError, GatewayError):  # it has vanished, is something else now, or is nobody's business
                continue
            share = LOOSE if not path else above.share or os.fsencode(path[0])
            self._way.append(_Directory(path, share, number))
            if share != self._share:
                self._add_up(share)
            try:
                self._listing = os.scandir(number)
            except OSError:
                self._way.pop().close()
                continue
            return True
        return False

    def _count(self) -> bool:
        """Count some entries; whether there may be more."""
        here = self._way[-1]
        entries: Iterator[os.DirEntry[str]] = self._listing
        if self._names.hidden:
            entries = (entry for entry in entries if not self._names.hides(entry.name))
        some = list(islice(entries, BATCH))
        below: list[str] = []
        size = gone = 0
        for entry in some:
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                gone += 1
                continue
            kind = found.st_mode & _TYPE
            if kind == _FILE:
                if found.st_nlink == 1 or self._is_new(found):
                    size += found.st_size
            elif kind == _DIRECTORY:
                below.append(entry.name)
        if below and not here.path:
            gone += len(below)  # each is counted for itself
            below = self._shares(below)
        here.names += below
        self._bytes += size
        self._files += len(some) - gone
        return len(some) == BATCH

    def _is_new(self, found: os.stat_result) -> bool:
        """Whether a file with several names is met for the first time."""
        known = len(self._shared)
        self._shared.add((found.st_dev, found.st_ino))
        return len(self._shared) > known

    def _shares(self, names: list[str]) -> list[str]:
        """Of directories at the top those that count."""
        names = [name for name in names if name != self._hide]
        for name in names:
            self._sum.add(os.fsencode(name), Usage(0, 1))
        return names

    def close(self) -> None:
        """Let go of everything; what has been counted stays."""
        self._leave()
        while self._way:
            self._way.pop().close()
        if self._counter is not None:
            self._counter.close()

    def _leave(self) -> None:
        """The last one has been listed."""
        listing, self._listing = self._listing, None
        if listing is not None:
            listing.close()
            here = self._way[-1]
            if not here.names:
                self._way.pop().close()
            elif len(self._way) > DEEP:
                here.close()

"""Adds up a tree in a thread, in slices: without an object for each entry, since a scan of a large site does nothing else. A large tree is
counted by a process beside us, if there is a program for it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from vfgateway.backends.vfs.counter import Counter
from vfgateway.backends.vfs.facts import name_of
from vfgateway.backends.vfs.resolve import Resolver
from vfgateway.errors import GatewayError
from vfgateway.model import NameRules, Usage
from vfgateway.paths import ROOT, FolderPath
from vfgateway.treeusage import LOOSE, TreeUsage

#: Seconds after which a slice ends, so that a walk can be slowed down or cancelled, and others get the thread.
SLICE = 0.05
#: Entries between two looks at the clock.
BATCH = 500
#: Entries after which a process of its own begins anew.
LARGE = 5000

_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TYPE, _FILE, _DIRECTORY = 0o170000, stat.S_IFREG, stat.S_IFDIR


class Measuring:
    """A sum under way. Each inode counts once; every name counts as one entry. What vanishes or cannot be listed is passed over.

    :param hide: a name in the top directory that does not count
    :param names: of the volume, some of which do not count anywhere
    """

    def __init__(self, resolver: Resolver, hide: str | None, names: NameRules = NameRules()) -> None:  # noqa: B008
        self._resolver = resolver
        self._hide = hide
        self._names = names
        self._entries: Iterator[os.DirEntry[str]] | None = None
        self._number = -1
        self._counter: Counter | None = None
        self._alone = False
        self._begin()

    def _begin(self) -> None:
        self._pending = [ROOT]
        self._at = ROOT
        self._shared: set[tuple[int, int]] = set()
        self._sum = TreeUsage()

    @property
    def usage(self) -> TreeUsage:
        """What has been counted."""
        return self._sum if self._counter is None else self._counter.usage

    def go_on(self, top: int) -> bool:
        """Count for :data:`SLICE` seconds; whether there is more.

        :param top: a descriptor of the top directory
        """
        if self._counter is not None:
            return self._go_on_beside(self._counter)
        until = time.monotonic() + SLICE
        while self._entries is not None or self._open_next(top):
            assert self._entries is not None
            if not self._count(list(islice(self._entries, BATCH))):
                self._leave()
            if self._sum.total.files >= LARGE and not self._alone:
                self._alone = True  # it is tried once
                self._counter = Counter.start(top, self._hide, self._names.hidden)
                return True
            if time.monotonic() >= until:
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
        while self._pending:
            self._at = self._pending.pop()
            try:
                self._number = self._resolver.open(top, self._at, _LISTED, links=False)
                self._entries = os.scandir(self._number)
                return True
            except (OSError, GatewayError):  # it has vanished, is something else now, or is nobody's business
                self._leave()
        return False

    def _count(self, entries: list[os.DirEntry[str]]) -> bool:
        size, gone = 0, 0
        at_top = not self._at.parts
        names = self._names if self._names.hidden else None
        for entry in entries:
            if names is not None and names.hides(entry.name):
                gone += 1
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                gone += 1
                continue
            kind = found.st_mode & _TYPE
            if kind == _FILE:
                if found.st_nlink > 1:
                    if (found.st_dev, found.st_ino) in self._shared:
                        continue
                    self._shared.add((found.st_dev, found.st_ino))
                size += found.st_size
            elif kind == _DIRECTORY:
                if at_top:
                    gone += 1
                    if entry.name == self._hide:
                        continue
                    self._sum.add(os.fsencode(entry.name), Usage(0, 1))
                self._descend(entry.name)
        folder = LOOSE if at_top else self._at.parts[0].encode("utf-8", "surrogateescape")
        if size or len(entries) > gone:
            self._sum.add(folder, Usage(size, len(entries) - gone))
        return bool(entries)

    def _descend(self, name: str) -> None:
        with suppress(GatewayError):  # deeper than any path of ours can name
            self._pending.append(FolderPath((*self._at.parts, name_of(os.fsencode(name)))))

    def close(self) -> None:
        """Let go of everything; what has been counted stays."""
        self._leave()
        if self._counter is not None:
            self._counter.close()

    def _leave(self) -> None:
        entries, self._entries = self._entries, None
        if entries is not None:
            entries.close()  # type: ignore[attr-defined]
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)

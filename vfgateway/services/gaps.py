"""Writes for which there was no room, on files that are changed in place.

Clients send ahead of the answers. OpenSSH's ``sftp`` stops when a write was refused, but takes the next answer for the state of things: if what it had
sent ahead is stored after all, since room came or since the last piece was smaller, it ends with success over a file with a hole. So what lies behind a
gap is refused like the gap itself, until the same handle writes there or cuts the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vfgateway.errors import NoSpace, QuotaExceeded


class Gap:
    """The first place of one open file that could not be written, if there is any."""

    def __init__(self) -> None:
        self._at = 0
        self._error: Exception | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is any."""
        return self._error is not None

    def check(self, offset: int) -> None:
        """Raise what was raised at the gap, if ``offset`` lies behind it."""
        if self._error is not None and offset > self._at:
            raise self._error

    @contextmanager
    def writing(self, offset: int) -> Iterator[None]:
        """Around a write: if there is no room for it there is a gap, if it succeeds there, it is one no more."""
        self.check(offset)
        try:
            yield
        except (QuotaExceeded, NoSpace) as error:
            self.begin(offset, error)
            raise
        if offset == self._at:
            self._error = None

    def begin(self, offset: int, error: BaseException) -> None:
        """A write at ``offset`` has failed; if there was no room for it, there is a gap."""
        if isinstance(error, QuotaExceeded | NoSpace) and (self._error is None or offset < self._at):
            self._at, self._error = offset, error

    def cut(self, size: int) -> None:
        """The file ends at ``size`` now: no gap of anybody's is left in it."""
        if size <= self._at:
            self._error = None

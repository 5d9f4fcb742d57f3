"""Writes that failed, on files that are changed in place.

Clients send ahead of the answers. OpenSSH's ``sftp`` stops when a write was refused, but takes the next answer for the state of things: if what it had
sent ahead is stored after all, since room came, a lock ended or the database answers again, it ends with success over a file with a hole. So what lies
behind a gap is refused like the gap itself, until the same handle writes there or cuts the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Gap:
    """The first place of one open file that could not be written, if there is any."""

    _at = 0
    _error: Exception | None = None

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
        """Around a write: if it fails there is a gap, if it succeeds there, it is one no more."""
        self.check(offset)
        try:
            yield
        except Exception as error:
            self.begin(offset, error)
            raise
        if offset == self._at:
            self._error = None

    def begin(self, offset: int, error: Exception) -> None:
        """A write at ``offset`` has failed."""
        if self._error is None or offset < self._at:
            self._at, self._error = offset, error

    def cut(self, size: int) -> None:
        """The file ends at ``size`` now: no gap of anybody's is left in it."""
        if size <= self._at:
            self._error = None

"""Arithmetic of headroom: what a process has leased of a limit, and what of that is spoken for. Pure; no I/O.

A limit is kept as ``usage + all holds <= limit``, where usage and holds are in the database. A process's hold is its slab, from which
it gives room to reservations without asking again:

- ``leased``: what the database says the slab is,
- ``held``: what open reservations have of it,
- ``spent``: what settled reservations used of it, but the database does not know yet,
- ``enough``: while that is free, nothing is leased ahead; ``is_low`` tells whether it was when something was last taken.

Once the spent part is written, it moves from the slab to the usage, and their sum stays the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from vfgateway.model import Limits, Usage

#: The most that a slab takes beyond what is needed now.
LARGEST = Usage(256 << 20, 8000)
#: The part of what is free that a slab takes at most beyond what is needed now: one in so many.
FRACTION = 16


def at_least_zero(amount: Usage) -> Usage:
    """``amount`` without its negative parts."""
    return Usage(max(amount.bytes, 0), max(amount.files, 0))


def smaller(a: Usage, b: Usage) -> Usage:
    """The smaller of each resource."""
    return Usage(min(a.bytes, b.bytes), min(a.files, b.files))


def larger(a: Usage, b: Usage) -> Usage:
    """The larger of each resource."""
    return Usage(max(a.bytes, b.bytes), max(a.files, b.files))


def total(amounts: Iterable[Usage]) -> Usage:
    """The sum."""
    return sum(amounts, Usage())


def limited_part(amount: Usage, limits: Limits) -> Usage:
    """``amount`` without the resources that are not limited."""
    return Usage(0 if limits.bytes is None else amount.bytes, 0 if limits.files is None else amount.files)


def is_limited(limits: Limits) -> bool:
    """Whether there is any limit."""
    return limits.bytes is not None or limits.files is not None


def headroom(limits: Limits, taken: Usage) -> Usage:
    """What is left; may be negative. Unlimited resources are left out (0)."""
    return limited_part(Usage((limits.bytes or 0) - taken.bytes, (limits.files or 0) - taken.files), limits)


def shortage(need: Usage, left: Usage) -> str | None:
    """The first resource of which more is needed than is left; needing nothing never falls short."""
    if need.bytes > 0 and need.bytes > left.bytes:
        return "bytes"
    if need.files > 0 and need.files > left.files:
        return "files"
    return None


def surplus(need: Usage, left: Usage) -> Usage:
    """How much to lease beyond ``need``, for those that come next: nothing of a resource that is not needed now."""
    rest = at_least_zero(left - need)
    more = smaller(LARGEST, Usage(rest.bytes // FRACTION, rest.files // FRACTION))
    return Usage(more.bytes if need.bytes > 0 else 0, more.files if need.files > 0 else 0)


@attrs.define
class Slab:
    """What this process has of one subject's limit. What is asked for each small file counts in plain numbers: to make a ``Usage`` takes as long as
    all else there.

    :ivar stirred: whether anything was taken since that was last looked at
    """

    leased: Usage = Usage()
    enough: Usage = Usage()
    is_low: bool = False
    stirred: bool = False
    _held_bytes: int = 0
    _held_files: int = 0
    _spent_bytes: int = 0
    _spent_files: int = 0

    @property
    def held(self) -> Usage:
        """What open reservations have of it."""
        return Usage(self._held_bytes, self._held_files)

    @property
    def free(self) -> Usage:
        """What can be given to reservations without asking the database."""
        return self.leased - self.held - Usage(self._spent_bytes, self._spent_files)

    @property
    def is_empty(self) -> bool:
        return self.leased == self.held == Usage(self._spent_bytes, self._spent_files) == Usage()

    def grow(self, amount: Usage, surplus: Usage) -> None:
        """Lease ``amount`` more, of which ``surplus`` is for those that come next: when half of it is used, it is time to lease again."""
        self.leased += amount
        self.enough = Usage(surplus.bytes // 2, surplus.files // 2)

    def take(self, wanted: Usage) -> bool:
        """Hold ``wanted``, if that is free."""
        leased, enough = self.leased, self.enough
        size, files = wanted.bytes, wanted.files
        left_bytes = leased.bytes - self._held_bytes - self._spent_bytes - size
        left_files = leased.files - self._held_files - self._spent_files - files
        if (left_bytes < 0 < size) or (left_files < 0 < files):
            return False
        self._held_bytes += size
        self._held_files += files
        self.is_low = (left_bytes < enough.bytes and size > 0) or (left_files < enough.files and files > 0)
        self.stirred = True
        return True

    def settle(self, covered: Usage, change: Usage) -> Usage:
        """End what was held for a ``change``: the part of it that was used up, which is spent."""
        self._held_bytes -= covered.bytes
        self._held_files -= covered.files
        whole = 0 <= covered.bytes <= change.bytes and 0 <= covered.files <= change.files
        used = covered if whole else used_of(covered, change)
        self._spent_bytes += used.bytes
        self._spent_files += used.files
        return used

    def enter(self, spent: Usage) -> None:
        """The database knows now what was spent: it is no part of the slab any more."""
        self.leased -= spent
        self._spent_bytes -= spent.bytes
        self._spent_files -= spent.files

    def missing(self, wanted: Usage) -> Usage:
        """What has to be leased so that ``wanted`` can be held."""
        return at_least_zero(Usage(*(w - f if w > 0 else 0 for w, f in _pairs(wanted, self.free))))


def _pairs(a: Usage, b: Usage) -> Iterable[tuple[int, int]]:
    return ((a.bytes, b.bytes), (a.files, b.files))


def used_of(covered: Usage, change: Usage) -> Usage:
    """The part of ``covered`` that a true ``change`` uses up. What it frees goes back to everybody, not to the slab."""
    return at_least_zero(smaller(covered, change))

"""Room that was promised to one change before its bytes were accepted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sqlalchemy import Connection

from vfgateway.errors import QuotaExceeded
from vfgateway.model import Usage, VFolder
from vfgateway.services import slabs
from vfgateway.services.subjects import vfolder_subject
from vfgateway.treeusage import LOOSE

if TYPE_CHECKING:
    from vfgateway.services.quota import Quota

type_also = Sequence[Callable[[Connection], None]]

#: The first and the largest step in which room is reserved where the size is not known, in bytes.
FIRST_STEP, LARGEST_STEP = 1 << 20, 64 << 20


class Reservation:
    """Room held by this process; it ends with the process. Made by ``Quota.reserve``.

    Ended by exactly one of :meth:`settle` and :meth:`release`, whichever comes first; later calls do nothing. As a context manager it
    releases what was not settled, also when the caller is cancelled.

    :ivar held: the room asked for so far
    """

    def __init__(self, quota: Quota, vfolder: VFolder) -> None:
        self._quota = quota
        self._vfolder = vfolder
        self._covered: dict[str, Usage] = {}
        self._ended = False
        self._step = FIRST_STEP
        self.held = Usage()
        quota.opened(vfolder.key)

    async def ensure(self, total: Usage) -> None:
        """Grow to at least ``total``; never shrinks. Also makes sure that what is held is covered by limits that were set since.
        Raises ``QuotaExceeded``, and holds what it held before."""
        if self._ended:
            raise RuntimeError("the reservation has ended")
        wanted = slabs.larger(self.held, total)
        while True:
            needs = {
                subject.key: slabs.limited_part(wanted, subject.limits) - self._covered.get(subject.key, Usage())
                for subject in await self._quota.subjects(self._vfolder)
                if subject.is_limited
            }
            needs = {
                key: slabs.at_least_zero(need) for key, need in needs.items() if slabs.at_least_zero(need) != Usage()
            }
            if self._ended:
                raise RuntimeError("the reservation has ended")
            if self._quota.headroom.take(self._vfolder, needs):
                break
            await self._quota.headroom.lease(self._vfolder, needs)
        self._cover(needs)
        self.held = wanted

    async def stretch(self, needed: int) -> None:
        """Have room for ``needed`` bytes, in steps that grow, so that not every call has to ask. Raises ``QuotaExceeded`` only when
        what is needed does not fit."""
        held = self.held
        if needed <= held.bytes:
            return
        step = max(needed - held.bytes, self._step)
        self._step = min(self._step * 2, LARGEST_STEP)
        try:
            await self.ensure(Usage(held.bytes + step, held.files))
        except QuotaExceeded:
            await self.ensure(Usage(needed, held.files))

    def _cover(self, more: Mapping[str, Usage]) -> None:
        for key, amount in more.items():
            self._covered[key] = self._covered.get(key, Usage()) + amount

    async def settle(self, change: Usage, also: type_also = (), folder: bytes = LOOSE) -> None:
        """Count what has truly changed, give back the rest, and run ``also`` in the same transaction.

        :param folder: whose share it is (:mod:`vfgateway.services.folderusage`)
        """
        if self._end():
            await self._quota.settle_slabs(self._vfolder, change, self._covered, also, folder)

    async def release(self, also: type_also = ()) -> None:
        """Nothing has changed: give everything back."""
        if self._end():
            await self._quota.settle_slabs(self._vfolder, Usage(), self._covered, also, LOOSE)

    def _end(self) -> bool:
        if self._ended:
            return False
        self._ended = True
        self._quota.closed(self._vfolder.key)
        return True

    def detach(self) -> None:
        """From here on the room belongs to the upload, if it is for one: leaving the context no longer releases it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()


class UploadReservation(Reservation):
    """Room that belongs to an upload: kept in the database under the upload's identifier, until settled or released by whichever
    process has it then."""

    def __init__(self, quota: Quota, vfolder: VFolder, holder: str, present: Mapping[str, Usage]) -> None:
        super().__init__(quota, vfolder)
        self._holder = holder
        self._let_go = False
        self._covered.update(present)
        self.held = present.get(vfolder_subject(vfolder.key), Usage())

    async def ensure(self, total: Usage) -> None:
        """As in the base class; durable with the next durable write."""
        if self._ended:
            raise RuntimeError("the reservation has ended")
        wanted = slabs.larger(self.held, total)
        subjects = await self._quota.subjects(self._vfolder)
        # Held on every subject, limited or not: usage shows uploads under way, and a limit may be set later.
        needs = {s.key: slabs.at_least_zero(wanted - self._covered.get(s.key, Usage())) for s in subjects}
        if any(need != Usage() for need in needs.values()):
            await self._quota.hold(self._vfolder, self._holder, needs, self._granted)
        self.held = wanted

    def _granted(self, more: Mapping[str, Usage]) -> None:
        self._cover(more)
        if self._let_go:  # meanwhile
            self._quota.drop_hold(self._vfolder, self._holder)

    async def settle(self, change: Usage, also: type_also = (), folder: bytes = LOOSE) -> None:
        if self._end():
            self._let_go = True
            await self._quota.settle_holder(self._vfolder, change, self._holder, also, folder)

    async def release(self, also: type_also = ()) -> None:
        await self.settle(Usage(), also)

    def detach(self) -> None:
        self._end()

"""Calls for a vfolder that the storage itself limits: what it refuses for that limit is told as the limit's, not as a full disk's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from vfgateway.backends.vfs.descriptors import Calls, Descriptor
from vfgateway.backends.vfs.faults import is_full, is_limit
from vfgateway.blocking import Pool
from vfgateway.errors import GatewayError, NoSpace, QuotaExceeded

P = ParamSpec("P")
T = TypeVar("T")


class LimitedCalls(Calls):
    """The calls of a volume, on behalf of one vfolder.

    :param judge: what an error means by which the storage says that there is no room; ``None`` if it is no limit's
    """

    def __init__(self, volume: str, calls: Calls, judge: Callable[[OSError], GatewayError | None]) -> None:
        super().__init__(volume, calls.check)
        self._calls = calls
        self._judge = judge

    def check(self) -> Pool:
        return self._calls.check()

    def by_path(self, function: Callable[P, T]) -> Callable[P, T]:
        def told(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except (OSError, NoSpace) as error:
                said = error if isinstance(error, OSError) else error.__cause__
                meant = self._judge(said) if isinstance(said, OSError) and is_full(said) else None
                if meant is None:
                    raise
                raise meant from said

        return told

    on_open = by_path

    async def close(self, descriptor: Descriptor) -> None:
        await self._calls.close(descriptor)


def judged_by_room(top: Path, root: Path, error: OSError) -> QuotaExceeded | None:
    """What ``error`` means where ``statvfs`` on a vfolder tells its limit and what is left of it (project quota, CephFS).

    :param top: the volume's directory, where it tells of the whole
    """
    try:
        here, whole = os.statvfs(root), os.statvfs(top)
    except OSError:
        return None
    if here.f_files < whole.f_files and here.f_favail == 0:
        return QuotaExceeded("this vfolder on its storage", "files", here.f_files, here.f_files, 1)
    if not is_limit(error) and here.f_bavail >= whole.f_bavail:
        return None
    free = here.f_bavail * here.f_frsize
    size = here.f_blocks * here.f_frsize
    return QuotaExceeded("this vfolder on its storage", "bytes", size, size - free, free + 1)

"""Calls to storage that can lose what was opened, and that can leave calls without an answer for as long as its server is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from vfgateway.backends.vfs.descriptors import Calls
from vfgateway.backends.vfs.faults import is_stale
from vfgateway.blocking import Pool
from vfgateway.errors import StorageFailure, VolumeUnavailable

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds without a sign of life, with calls under way on all threads, from which new ones are refused rather than queued.
PATIENCE: Final = 10.0


class NfsCalls(Calls):
    """See the module. A call by path begins at the top of the volume, so what was stale is looked up anew the second time. Calls on what is
    open are made once: by its path, something else could be there now."""

    def check(self) -> Pool:
        pool = super().check()
        if pool.stalled(PATIENCE):
            raise VolumeUnavailable(self._name, "its server does not answer")
        return pool

    def by_path(self, function: Callable[P, T]) -> Callable[P, T]:
        def again(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except (OSError, StorageFailure) as error:
                said = error if isinstance(error, OSError) else error.__cause__
                if not isinstance(said, OSError) or not is_stale(said):
                    raise
            return function(*args, **kwargs)

        return again

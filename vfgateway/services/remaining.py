"""What limits leave: the free space that clients are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from vfgateway.model import Usage
from vfgateway.services.subjects import Subject


@attrs.frozen
class Remaining:
    """What the tightest limit leaves, of each resource by itself. Unlimited: limit and free are ``None`` and used is the vfolder's own.

    ``used`` counts what is stored, staged and promised; ``free`` is never negative.
    """

    limit_bytes: int | None
    used_bytes: int
    free_bytes: int | None
    limit_files: int | None
    used_files: int
    free_files: int | None

    @classmethod
    def of(cls, subjects: Sequence[Subject], used: Mapping[str, Usage]) -> Remaining:
        """What is left to a vfolder. The first of ``subjects`` is its own; ``used`` is by their keys."""
        return cls(*_tightest(subjects, used, "bytes"), *_tightest(subjects, used, "files"))


def _tightest(
    subjects: Sequence[Subject], used: Mapping[str, Usage], resource: str
) -> tuple[int | None, int, int | None]:
    """Limit, used and free of the subject that leaves least of one resource."""
    tightest: tuple[int | None, int, int | None] = (None, getattr(used[subjects[0].key], resource), None)
    for subject in subjects:
        limit: int | None = getattr(subject.limits, resource)
        if limit is not None:
            taken: int = getattr(used[subject.key], resource)
            free = max(0, limit - taken)
            if tightest[2] is None or free < tightest[2]:
                tightest = (limit, taken, free)
    return tightest

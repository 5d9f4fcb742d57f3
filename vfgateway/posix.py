"""What a POSIX file system says, in its own words: for those who ask about so much at once that :class:`vfgateway.model.FileStat` would cost
more than all else."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Final

from zope.interface import Interface

from vfgateway.model import DirEntry

#: ``FileStat.identity`` of a regular file on such storage, to be filled with its ``st_ino``, ``st_ctime_ns`` and ``st_size``.
IDENTITY: Final = "%x-%x-%x"

#: A regular file by its name.
type_file = tuple[str, os.stat_result]
type_entries = Callable[[Sequence[type_file], Sequence[DirEntry]], Any]


class IPosixListing(Interface):
    """On directories: regular files are told as the kernel does."""

    async def read_posix(limit: int, function: type_entries) -> Any:
        """As ``IMappedListing.read_mapped``. ``function`` is given the files among the entries and, apart from them, all others; those of one
        batch are not in the order in which a listing has them. The identity of a file follows from :data:`IDENTITY`."""

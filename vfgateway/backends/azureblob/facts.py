"""What the storage knows of a blob, and what a file's facts are from that.

Mode and times that were set are in the blob's metadata. ``mtime`` is written as rclone writes it, and ``hdi_isfolder`` marks a directory, an
empty blob of its name, as other tools for Azure do it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

import attrs

from vfgateway.model import Actor, Attrs, FileStat, FileType

MODE, MTIME, ATIME = "vfgateway_mode", "mtime", "vfgateway_atime"
#: Who wrote it: the token of an upload or of a move; tells our own work from others' when an answer was lost.
WRITER = "vfgateway_writer"
#: Of a blob on the move: the identity that its source had.
MOVED = "vfgateway_moved"
IS_FOLDER = "hdi_isfolder"
#: Metadata that belongs to one write, not to the file.
PASSING = frozenset({WRITER, MOVED})
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")


@attrs.frozen
class Blob:
    """One blob, or a directory that is only known from what is below it.

    :ivar etag: without quotes; empty for such a directory
    :ivar modified: epoch seconds
    """

    name: str
    etag: str = ""
    size: int = 0
    modified: float = 0.0
    metadata: Mapping[str, str] = attrs.Factory(dict)
    content_type: str = ""
    implied: bool = False

    @property
    def is_dir(self) -> bool:
        return self.implied or self.metadata.get(IS_FOLDER, "").lower() == "true"

    @property
    def identity(self) -> str:
        """As of :class:`vfgateway.model.FileStat`."""
        return self.etag

    @property
    def lasting(self) -> dict[str, str]:
        """Metadata that a copy of the file has, too."""
        return {name: value for name, value in self.metadata.items() if name not in PASSING}


@lru_cache(maxsize=4096)
def parse_date(text: str) -> float:
    """A date of HTTP as epoch seconds; 0 for what is none."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return 0.0


def time_text(nanoseconds: int) -> str:
    """Epoch nanoseconds as rclone writes them."""
    seconds, rest = divmod(nanoseconds, 10**9)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        moment, rest = datetime.fromtimestamp(0, UTC), 0
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def _nanoseconds(text: str) -> int | None:
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) * 10**9 + int((match[2] or "").ljust(9, "0"))


def mode_of(metadata: Mapping[str, str], usual: int) -> int:
    """Permission bits."""
    try:
        return int(metadata[MODE], 8) & 0o777
    except (KeyError, ValueError):
        return usual


def stat_of(blob: Blob, actor: Actor, file_mode: int, dir_mode: int) -> FileStat:
    """The facts as people see them. The owner is whoever looks: the storage knows none."""
    is_dir = blob.is_dir
    changed = round(blob.modified * 10**9)
    mtime = _nanoseconds(blob.metadata.get(MTIME, ""))
    atime = _nanoseconds(blob.metadata.get(ATIME, ""))
    mtime = changed if mtime is None else mtime
    return FileStat(
        type=FileType.DIRECTORY if is_dir else FileType.FILE,
        size=0 if is_dir else blob.size,
        mode=mode_of(blob.metadata, dir_mode if is_dir else file_mode),
        uid=actor.uid or 0,
        gid=actor.gid or 0,
        mtime_ns=mtime,
        ctime_ns=changed,
        identity=blob.etag or "implied",
        atime_ns=mtime if atime is None else atime,
    )


def with_attrs(metadata: Mapping[str, str], attrs: Attrs) -> dict[str, str]:
    """Metadata after a change of attributes."""
    changed = dict(metadata)
    if attrs.mode is not None:
        changed[MODE] = f"{attrs.mode & 0o777:04o}"
    if attrs.mtime_ns is not None:
        changed[MTIME] = time_text(attrs.mtime_ns)
    if attrs.atime_ns is not None:
        changed[ATIME] = time_text(attrs.atime_ns)
    return changed

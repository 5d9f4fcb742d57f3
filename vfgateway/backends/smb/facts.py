"""What a server tells of an entry, in the gateway's words."""

from __future__ import annotations

import os

import attrs

from vfgateway.backends.smb.wire import Entry
from vfgateway.model import FileStat, FileType


@attrs.frozen
class Shown:
    """What entries are shown with that the protocol does not know.

    :ivar file_mode: permission bits of all files
    :ivar dir_mode: of all directories
    """

    file_mode: int
    dir_mode: int
    uid: int = attrs.Factory(os.geteuid)
    gid: int = attrs.Factory(os.getegid)

    def stat(self, entry: Entry) -> FileStat:
        """``entry`` as the gateway sees it. A link to a directory is neither: nobody walks through it."""
        if not entry.is_dir:
            kind, size, mode = FileType.FILE, entry.size, self.file_mode
        else:
            kind = FileType.OTHER if entry.is_link else FileType.DIRECTORY
            size, mode = 0, self.dir_mode
        return FileStat(
            kind,
            size,
            mode,
            self.uid,
            self.gid,
            entry.modified,
            entry.changed,
            f"{entry.number:x}-{entry.changed:x}-{size:x}",
            entry.accessed,
        )

"""What lies in a tree, and how much of it in which directory at its top.

Directories at the top have figures of their own, by name; files and links there share one. Beyond :data:`MOST` directories, those that came
later share one as well, so that nothing here grows with what is counted.
"""

from __future__ import annotations

from typing import Final

import attrs

from vfgateway.model import Usage

#: Directories that have figures of their own.
MOST: Final = 1000
#: In place of a name: what lies at the top and is no directory. No name is empty.
LOOSE: Final = b""
#: In place of a name: the directories that have no figures of their own. No name has a slash.
OTHERS: Final = b"/"


@attrs.define
class TreeUsage:
    """A sum under way.

    :ivar total: of all
    :ivar folders: by the name of a directory at the top, :data:`LOOSE` or :data:`OTHERS`; a directory counts among what lies in it
    """

    total: Usage = Usage()
    folders: dict[bytes, Usage] = attrs.Factory(dict)

    def add(self, folder: bytes, usage: Usage) -> None:
        """Count something in."""
        self.total += usage
        known = self.folders.get(folder)
        if known is None and len(self.folders) >= MOST and folder not in (LOOSE, OTHERS):
            folder = OTHERS
            known = self.folders.get(folder)
        self.folders[folder] = usage if known is None else known + usage

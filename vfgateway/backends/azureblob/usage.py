"""Adding up what is in a vfolder, from the names of all its blobs in their order."""

from __future__ import annotations

from vfgateway.backends.azureblob.facts import Blob
from vfgateway.backends.azureblob.names import STAGING, file_name
from vfgateway.model import Usage
from vfgateway.treeusage import LOOSE, TreeUsage


class Counter:
    """A sum under way; :meth:`add` wants blobs as they are listed.

    :param prefix: of all of them
    """

    def __init__(self, prefix: str) -> None:
        self.usage = TreeUsage()
        self._prefix = prefix
        self._marked: set[str] = set()
        self._inside: list[str] = []

    def add(self, blob: Blob) -> None:
        """Count a blob, and the directories above it that have no marker."""
        name = blob.name[len(self._prefix) :]
        if not name or blob.name.startswith(f"{STAGING}/"):
            return
        *above, last = name.split("/")
        for depth in range(1, len(above) + 1):
            if self._inside[:depth] != above[:depth] and "/".join(above[:depth]) not in self._marked:
                self.usage.add(_key(above[0]), Usage(0, 1))
        self._inside = above
        if not last:
            return  # a marker as some others write it: counted as the directory above
        if blob.is_dir:
            self._marked = {each for each in self._marked if f"{each}/" > name} | {name}
        key = _key(above[0]) if above else _key(last) if blob.is_dir else LOOSE
        self.usage.add(key, Usage(0 if blob.is_dir else blob.size, 1))


def _key(segment: str) -> bytes:
    return (file_name(segment) or segment).encode("utf-8", "surrogateescape")

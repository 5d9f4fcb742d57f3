"""Directories of a share that were there before the gateway, as vfolders: where the directory of the vfolder would lie, a small file says where
they are.

Shares have no links that every server has and every client sees alike; a file serves as one. It is all that is known of the adoption: it gets its name in
one step, is seen by all processes, and is removed in place of the content. It is followed only to where the configuration allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import uuid4

import attrs

from vfgateway.backends.smb import wire
from vfgateway.backends.smb.faults import Lost, Refused
from vfgateway.backends.smb.layout import Layout
from vfgateway.backends.smb.names import SmbNames
from vfgateway.backends.smb.share import Share
from vfgateway.errors import InvalidPath, NotADirectory, NotFound
from vfgateway.model import VFolderId

_MARK: Final = "vfgateway: adopted\n"
#: Bytes of the longest place, which has to be read at once.
_LONGEST: Final = 900


@attrs.frozen
class Adoption:
    """See the module.

    :ivar allowed: directories, from the share's root, at or below which others may be adopted
    """

    layout: Layout
    names: SmbNames
    allowed: Sequence[str] = ()

    def checked(self, place: str) -> str:
        """The path at ``place``, as the protocol has it. ``InvalidPath``."""
        parts = [part for part in place.replace("\\", "/").split("/") if part]
        if not parts or ".." in parts or "." in parts:
            raise InvalidPath(place, f"must be a path from the share's root: {place!r}")
        for part in parts:
            if objection := self.names.objection(part):
                raise InvalidPath(place, f"the storage cannot have {place!r}: {objection}")
        path = "\\".join(parts)
        if len(path.encode("utf-8")) > _LONGEST:
            raise InvalidPath(place, "the path is too long")
        if not any(self._folded(path + "\\").startswith(self._folded(each + "\\")) for each in self.allowed):
            raise InvalidPath(place, f"lies outside what `adoptable` names: {place}")
        return path

    def _folded(self, path: str) -> str:
        return "\\".join(map(self.names.fold, path.split("\\")))

    async def adopt(self, share: Share, vfid: VFolderId, place: str) -> None:
        """Let a vfolder lead to ``place``. ``VFolderExists``, ``InvalidPath``, ``NotFound``, ``NotADirectory``."""
        path = self.checked(place)
        found = await share.find(path)
        if found is None:
            raise NotFound(place)
        if not found.is_dir or found.is_link:
            raise NotADirectory(place)
        root = self.layout.root(vfid)
        await self.layout.make_root(share, vfid)  # takes the name, so that nobody else can
        draft = f"{root}.{uuid4().hex}"
        try:
            await share.write_small(draft, f"{_MARK}{path}\n".encode())
            await share.remove_dir(root)
            await share.rename(draft, root, replace=False, kind=wire.NON_DIRECTORY_FILE)
        except BaseException:
            await self._undo(share, vfid, draft)
            raise

    async def _undo(self, share: Share, vfid: VFolderId, draft: str) -> None:
        for remove, path in ((share.remove_file, draft), (share.remove_dir, self.layout.root(vfid))):
            with suppress(Refused, Lost):  # it was not made, or what is left of it holds nothing
                await remove(path)
        with suppress(Refused, Lost):
            await self.layout.drop_shards(share, vfid)

    async def target(self, share: Share, vfid: VFolderId) -> str | None:
        """The directory that an adopted vfolder leads to; ``None`` for one that is no adopted one, or leads elsewhere than allowed."""
        place = await self._place(share, vfid) if self.allowed else None
        try:
            return None if place is None else self.checked(place)
        except InvalidPath:
            return None

    async def _place(self, share: Share, vfid: VFolderId) -> str | None:
        root = self.layout.root(vfid)
        found = await share.find(root)
        if found is None or found.is_dir:
            return None
        text = (await share.read_small(root)).decode("utf-8", "replace")
        return text.removeprefix(_MARK).rstrip("\n") if text.startswith(_MARK) else None

    async def forget(self, share: Share, vfid: VFolderId) -> bool:
        """Let go of what was adopted, and of nothing else; whether there was anything."""
        if await self._place(share, vfid) is None:
            return False
        await share.remove_file(self.layout.root(vfid))
        await self.layout.drop_shards(share, vfid)
        return True

"""Where vfolders lie on a share: as they do on a disk that the volume ``vfs`` serves, so that either can serve what the other made.

::

    <path>\\version.txt                         "3"
    <path>\\<scope, 32 hex>\\<2>\\<2>\\<28>\\       a vfolder; the digits are its identifier's
    <path>\\<2>\\<2>\\<28>\\                       a vfolder of the old form, without a scope
    <scope or path>\\.deleted\\                 what is being removed
    <scope>\\.kind                             "user" or "project"
    <scope or path>\\.vfolders\\<32>.json       what a vfolder is

In the place of a vfolder that was adopted is a file (:mod:`vfgateway.backends.smb.adoption`).
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final
from uuid import UUID

import attrs

from vfgateway.backends.smb.faults import DIRECTORY_NOT_EMPTY, NAME_COLLISION, Refused
from vfgateway.backends.smb.share import Share
from vfgateway.errors import QuotaScopeExists, StorageFailure, VFolderExists, VolumeUnavailable
from vfgateway.model import QuotaScopeId, ScopeKind, VFolderId

VERSION: Final = b"3"
VERSION_FILE: Final = "version.txt"
TRASH: Final = ".deleted"
DESCRIPTIONS: Final = ".vfolders"
KIND_FILE: Final = ".kind"
#: How often to begin again when others remove the empty shards that we have just made.
MOST_RACES: Final = 100

_SCOPE = re.compile("[0-9a-f]{32}")
_SHARD = re.compile("[0-9a-f]{2}")
_LEAF = re.compile("[0-9a-f]{28}")


@attrs.frozen
class Layout:
    """Paths of one volume.

    :ivar top: the volume's directory, from the share's root
    """

    top: str

    def _at(self, *parts: str) -> str:
        return "\\".join(part for part in (self.top, *parts) if part)

    def scope(self, scope: QuotaScopeId | None) -> str:
        """The place of a scope; the volume itself for vfolders without one."""
        return self._at("" if scope is None else scope.uuid.hex)

    def trash(self, scope: QuotaScopeId | None) -> str:
        """Beside the vfolders of a scope."""
        return self._at("" if scope is None else scope.uuid.hex, TRASH)

    def root(self, vfid: VFolderId) -> str:
        """The directory of a vfolder."""
        digits = vfid.folder.hex
        scope = "" if vfid.scope is None else vfid.scope.uuid.hex
        return self._at(scope, digits[:2], digits[2:4], digits[4:])

    def description(self, vfid: VFolderId) -> str:
        """Where the vfolder's description is kept, beside the vfolders of its scope."""
        scope = "" if vfid.scope is None else vfid.scope.uuid.hex
        return self._at(scope, DESCRIPTIONS, f"{vfid.folder.hex}.json")

    # --- start

    async def prepare(self, share: Share, volume: str) -> bool:
        """Check that this is a volume of ours, or make an empty directory one. Whether the server folds case."""
        if self.top:
            await share.ensure_dirs(self.top)
        file = self._at(VERSION_FILE)
        try:
            found = (await share.read_small(file)).strip()
        except Refused as error:
            if not error.missing:
                raise
            strange = [entry.name for entry in await share.entries(self.top) if not _may_be_ours(entry.name)]
            if strange:
                raise VolumeUnavailable(
                    volume,
                    f"{share} has no {VERSION_FILE} but holds other files ({strange[0]!r}); choose an empty directory",
                ) from None
            await share.write_small(file, VERSION + b"\n")
            found = VERSION
        if found != VERSION:
            raise VolumeUnavailable(
                volume, f"{VERSION_FILE} on {share} says layout {found!r}; only {VERSION!r} is understood"
            )
        return await share.find(self._at(VERSION_FILE.upper())) is not None

    # --- scopes

    async def make_scope(self, share: Share, scope: QuotaScopeId) -> None:
        """Make the place of a scope; ``QuotaScopeExists``."""
        try:
            await share.make_dir(self.scope(scope))
        except Refused as error:
            if error.status == NAME_COLLISION:
                raise QuotaScopeExists(scope) from None
            raise
        await share.write_small(f"{self.scope(scope)}\\{KIND_FILE}", scope.kind.value.encode() + b"\n")

    async def has_scope(self, share: Share, scope: QuotaScopeId) -> bool:
        return await share.find(self.scope(scope)) is not None

    # --- vfolders

    async def make_root(self, share: Share, vfid: VFolderId) -> None:
        """Make a vfolder's directory and whatever is missing above it. ``VFolderExists``."""
        root = self.root(vfid)
        for _ in range(MOST_RACES):
            try:
                await share.make_dir(root)
                return
            except Refused as error:
                if error.status == NAME_COLLISION:
                    raise VFolderExists(vfid) from None
                if not error.missing:
                    raise
            if vfid.scope is not None and not await self.has_scope(share, vfid.scope):
                with suppress(QuotaScopeExists):
                    await self.make_scope(share, vfid.scope)
            await self._make_shards(share, root)
        raise StorageFailure(f"vfolder {vfid} could not be made: its place is removed again and again")

    async def _make_shards(self, share: Share, root: str) -> None:
        middle = root.rpartition("\\")[0]
        for directory in (middle.rpartition("\\")[0], middle):
            try:
                await share.make_dir(directory)
            except Refused as error:
                if error.status != NAME_COLLISION and not error.missing:
                    raise

    async def drop_shards(self, share: Share, vfid: VFolderId) -> None:
        """Remove the shards of a vfolder that hold nothing any more."""
        middle = self.root(vfid).rpartition("\\")[0]
        for directory in (middle, middle.rpartition("\\")[0]):
            try:
                await share.remove_dir(directory)
            except Refused as error:
                if error.status == DIRECTORY_NOT_EMPTY or error.missing:
                    return
                raise

    async def scopes(self, share: Share) -> list[QuotaScopeId | None]:
        """All scopes, and the volume itself."""
        found: list[QuotaScopeId | None] = [None]
        for name in await _dirs(share, self.top, _SCOPE):
            found.append(QuotaScopeId(await self._kind(share, name), UUID(name)))
        return found

    async def _kind(self, share: Share, name: str) -> ScopeKind:
        """The kind of a scope that was found: where it was not noted, a user's."""
        try:
            return ScopeKind((await share.read_small(self._at(name, KIND_FILE))).decode("ascii", "replace").strip())
        except (Refused, ValueError):
            return ScopeKind.USER

    async def all(self, share: Share, files: bool = False) -> list[VFolderId]:
        """Every vfolder that is there; those, too, in whose place is a file, if that is one that was adopted."""
        found = []
        for scope in await self.scopes(share):
            place = self.scope(scope)
            for first in await _dirs(share, place, _SHARD):
                for second in await _dirs(share, f"{place}\\{first}".lstrip("\\"), _SHARD):
                    for leaf in await _dirs(share, f"{place}\\{first}\\{second}".lstrip("\\"), _LEAF, files):
                        found.append(VFolderId(scope, UUID(first + second + leaf)))
        return found


async def _dirs(share: Share, path: str, pattern: re.Pattern[str], files: bool = False) -> list[str]:
    """Directories (and ``files``) with such names; none where others have removed ``path`` meanwhile."""
    try:
        return [
            entry.name
            for entry in await share.entries(path)
            if (entry.is_dir or files) and pattern.fullmatch(entry.name)
        ]
    except Refused as error:
        if error.missing:
            return []
        raise


def _may_be_ours(name: str) -> bool:
    return name in (TRASH, DESCRIPTIONS) or bool(_SCOPE.fullmatch(name) or _SHARD.fullmatch(name))

"""The volume on Btrfs whose kernel limits vfolders, and the plugin that makes either."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from zope.interface import implementer

from vfgateway.abilities import INativeFolderQuota
from vfgateway.backends.btrfs import qgroups
from vfgateway.backends.btrfs.settings import BtrfsSettings
from vfgateway.backends.btrfs.subvolumes import directory
from vfgateway.backends.btrfs.volume import BtrfsVolume
from vfgateway.backends.vfs.descriptors import Calls
from vfgateway.backends.vfs.faults import faults, is_limit, not_permitted
from vfgateway.backends.vfs.limited import LimitedCalls
from vfgateway.backends.vfs.resolve import Resolver
from vfgateway.backends.vfs.tree import Tree
from vfgateway.backends.vfs.volume import Storage
from vfgateway.errors import GatewayError, QuotaExceeded, VolumeUnavailable
from vfgateway.interfaces import IVolume, IVolumeFactory
from vfgateway.model import Limits, Usage, VFolderId
from vfgateway.privileged.client import Helper
from vfgateway.privileged.powers import SubvolumePowers

if TYPE_CHECKING:
    from vfgateway.runtime import Runtime

#: What a vfolder may refer to beyond its limit, for metadata counts there: this, and one part in :data:`SHARE` of the limit.
ROOM: Final = 1 << 20
SHARE: Final = 8


@implementer(INativeFolderQuota)
class LimitedBtrfsVolume(BtrfsVolume):
    """With a quota group for each vfolder. It counts blocks and metadata, where the ledger counts sizes; so that it does not refuse what fits,
    it allows for more than the limit: what passes through the gateway is limited by the ledger, to the byte."""

    limit_step = 64 << 10
    _powers: SubvolumePowers | Helper
    limits_files = False

    def _probe(self) -> Storage:
        storage = super()._probe()
        with faults(self.name):
            top = Path(self.path)
            self._enable(top)
            if qgroups.charges_owners(top):
                reason = (
                    "simple quotas are on, which count what only snapshots hold; end them with `btrfs quota disable`"
                )
                raise VolumeUnavailable(self.name, reason)
        return storage

    def _enable(self, top: Path) -> None:
        """Have the file system count: do it ourselves if we may."""
        with directory(top) as descriptor:
            self._powers = SubvolumePowers([self.path])
            try:
                self._powers.enable_quota(descriptor)
            except OSError as error:
                if not not_permitted(error):
                    raise
                self._powers = self._helper
                try:
                    self._helper.enable_quota(descriptor)
                except GatewayError as away:
                    reason = (
                        f'the gateway does not run as root, so limits are set by a helper (or limits = "off"): {away}'
                    )
                    raise VolumeUnavailable(self.name, reason) from away

    def _limit(self, place: Path, limit: int | None) -> None:
        with directory(place) as descriptor:
            self._powers.limit_subvolume(descriptor, limit or 0)

    async def set_folder_limits(self, vfid: VFolderId, limits: Limits) -> None:
        await self._calls.run(self._set_limits, vfid, limits)

    def _set_limits(self, vfid: VFolderId, limits: Limits) -> None:
        with faults(vfid):
            self._limit(self._source(vfid), None if limits.bytes is None else self._with_room(limits.bytes))

    async def native_folder_usage(self, vfid: VFolderId) -> tuple[Usage, Limits]:
        return await self._calls.run(self._native_usage, vfid)

    def _native_usage(self, vfid: VFolderId) -> tuple[Usage, Limits]:
        with faults(vfid):
            group = qgroups.group(self._source(vfid))
        return Usage(group.referenced, 0), Limits(None if group.limit is None else self._without_room(group.limit))

    def _with_room(self, limit: int) -> int:
        rounded = Limits(limit).rounded_up(self.limit_step).bytes or 0
        return rounded + rounded // SHARE + ROOM

    def _without_room(self, limit: int) -> int:
        return max(0, limit - ROOM) * SHARE // (SHARE + 1)

    def _copy_tree(self, resolver: Resolver, source: VFolderId, draft: Path) -> int:
        skipped = super()._copy_tree(resolver, source, draft)
        self._limit(draft, None)  # a clone comes with that of its original
        return skipped

    def _calls_of(self, tree: Tree) -> Calls:
        return LimitedCalls(self.name, self._calls, partial(self._judge, tree.path))

    def _judge(self, root: Path, error: OSError) -> QuotaExceeded | None:
        if not is_limit(error):
            return None
        try:
            group = qgroups.group(root)
        except OSError:
            return QuotaExceeded("this vfolder on its storage", "bytes", 0, 0, 1)
        limit = group.referenced if group.limit is None else self._without_room(group.limit)
        return QuotaExceeded("this vfolder on its storage", "bytes", limit, group.referenced, 1)


@implementer(IVolumeFactory)
class BtrfsVolumeFactory:
    """Makes volumes on Btrfs."""

    name = "btrfs"
    summary = "a directory on Btrfs: a subvolume for each vfolder, with snapshots and instant clones"

    def configure(self, name: str, settings: Mapping[str, Any], runtime: Runtime) -> IVolume:
        checked = BtrfsSettings.model_validate(settings)
        kind = LimitedBtrfsVolume if checked.limits == "qgroup" else BtrfsVolume
        return kind(name, checked, runtime)

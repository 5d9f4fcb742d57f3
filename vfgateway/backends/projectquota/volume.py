"""The volume on XFS or ext4 with project quota, and the plugins that make it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger
from zope.interface import implementer

from vfgateway.abilities import INativeFolderQuota
from vfgateway.backends.projectquota.capabilities import obey_limits
from vfgateway.backends.projectquota.numbers import ProjectNumbers
from vfgateway.backends.projectquota.settings import ProjectQuotaSettings
from vfgateway.backends.vfs import syscalls
from vfgateway.backends.vfs.descriptors import Calls
from vfgateway.backends.vfs.faults import faults, not_permitted
from vfgateway.backends.vfs.limited import LimitedCalls, judged_by_room
from vfgateway.backends.vfs.tree import Tree
from vfgateway.backends.vfs.volume import Storage, VfsVolume
from vfgateway.errors import GatewayError, StorageFailure, Unsupported, VFolderNotFound, VolumeUnavailable
from vfgateway.interfaces import IVolume, IVolumeFactory
from vfgateway.model import FolderOptions, Health, HealthState, Limits, Usage, VFolderId
from vfgateway.privileged import projects
from vfgateway.privileged.client import Helper
from vfgateway.privileged.powers import ProjectPowers
from vfgateway.privileged.registry import ProjectFiles
from vfgateway.privileged.starting import IWantsHelper, Wanted

if TYPE_CHECKING:
    from vfgateway.runtime import Runtime

#: Inodes that a vfolder has beside its entries: its root, the place of stages, and some stages under way.
SPARE_FILES: Final = 64
_KINDS: Final = {"xfs": syscalls.XFS, "ext4": syscalls.EXT4}
_NAMES: Final = {"xfs": "XFS", "ext4": "ext4"}
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_log = Logger()


@implementer(INativeFolderQuota, IWantsHelper)
class ProjectQuotaVolume(VfsVolume):
    """A directory on a file system with project quota. The kernel counts blocks and inodes, so small files weigh more there than in the
    ledger; stages and directories count, too. A vfolder that was adopted has the ledger's limits alone."""

    limits_files = True

    def __init__(self, name: str, settings: ProjectQuotaSettings, runtime: Runtime, kind: str) -> None:
        super().__init__(name, settings, runtime)
        self.backend = kind
        self.limit_step = 4096
        files = ProjectFiles(settings.projects_file, settings.projid_file)
        self._range = (settings.first_project, settings.last_project)
        self._wanted = Wanted(
            settings.helper,
            Path(self.path),
            {
                "projects": settings.projects_file,
                "projid": settings.projid_file,
                "first": settings.first_project,
                "last": settings.last_project,
            },
        )
        self._own_powers = ProjectPowers([self.path], files, *self._range)
        self._helper = Helper(settings.helper)
        self._powers: ProjectPowers | Helper = self._helper
        self._numbers = ProjectNumbers(runtime.state, *self._range)
        self._at_hand: deque[int] = deque()  # numbers for vfolders that are being made, one for each
        self._making = 0

    def helper_wanted(self) -> Wanted:
        return self._wanted

    # --- life

    async def start(self) -> None:
        obey_limits()
        await super().start()

    def _probe(self) -> Storage:
        storage = super()._probe()
        if storage.file_system != _KINDS[self.backend]:
            raise VolumeUnavailable(
                self.name, f'{self.path} is not on {_NAMES[self.backend]}; correct `path`, or use backend = "vfs"'
            )
        with faults(self.name), self._top() as top:
            self._check_mount(top)
            self.limit_step = os.fstatvfs(top).f_bsize
            self._choose_powers(top)
        return storage

    def _check_mount(self, top: int) -> None:
        if not projects.is_enforced(top):
            made = " and make the file system with -O quota,project" if self.backend == "ext4" else ""
            raise VolumeUnavailable(
                self.name,
                f"{self.path} is not mounted with project quota, or the kernel is older than Linux 5.14; mount it with -o prjquota{made}",
            )

    def _choose_powers(self, top: int) -> None:
        """Do it ourselves if we may."""
        self._powers = self._own_powers
        try:
            self._own_powers.check(top)
        except OSError as error:
            if not not_permitted(error):
                raise
            self._powers = self._helper
            try:
                self._helper.check(top)
            except GatewayError as away:
                raise VolumeUnavailable(
                    self.name, f"the gateway does not run as root, so limits are set by a helper: {away}"
                ) from away

    async def stop(self) -> None:
        await super().stop()
        self._helper.close()

    def _look(self) -> Health:
        health = super()._look()
        if health.state is not HealthState.HEALTHY:
            return health
        try:
            with faults(self.name), self._top() as top:
                self._powers.check(top)
        except GatewayError as error:
            return Health(HealthState.DEGRADED, str(error))
        return health

    @contextmanager
    def _top(self) -> Iterator[int]:
        top = os.open(self.path, _DIRECTORY & ~os.O_NOFOLLOW)
        try:
            yield top
        finally:
            os.close(top)

    # --- vfolders

    async def create_folder(self, vfid: VFolderId, options: FolderOptions) -> None:
        async with self._number_at_hand():
            await super().create_folder(vfid, options)
            await self._calls.run(self._enter, vfid)

    async def clone_folder(self, source: VFolderId, target: VFolderId) -> None:
        async with self._number_at_hand():
            await super().clone_folder(source, target)
            await self._calls.run(self._enter, target)

    @asynccontextmanager
    async def _number_at_hand(self) -> AsyncIterator[None]:
        """While a vfolder is made. Any number will do for any of them, and whoever comes to nothing has used none."""
        self._started()
        self._at_hand.append(await self._numbers.take(self._is_free))
        self._making += 1
        try:
            yield
        finally:
            self._making -= 1
            while len(self._at_hand) > self._making:
                self._at_hand.pop()

    async def _is_free(self, project: int) -> bool:
        return not any(await self._calls.run(self._known, project))

    def _known(self, project: int) -> Sequence[int]:
        with faults(self.name), self._top() as top:
            return self._powers.usage(top, project)

    def _begin_root(self, root: Path, vfid: VFolderId) -> None:
        try:
            number = self._at_hand.popleft()
        except IndexError:
            raise StorageFailure("nobody waits for this vfolder any more") from None
        descriptor = os.open(root, _DIRECTORY)
        try:
            self._powers.set_project(descriptor, number)
        finally:
            os.close(descriptor)

    def _enter(self, vfid: VFolderId) -> None:
        """Tell administrators. A vfolder is not worse for it if that fails."""
        try:
            with faults(vfid), self._root(vfid) as root:
                self._powers.enter(root, projects.project_of(root), vfid.folder.hex)
        except GatewayError as error:
            _log.warn("volume {name}: cannot write down a project: {error}", name=self.name, error=str(error))

    def _delete(self, vfid: VFolderId) -> None:
        with faults(vfid):
            project = self._project(vfid)
            if project is not None:  # before the vfolder, which knows it, is gone
                with self._top() as top:
                    self._powers.strike(top, project)
        super()._delete(vfid)

    def _project(self, vfid: VFolderId) -> int | None:
        """The project of a vfolder, if it has one of ours."""
        try:
            with self._root(vfid) as root:
                project = projects.project_of(root)
        except (VFolderNotFound, Unsupported):
            return None
        return project if self._range[0] <= project <= self._range[1] else None

    @contextmanager
    def _root(self, vfid: VFolderId) -> Iterator[int]:
        """A vfolder's root, unless it leads elsewhere."""
        place = self._layout.root(vfid)
        try:
            root = os.open(place, _DIRECTORY)
        except (FileNotFoundError, NotADirectoryError) as error:
            if place.is_symlink():
                raise Unsupported("limits of the storage for a vfolder that was adopted") from error
            raise VFolderNotFound(vfid) from error
        try:
            yield root
        finally:
            os.close(root)

    def _calls_of(self, tree: Tree) -> Calls:
        return LimitedCalls(self.name, self._calls, partial(judged_by_room, Path(self.path), tree.path))

    # --- limits

    async def set_folder_limits(self, vfid: VFolderId, limits: Limits) -> None:
        self._started()
        project = await self._calls.run(self._project_there, vfid)
        if project is None:
            if limits == Limits():
                return
            project = await self._numbers.take(self._is_free)
            await self._calls.run(self._give_project, vfid, project)
        await self._calls.run(self._set_limits, vfid, project, limits)

    def _project_there(self, vfid: VFolderId) -> int | None:
        with faults(vfid), self._root(vfid):
            return self._project(vfid)

    def _give_project(self, vfid: VFolderId, project: int) -> None:
        """To a vfolder that was made before, with all that is in it."""
        with faults(vfid), self._root(vfid) as root:
            self._powers.set_project(root, project, below=True)
        self._enter(vfid)

    def _set_limits(self, vfid: VFolderId, project: int, limits: Limits) -> None:
        size = limits.rounded_up(self.limit_step).bytes or 0
        files = 0 if limits.files is None else limits.files + SPARE_FILES
        with faults(vfid), self._root(vfid) as root:
            self._powers.set_limits(root, project, size, files)

    async def native_folder_usage(self, vfid: VFolderId) -> tuple[Usage, Limits]:
        self._started()
        return await self._calls.run(self._usage, vfid)

    def _usage(self, vfid: VFolderId) -> tuple[Usage, Limits]:
        with faults(vfid), self._root(vfid) as root:
            project = self._project(vfid)
            if project is None:
                return Usage(), Limits()
            size, files, most_size, most_files = self._powers.usage(root, project)
        limits = Limits(most_size or None, max(0, most_files - SPARE_FILES) if most_files else None)
        return Usage(size, max(0, files - 1)), limits


@implementer(IVolumeFactory)
class XfsVolumeFactory:
    """Makes volumes over XFS with project quota."""

    name = "xfs"
    summary = "a directory on XFS, with a project quota for each vfolder"

    def configure(self, name: str, settings: Mapping[str, Any], runtime: Runtime) -> IVolume:
        return ProjectQuotaVolume(name, ProjectQuotaSettings.model_validate(settings), runtime, self.name)


@implementer(IVolumeFactory)
class Ext4VolumeFactory:
    """Makes volumes over ext4 with project quota."""

    name = "ext4"
    summary = "a directory on ext4, with a project quota for each vfolder"

    def configure(self, name: str, settings: Mapping[str, Any], runtime: Runtime) -> IVolume:
        return ProjectQuotaVolume(name, ProjectQuotaSettings.model_validate(settings), runtime, self.name)

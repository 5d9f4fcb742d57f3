"""The reference's routes about vfolders (reference 2.5)."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred, TimeoutError

from vfgateway.errors import (
    AuthenticationFailed,
    InvalidPath,
    QuotaScopeExists,
    QuotaScopeNotFound,
    StorageFailure,
    UnknownAccount,
    Unsupported,
    VFolderNotFound,
)
from vfgateway.model import FolderOptions, Limits, Permission, Usage, VFolder
from vfgateway.protocols.manager import faults
from vfgateway.protocols.manager.counting import Counting
from vfgateway.protocols.manager.fields import NO_TASK, NOOP
from vfgateway.protocols.manager.v1.accounts import account
from vfgateway.protocols.manager.wire import (
    FolderClone,
    FolderCreation,
    FolderMount,
    FolderUsage,
    Metadata,
    MountPath,
    OfFolder,
    Ok,
    RemoteSource,
    Started,
    UsedBytes,
)
from vfgateway.protocols.web.routing import NO_CONTENT, NOTHING, Call, Reply, Routes
from vfgateway.services.gateway import Gateway
from vfgateway.services.tasks import TaskState, until_finished


class FolderRoutes(Routes):
    """Everything about whole vfolders.

    :param auto_scopes: make a missing quota scope together with the first vfolder in it
    :param clone_patience: seconds for which the reply to a clone waits for its end
    """

    def __init__(self, gateway: Gateway, auto_scopes: bool, clone_patience: float) -> None:
        super().__init__(gateway, reference=True, tag="vfolders")
        self._auto_scopes = auto_scopes
        self._clone_patience = clone_patience
        self._counting = Counting(gateway)
        self.add("POST", "/folder/create", self.folder_create, FolderCreation, {204: NOTHING}, 404, 409)
        self.add("POST", "/folder/delete", self.folder_delete, OfFolder, {202: Started})
        self.add("POST", "/folder/clone", self.folder_clone, FolderClone, {200: Started}, 404, 409)
        self.add("GET", "/folder/mount", self.folder_mount, FolderMount, {200: MountPath})
        self.add("GET", "/folder/usage", self.folder_usage, OfFolder, {200: FolderUsage}, 404)
        self.add("GET", "/folder/used-bytes", self.folder_used_bytes, OfFolder, {200: UsedBytes}, 404)
        self.add("GET", "/folder/metadata", self.folder_metadata, OfFolder, {200: Ok})
        self.add("POST", "/folder/metadata", self.folder_set_metadata, Metadata, {200: Ok})

    async def folder_create(self, call: Call, params: FolderCreation) -> Reply:
        """Create a vfolder.

        A missing quota scope is created with it where that is configured, limited by ``initial_max_size_for_quota_scope``.
        """
        if params.volume == NOOP:
            return NO_CONTENT
        await self._ensure_scope(params)
        options = FolderOptions(params.mode & 0o777 if params.mode is not None else None)
        await self.gateway.lifecycle.create(params.volume, params.vfid, options)
        return NO_CONTENT

    async def _ensure_scope(self, params: FolderCreation) -> None:
        scope = params.vfid.scope
        assert scope is not None
        if await self.gateway.volumes.get(params.volume).has_scope(scope):
            return
        if not self._auto_scopes:
            raise QuotaScopeNotFound(scope)
        size = params.options.initial_max_size_for_quota_scope if params.options is not None else None
        with contextlib.suppress(QuotaScopeExists):  # another request was quicker
            await self.gateway.lifecycle.create_scope(params.volume, scope, Limits(bytes=size or None))

    async def folder_delete(self, call: Call, params: OfFolder) -> Reply:
        """Begin to remove a vfolder with everything in it.

        It is gone for users at once. One that does not exist counts as removed.
        """
        if params.volume == NOOP:
            return Reply(202, Started(bgtask_id=NO_TASK))
        return Reply(202, Started(bgtask_id=await self.gateway.lifecycle.delete(params.volume, params.vfid)))

    async def folder_clone(self, call: Call, params: FolderClone) -> Reply:
        """Begin to copy a vfolder, to another volume too.

        The reply waits a little for the end: managers of the 23.09 line take the reply for it.
        """
        source = await self.gateway.find_vfolder(params.src_vfid, params.src_volume)
        task = await self.gateway.cloning.begin(source, params.dst_volume or params.src_volume, params.dst_vfid)
        await self._wait_for(task)
        return Reply(body=Started(bgtask_id=task))

    async def _wait_for(self, task: str) -> None:
        """Wait for a task, but not for ever. ``StorageFailure`` if it failed meanwhile."""
        waiting = Deferred.fromCoroutine(until_finished(self.gateway.tasks, task))
        try:
            finished = await waiting.addTimeout(self._clone_patience, self.gateway.reactor)
        except TimeoutError:
            return
        if finished.state is not TaskState.DONE:
            raise StorageFailure(finished.message)

    async def folder_mount(self, call: Call, params: FolderMount) -> Reply:
        """Say where agents find a vfolder. ``subpath`` must not lead out of it; it need not exist.

        For a ``principal``, the permission that the mount must have comes along; to one that may not enter, there is no such vfolder. With
        ``remote``, what another host needs to mount the storage by itself.
        """
        vfid = str(params.vfid)
        permission = None
        try:
            vfolder = await self._find(params)
            if vfolder.is_gone:
                raise VFolderNotFound(vfid)
            if params.principal is not None:
                permission = await self._permission(params.principal, vfolder)
            remote = await self.gateway.lifecycle.remote_mount(vfolder) if params.remote else None
            try:
                path: str | None = await self.gateway.lifecycle.mount_path(vfolder, params.subpath)
            except Unsupported:
                if remote is None:
                    raise
                path = None
        except VFolderNotFound:
            return faults.cannot_mount("VFolder not found", vfid)
        except InvalidPath:
            return faults.cannot_mount("Invalid vfolder subpath", vfid, subpath=str(params.subpath))
        source = None if remote is None else RemoteSource(**attrs.asdict(remote))
        return Reply(body=MountPath(path=path, remote=source, permission=cast(Any, permission)))

    async def _permission(self, name: str, vfolder: VFolder) -> str:
        """What a user may do in a vfolder. ``VFolderNotFound`` if that is nothing, or there is no such user, or none that may log in."""
        accounts = self.gateway.accounts
        wanted = account(name)
        try:
            user = await accounts.user(wanted)
            principal = await self.gateway.current(await accounts.principal_of(user.id))
        except (UnknownAccount, AuthenticationFailed):
            raise VFolderNotFound(vfolder.id) from None
        permission = (await self.gateway.vfolders.access(principal, vfolder)).permission
        if permission is Permission.NONE:
            raise VFolderNotFound(vfolder.id)
        return str(permission)

    async def folder_usage(self, call: Call, params: OfFolder) -> Reply:
        """Tell what a vfolder holds: all entries, and the bytes of its files."""
        usage = await self._usage(params)
        return Reply(body=FolderUsage(file_count=usage.files, used_bytes=usage.bytes))

    async def folder_used_bytes(self, call: Call, params: OfFolder) -> Reply:
        """Tell the bytes of a vfolder's files, exactly."""
        return Reply(body=UsedBytes(used_bytes=(await self._usage(params)).bytes))

    async def _usage(self, params: OfFolder) -> Usage:
        if params.volume == NOOP:
            return Usage()
        return await self._counting.usage(await self._find(params))

    async def _find(self, params: OfFolder) -> VFolder:
        return await self.gateway.find_vfolder(params.vfid, params.volume)

    async def folder_metadata(self, call: Call, params: OfFolder) -> Reply:
        """Do nothing; the reference keeps no metadata either."""
        return self._no_metadata(params)

    async def folder_set_metadata(self, call: Call, params: Metadata) -> Reply:
        """Do nothing; the reference keeps no metadata either."""
        return self._no_metadata(params)

    def _no_metadata(self, params: OfFolder) -> Reply:
        if params.volume != NOOP:
            self.gateway.volumes.configured(params.volume)
        return Reply(body=Ok())

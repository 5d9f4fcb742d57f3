"""The volume over a storage account, and the plugin that makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import attrs
from zope.interface import implementer

from vfgateway.abilities import IAdoption, IDescriptions
from vfgateway.backends.azureblob import descriptions
from vfgateway.backends.azureblob.blocks import BlockPlan, Buffers
from vfgateway.backends.azureblob.container import Container, parse_containers
from vfgateway.backends.azureblob.credentials import make_credential
from vfgateway.backends.azureblob.facts import MODE
from vfgateway.backends.azureblob.faults import Refused, faults
from vfgateway.backends.azureblob.folder import AzureBlobFolder
from vfgateway.backends.azureblob.moving import Mover
from vfgateway.backends.azureblob.names import container_name, folder_of, foreign_container
from vfgateway.backends.azureblob.reading import PieceCache
from vfgateway.backends.azureblob.settings import AzureBlobSettings
from vfgateway.backends.azureblob.staging import AzureStagedFile
from vfgateway.backends.azureblob.transport import Transport
from vfgateway.directaccess import ISharedAccess, SharedAccess
from vfgateway.errors import (
    GatewayError,
    InvalidArgument,
    InvalidPath,
    NotFound,
    QuotaScopeExists,
    StorageFailure,
    VFolderExists,
    VFolderNotFound,
    VolumeUnavailable,
)
from vfgateway.interfaces import IFolder, IVolume, IVolumeFactory
from vfgateway.model import Actor, FolderOptions, Health, HealthState, NameRules, QuotaScopeId, Space, VFolderId

if TYPE_CHECKING:
    from vfgateway.runtime import Runtime

#: Metadata of a container: whose it is, and which of those that had its name.
SCOPE, GENERATION = "vfgateway_scope", "vfgateway_generation"
#: The same of one that stands for another, which was there before: its name. What is in that stays when the vfolder goes.
ADOPTED = "vfgateway_adopted"
#: Begins the names of containers that stand for quota scopes, after the volume's prefix.
SCOPE_MARK = "scope-"
#: Seconds for which it is believed that a container is there. Azure gives its name to no other one for longer than that.
FRESH = 5.0
#: Containers that are remembered.
MOST_KNOWN = 10_000
#: Seconds between two looks for moves that were cut.
MEND_AFTER = 60.0
#: Seconds for which a name is waited for whose container is being deleted, and between two attempts.
NAME_PATIENCE, NAME_PAUSE = 90.0, 3.0
#: Seconds within which the account has to answer when it is asked how it is.
HEALTH_PATIENCE = 5.0


@attrs.define
class Known:
    """What was seen of a container a moment ago.

    :ivar content: the container in which the content is
    """

    content: Container
    generation: str
    scope: str
    until: float
    mend_at: float = 0.0


@implementer(IVolume, IAdoption, IDescriptions, ISharedAccess)
class AzureBlobVolume:
    """A storage account.

    :ivar calls: threads for what takes long enough to be felt: reading long listings, and secrets
    :ivar open_stages: uploads of which nothing may be stored yet, by container and token
    """

    backend = "azureblob"

    def __init__(self, name: str, settings: AzureBlobSettings, runtime: Runtime) -> None:
        self.name = name
        self.path = f"{settings.url}/{settings.container_prefix}*"
        self.names = NameRules()
        self.shared = True
        self.settings = settings
        self.calls = runtime.pool(4)
        self.plan = BlockPlan(int(settings.block_size), settings.parallel)
        self.buffers = Buffers(int(settings.write_buffer))
        self.cache = PieceCache(int(settings.read_cache))
        self.open_stages: dict[str, dict[str, AzureStagedFile]] = {}
        self._reactor = runtime.reactor
        self._transport: Transport | None = None
        self._known: dict[VFolderId, Known] = {}

    # --- life

    async def start(self) -> None:
        if self._transport is not None:
            return
        self.calls.start()
        credential = await make_credential(self.settings, self._reactor, self.calls, self.name)
        settings = self.settings
        transport = Transport(
            self.name, settings.url, credential, self._reactor, settings.connections, settings.patience
        )
        await self._probe(transport)
        self._transport = transport

    async def _probe(self, transport: Transport) -> None:
        try:
            await transport.request("GET", "", {"comp": "list", "maxresults": "1"}, patience=HEALTH_PATIENCE)
        except Refused as refused:
            why = "refuses our credentials" if refused.login else "answers"
            raise VolumeUnavailable(self.name, f"the storage account {why}: {refused}") from None

    async def stop(self) -> None:
        transport, self._transport = self._transport, None
        self._known.clear()
        self.cache.clear()
        if transport is not None:
            await transport.close()
        await self.calls.stop()

    @property
    def transport(self) -> Transport:
        """The way to the storage. ``VolumeUnavailable`` unless started."""
        if self._transport is None:
            raise VolumeUnavailable(self.name, "it is not running")
        return self._transport

    async def health(self) -> Health:
        try:
            await self._probe(self.transport)
        except GatewayError as error:
            return Health(HealthState.UNAVAILABLE, str(error))
        return Health(HealthState.HEALTHY, metadata={"account": self.settings.account})

    async def space(self) -> Space:
        return Space(-1, -1, -1)

    # --- vfolders

    def container(self, vfid: VFolderId) -> Container:
        """The container of a vfolder, there or not."""
        return Container(self.transport, container_name(self.settings.container_prefix, vfid.folder))

    async def create_folder(self, vfid: VFolderId, options: FolderOptions) -> None:
        metadata = {SCOPE: str(vfid.scope or ""), GENERATION: uuid4().hex}
        if options.mode is not None:
            metadata[MODE] = f"{options.mode & 0o777:04o}"
        with faults(self.name, vfid):
            if vfid.scope is not None:
                await self._make_scope(vfid.scope)
            await self._create(vfid, metadata)

    async def _create(self, vfid: VFolderId, metadata: Mapping[str, str]) -> None:
        deadline = self._reactor.seconds() + NAME_PATIENCE
        while True:
            try:
                await self.container(vfid).create(metadata)
                return
            except Refused as refused:
                if refused.code == "ContainerBeingDeleted" and self._reactor.seconds() < deadline:
                    await self.transport.pause(NAME_PAUSE)
                    continue
                if refused.status != 409:
                    raise
                there = await self.container(vfid).properties()
                if there.metadata.get(GENERATION) == metadata[GENERATION]:
                    return
                raise VFolderExists(vfid) from None

    async def adopt_folder(self, vfid: VFolderId, place: str) -> None:
        name = foreign_container(self.settings.container_prefix, self.settings.adoptable, place)
        with faults(self.name, vfid):
            try:
                await Container(self.transport, name).properties()
            except Refused as refused:
                if refused.status == 404 or refused.missing_container:
                    raise NotFound(place) from None
                raise
            if vfid.scope is not None:
                await self._make_scope(vfid.scope)
            await self._create(vfid, {SCOPE: str(vfid.scope or ""), GENERATION: uuid4().hex, ADOPTED: name})

    async def delete_folder(self, vfid: VFolderId) -> None:
        with faults(self.name, vfid):
            self._known.pop(vfid, None)
            await self.container(vfid).remove()
            self._known.pop(vfid, None)
            await descriptions.forget(self._descriptions, vfid)

    @property
    def _descriptions(self) -> Container:
        return Container(self.transport, self.settings.container_prefix + descriptions.CONTAINER)

    async def describe(self, vfid: VFolderId, text: bytes) -> None:
        with faults(self.name, vfid):
            await self.known(vfid)
            await descriptions.describe(self._descriptions, vfid, text)

    async def description(self, vfid: VFolderId) -> bytes | None:
        with faults(self.name, vfid):
            return await descriptions.description(self._descriptions, vfid)

    async def known(self, vfid: VFolderId) -> Known:
        """What is known of the container of a vfolder. ``VFolderNotFound``."""
        now = self._reactor.seconds()
        known = self._known.get(vfid)
        if known is not None and now < known.until:
            return known
        try:
            found = await self.container(vfid).properties()
            content = await self._content(vfid, found.metadata)
        except Refused as refused:
            self._known.pop(vfid, None)
            if refused.status == 404 or refused.missing_container:
                raise VFolderNotFound(vfid) from None
            raise
        scope = found.metadata.get(SCOPE, "")
        if scope != str(vfid.scope or ""):
            raise VFolderNotFound(vfid)
        mend_at = known.mend_at if known else 0.0
        fresh = Known(content, found.metadata.get(GENERATION, ""), scope, now + FRESH, mend_at)
        if now >= fresh.mend_at:
            fresh.mend_at = now + MEND_AFTER
            await Mover(content, self.calls).mend_all()
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[vfid] = fresh
        return fresh

    async def _content(self, vfid: VFolderId, metadata: Mapping[str, str]) -> Container:
        """Where the content of a vfolder is. ``VFolderNotFound`` for what was adopted and may not be any more."""
        name = metadata.get(ADOPTED)
        if name is None:
            return self.container(vfid)
        settings = self.settings
        try:
            content = Container(self.transport, foreign_container(settings.container_prefix, settings.adoptable, name))
        except InvalidPath:
            raise VFolderNotFound(vfid) from None
        await content.properties()
        return content

    async def folder(self, vfid: VFolderId, actor: Actor) -> IFolder:
        with faults(self.name, vfid):
            known = await self.known(vfid)
        return AzureBlobFolder(self, vfid, actor, known.content, known.generation)

    async def folders(self) -> Sequence[VFolderId]:
        prefix = self.settings.container_prefix
        found: list[VFolderId] = []
        for name, metadata in await self._containers(prefix):
            folder = folder_of(prefix, name)
            if folder is None or GENERATION not in metadata:
                continue
            scope = metadata.get(SCOPE, "")
            try:
                found.append(VFolderId(QuotaScopeId.parse(scope) if scope else None, folder))
            except InvalidArgument:
                continue
        return found

    async def _containers(self, prefix: str) -> Sequence[tuple[str, Mapping[str, str]]]:
        found: list[tuple[str, Mapping[str, str]]] = []
        marker = ""
        while True:
            query = {"comp": "list", "include": "metadata", "prefix": prefix}
            if marker:
                query["marker"] = marker
            try:
                answer = await self.transport.request("GET", "", query)
            except Refused as refused:
                raise StorageFailure(f"the containers cannot be listed: {refused}") from None
            page, marker = await self.calls.run(parse_containers, answer.body)
            found.extend(page)
            if not marker:
                return found

    async def share_access(self, vfid: VFolderId, write: bool, expires: float, address: str | None) -> SharedAccess:
        with faults(self.name, vfid):
            container = (await self.known(vfid)).content
        token = self.transport.credential.container_sas(container.name, write, expires, address)
        return SharedAccess(f"{self.settings.url}/{container.name}", token, expires)

    # --- scopes

    def _scope(self, scope: QuotaScopeId) -> Container:
        mark = f"{self.settings.container_prefix}{SCOPE_MARK}{scope.kind.value[0]}{scope.uuid.hex}"
        return Container(self.transport, mark)

    async def _make_scope(self, scope: QuotaScopeId) -> bool:
        """Make the place of a scope: an empty container of its own. Whether it was not there."""
        try:
            await self._scope(scope).create({SCOPE: str(scope)})
        except Refused as refused:
            if refused.status == 409:
                return False
            raise
        return True

    async def create_scope(self, scope: QuotaScopeId) -> None:
        with faults(self.name, VFolderId(scope, scope.uuid)):
            if not await self._make_scope(scope):
                raise QuotaScopeExists(scope)

    async def has_scope(self, scope: QuotaScopeId) -> bool:
        try:
            await self._scope(scope).properties()
        except Refused as refused:
            if refused.status == 404:
                return False
            raise StorageFailure(f"the storage answered {refused}") from None
        return True


@implementer(IVolumeFactory)
class AzureBlobVolumeFactory:
    """Makes volumes on storage accounts."""

    name = "azureblob"
    summary = "Azure Blob Storage: a container per vfolder"

    def configure(self, name: str, settings: Mapping[str, Any], runtime: Runtime) -> IVolume:
        return AzureBlobVolume(name, AzureBlobSettings.model_validate(settings), runtime)

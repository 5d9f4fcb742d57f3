"""The volume on a share of an SMB server, and the plugin that makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from zope.interface import implementer

from vfgateway.abilities import IAdoption, IDescriptions, IRemoteMount
from vfgateway.backends.smb import descriptions, trash, wire
from vfgateway.backends.smb.adoption import Adoption
from vfgateway.backends.smb.facts import Shown
from vfgateway.backends.smb.faults import LoginRefused, Lost, Refused, RefusedByStorage, faults, translate
from vfgateway.backends.smb.folder import SmbFolder
from vfgateway.backends.smb.gates import Gates
from vfgateway.backends.smb.layout import Layout
from vfgateway.backends.smb.link import Driver, Login, Server
from vfgateway.backends.smb.links import Links
from vfgateway.backends.smb.names import Place, SmbNames
from vfgateway.backends.smb.settings import LoginSettings, SmbSettings
from vfgateway.backends.smb.share import Share
from vfgateway.backends.smb.tree import Tree
from vfgateway.errors import ConfigurationError, StorageFailure, VolumeUnavailable
from vfgateway.interfaces import IFolder, IVolume, IVolumeFactory
from vfgateway.model import Actor, FolderOptions, Health, HealthState, QuotaScopeId, RemoteMount, Space, VFolderId
from vfgateway.uninterrupted import whole

if TYPE_CHECKING:
    from vfgateway.runtime import Runtime

_log = Logger()


@implementer(IVolume, IAdoption, IDescriptions, IRemoteMount)
class SmbVolume:
    """A directory of a share.

    :param make_driver: makes a connection
    :ivar cleaned: fires when what crashes left has been cleared away, after each start
    """

    cleaned: Deferred[None]

    backend = "smb"

    def __init__(
        self, name: str, settings: SmbSettings, runtime: Runtime, make_driver: Callable[[Server, Login], Driver]
    ) -> None:
        self.name = name
        self.path = f"smb://{settings.server}:{settings.port}/{settings.share}/{settings.path}".replace("\\", "/")
        self.names = SmbNames()
        self.shared = settings.shared
        self._settings = settings
        self._clock = runtime.reactor
        self._layout = Layout(settings.path)
        self._adoption = Adoption(self._layout, self.names, settings.adoptable)
        self._shown = Shown(settings.file_mode, settings.dir_mode)
        self._gates = Gates(runtime.reactor)
        self._make_driver = make_driver
        self._server = Server(settings.server, settings.port, settings.share, settings.encrypt, settings.timeout)
        self._service = self._share_as(settings, personal=False)
        self._users = {name: self._share_as(login, personal=True) for name, login in settings.users.items()}
        self._started = False

    def _share_as(self, settings: LoginSettings, personal: bool) -> Share:
        domain, _, username = settings.username.rpartition("\\")
        login = Login(username, lambda: self._password(settings), domain)
        links = Links(
            self.name, self._clock, lambda: self._make_driver(self._server, login), self._settings.connections
        )
        return Share(links, f"//{self._server.host}/{self._server.share}", personal)

    def _password(self, settings: LoginSettings) -> str:
        try:
            return settings.password.load()[0]
        except ConfigurationError as error:
            _log.warn("volume {name}: {error}", name=self.name, error=str(error))
            raise LoginRefused(f"the password of {settings.username} cannot be read") from None

    # --- life

    @whole
    async def start(self) -> None:
        if self._started:
            return
        for share in (self._service, *self._users.values()):
            share.links.start()
        with faults(self.name):
            folds = await self._layout.prepare(self._service, self.name)
        self.names = SmbNames(case_folding=folds)
        self._adoption = Adoption(self._layout, self.names, self._settings.adoptable)
        self._started = True
        self.cleaned = ensureDeferred(self._clean_up())

    async def _clean_up(self) -> None:
        """Finish removals that a crash interrupted, in the background."""
        try:
            for scope in await self._layout.scopes(self._service):
                await trash.empty(self._service, self._layout.trash(scope), self._clock.seconds())
        except (Refused, Lost) as error:
            _log.warn("volume {name}: leftovers could not be removed: {error}", name=self.name, error=str(error))

    async def stop(self) -> None:
        self._started = False
        for share in (self._service, *self._users.values()):
            await share.links.stop()

    async def health(self) -> Health:
        if not self._started:
            return Health(HealthState.UNAVAILABLE, "not started")
        try:
            await self._space()
            link = await self._service.links.names()
        except Refused as error:
            return Health(HealthState.UNAVAILABLE, str(translate(error)))
        except Lost as error:
            return Health(HealthState.UNAVAILABLE, str(error))
        return Health(HealthState.HEALTHY, metadata={"dialect": link.driver.dialect})

    async def _space(self) -> tuple[int, int]:
        return await self._service.space(self._settings.path)

    @whole
    async def space(self) -> Space:
        with faults(self.name):
            capacity, available = await self._space()
        return Space(capacity, capacity - available, available)

    # --- scopes and vfolders

    @whole
    async def create_scope(self, scope: QuotaScopeId) -> None:
        with faults(self.name, scope):
            await self._layout.make_scope(self._service, scope)

    @whole
    async def has_scope(self, scope: QuotaScopeId) -> bool:
        with faults(self.name, scope):
            return await self._layout.has_scope(self._service, scope)

    @whole
    async def create_folder(self, vfid: VFolderId, options: FolderOptions) -> None:
        with faults(self.name, vfid):
            await self._layout.make_root(self._service, vfid)

    @whole
    async def delete_folder(self, vfid: VFolderId) -> None:
        with faults(self.name, vfid):
            await self._remove_folder(vfid)
            await descriptions.forget(self._service, self._layout, vfid)

    async def _remove_folder(self, vfid: VFolderId) -> None:
        aside = f"{self._layout.trash(vfid.scope)}\\{vfid.folder.hex}-{uuid4().hex}"
        root = self._layout.root(vfid)
        if await self._service.find(root) is None or await self._adoption.forget(self._service, vfid):
            return
        await self._service.make_dir(self._layout.trash(vfid.scope), exist_ok=True)
        try:
            await self._service.rename(root, aside, replace=False, kind=wire.DIRECTORY_FILE)
        except Refused as error:
            if error.missing:
                return
            # Servers other than Samba do not move a directory in which somebody has a file open.
            if not await trash.remove_tree(self._service, root):
                raise StorageFailure("files of the vfolder are in use; it is removed when it is tried again") from error
        else:
            await trash.remove_tree(self._service, aside)
        await self._layout.drop_shards(self._service, vfid)

    @whole
    async def describe(self, vfid: VFolderId, text: bytes) -> None:
        with faults(self.name, vfid):
            await descriptions.describe(self._service, self._layout, vfid, text)

    @whole
    async def description(self, vfid: VFolderId) -> bytes | None:
        with faults(self.name, vfid):
            return await descriptions.description(self._service, self._layout, vfid)

    @whole
    async def adopt_folder(self, vfid: VFolderId, place: str) -> None:
        if not self._started:
            raise VolumeUnavailable(self.name, "it has not started, or was stopped")
        with faults(self.name, vfid):
            await self._adoption.adopt(self._service, vfid, place)

    def _share_for(self, actor: Actor) -> Share:
        own = None if actor.credential is None else self._users.get(actor.credential)
        if own is None and actor.credential is not None and self._settings.others == "refuse":
            raise RefusedByStorage(action="enter this vfolder", needed="a login of one's own on the storage")
        return own or self._service

    async def folder(self, vfid: VFolderId, actor: Actor) -> IFolder:
        if not self._started:
            raise VolumeUnavailable(self.name, "it has not started, or was stopped")
        share = self._share_for(actor)
        with faults(self.name, vfid):
            adopted = await self._adoption.target(self._service, vfid)
        tree = Tree(
            self.name,
            vfid,
            share,
            Place(adopted or self._layout.root(vfid), self.names),
            self._layout.trash(vfid.scope),
            self._gates,
            self._shown,
            self._settings.durability == "sync",
        )
        await tree.check()
        return SmbFolder(tree, self._clock)

    async def remote_mount(self, vfid: VFolderId) -> RemoteMount:
        await self.folder(vfid, Actor())
        with faults(self.name, vfid):
            place = await self._adoption.target(self._service, vfid) or self._layout.root(vfid)
        settings = self._settings
        options = ["seal"] if settings.encrypt else []
        if settings.port != 445:
            options.append(f"port={settings.port}")
        source = f"//{settings.server}/{settings.share}"
        return RemoteMount("cifs", source, ",".join(options), self.name, place.replace("\\", "/"))

    @whole
    async def folders(self) -> Sequence[VFolderId]:
        with faults(self.name):
            return await self._layout.all(self._service, files=bool(self._settings.adoptable))


@implementer(IVolumeFactory)
class SmbVolumeFactory:
    """Makes volumes on shares of SMB servers."""

    name = "smb"
    summary = "a share of Windows, Samba, a NAS or Azure Files, without mounting it"

    def configure(self, name: str, settings: Mapping[str, Any], runtime: Runtime) -> IVolume:
        checked = SmbSettings.model_validate(settings)

        return SmbVolume(name, checked, runtime, driver(checked.driver, runtime))


def driver(name: str, runtime: Runtime) -> Callable[[Server, Login], Driver]:
    """What makes connections; loads the library. ``ConfigurationError`` where that is not installed."""
    try:
        if name == "pysmb":
            from vfgateway.backends.smb.driver_pysmb import PysmbDriver

            return lambda server, login: PysmbDriver(server, login, runtime.reactor)
        from vfgateway.backends.smb.driver_smbprotocol import SmbprotocolDriver
    except ImportError as error:
        raise ConfigurationError("driver", f"it needs {error.name}: install vfgateway[smb]") from None
    return lambda server, login: SmbprotocolDriver(server, login, runtime.reactor, runtime.pool)

"""The gateway: all services of one process, made and started in a stated order. Front ends are handed this object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from twisted.logger import Logger, globalLogPublisher
from twisted.web.client import Agent, HTTPConnectionPool

from vfgateway import logs
from vfgateway.blocking import Pool
from vfgateway.config import Settings
from vfgateway.datadir import InUse
from vfgateway.errors import Unsupported, VFolderNotFound
from vfgateway.interfaces import IAuthenticator, IRunning, IVolume
from vfgateway.loki import Loki
from vfgateway.model import Actor, VFolder, VFolderId
from vfgateway.principals import INTERNAL, Origin, Principal, PrincipalKind
from vfgateway.runtime import Runtime
from vfgateway.services.accounts import Accounts
from vfgateway.services.alerts import Alerts
from vfgateway.services.audit import Audit
from vfgateway.services.authentication import Authentication
from vfgateway.services.changes import Changes
from vfgateway.services.claims import Claims
from vfgateway.services.cloning import Cloning
from vfgateway.services.collaboration import Collaboration
from vfgateway.services.creations import Creations
from vfgateway.services.database import Database
from vfgateway.services.descriptions import Descriptions
from vfgateway.services.events import Events
from vfgateway.services.filetrash import FileTrash
from vfgateway.services.foldercounts import FolderCounts
from vfgateway.services.lifecycle import Lifecycle
from vfgateway.services.localcopies import LocalCopies
from vfgateway.services.lockouts import Lockouts
from vfgateway.services.locks import Locks
from vfgateway.services.loglevels import LogLevels
from vfgateway.services.metrics import Metrics
from vfgateway.services.migrations import upgrade
from vfgateway.services.nativelimits import Reconciliation
from vfgateway.services.notifications import Notifications
from vfgateway.services.processes import Processes
from vfgateway.services.properties import Properties
from vfgateway.services.provisioning import Provisioning
from vfgateway.services.quota import Quota
from vfgateway.services.rebuilding import Rebuilding
from vfgateway.services.relocation import Relocation
from vfgateway.services.retention import Retention
from vfgateway.services.revocations import Revocations
from vfgateway.services.scanning import Scans
from vfgateway.services.secondfactor import SecondFactors
from vfgateway.services.session import Session
from vfgateway.services.sharelinks import ShareLinks
from vfgateway.services.snapshots import Snapshots
from vfgateway.services.snapshotschedules import SnapshotSchedules
from vfgateway.services.staging import Staging
from vfgateway.services.standing import Standings
from vfgateway.services.state import DatabaseState
from vfgateway.services.tasks import Tasks
from vfgateway.services.tokens import Tokens
from vfgateway.services.trash import Trash
from vfgateway.services.vfolders import VFolders
from vfgateway.services.volumes import Volumes
from vfgateway.services.websessions import WebSessions
from vfgateway.services.writers import Writers

if TYPE_CHECKING:
    from vfgateway.services.redis_events import RedisEvents


class Gateway:
    """One process of the gateway.

    :param settings: the whole configuration; the tables of plugins are not looked at here
    :param reactor: network, time and threads
    :ivar running: whether requests can be answered
    :ivar succeeded: whether another process serves in the place of this one, which ends
    """

    log = Logger()

    def __init__(self, settings: Settings, reactor: Any) -> None:
        self.settings = settings
        self.reactor = reactor
        self.running = False
        self.succeeded = False
        self._tokens: Tokens | None = None
        self._in_use = InUse(settings.gateway.data_dir)
        self._login_pool = Pool(reactor, 2, "logins")
        self._connections = HTTPConnectionPool(reactor)

        self.database = Database(settings.database_url, reactor)
        self.processes = Processes(self.database, reactor)
        self.metrics = Metrics()
        self.log_levels = LogLevels(DatabaseState(self.database, "log"), logs.LEVELS, reactor)
        loki = settings.log.loki
        self._loki = None if loki is None else Loki(loki, reactor, self.metrics.log_dropped)
        self._pushed = logs.told(self._loki)
        self.events = Events(reactor)
        self.audit = Audit(settings.audit, self.database, reactor, self.processes, self.events, self.metrics)
        self.volumes = Volumes(reactor)
        self.accounts = Accounts(self.database, reactor, self._login_pool)
        self.vfolders = VFolders(self.database, reactor)
        self.provisioning = Provisioning(self.database, reactor, self.accounts, self.find_vfolder)
        self.second_factors = SecondFactors(self.database, reactor)
        self.lockouts = Lockouts(self.database, reactor, self.events)
        self.authentication = Authentication(self.provisioning, self.second_factors, self.lockouts)
        self.creations = Creations(self.database, reactor)
        self.properties = Properties(self.database)
        self.locks = Locks(self.database, reactor, self.processes)
        self.changes = Changes(self.database, reactor, self.locks)
        self.quota = Quota(self.database, reactor, self.processes)
        self.claims = Claims(self.database, reactor, self.processes, self.locks, self.quota.flush)
        self.tasks = Tasks(self.database, reactor, self.processes, self.events, self.metrics)
        notifications = Notifications(settings.alerts, self.tasks, reactor, self.runtime_for("alerts").agent)
        self.alerts = Alerts(
            settings.alerts,
            self.database,
            reactor,
            self.processes,
            self.quota,
            self.events,
            self.tasks,
            self.metrics,
            notifications,
        )
        self.staging = Staging(self)
        self.writers = Writers(self)
        self.copies = LocalCopies(settings.gateway.data_dir / "spool" / "copies", reactor)
        self.standings = Standings(self)
        self.lifecycle = Lifecycle(self)
        self.cloning = Cloning(self)
        self.relocation = Relocation(self)
        self.trash = Trash(self, self.database, reactor, settings.gateway.trash_retention)
        self.file_trash = FileTrash(self, settings.gateway.trash_retention)
        self.collaboration = Collaboration(self)
        self.share_links = ShareLinks(self, self._login_pool)
        self.web_sessions = WebSessions(self.database, reactor)
        self.revocations = Revocations(self.database, reactor)
        self.retention = Retention(self)
        self.descriptions = Descriptions(self)
        self.rebuilding = Rebuilding(self)
        self.scans = Scans(self, settings.scans)
        self.snapshots = Snapshots(self)
        SnapshotSchedules(self, self.snapshots, settings.gateway.trash_retention)
        FolderCounts(self)
        Reconciliation(self, settings.scans.limits_every)
        self._orchestrator: RedisEvents | None = None

    # --- assembly ---

    def runtime_for(self, name: str) -> Runtime:
        """The outside world for the plugin instance ``name``."""

        def pool(size: int, inline: bool = False) -> Pool:
            return Pool(self.reactor, size, name, inline)

        return Runtime(
            reactor=self.reactor,
            pool=pool,
            agent=Agent(self.reactor, pool=self._connections),
            spool=self.data_dir / "spool" / name,
            state=DatabaseState(self.database, name),
        )

    def install(self, volumes: Sequence[IVolume], authenticators: Sequence[IAuthenticator]) -> None:
        """Take in what the configuration names, before :meth:`start`."""
        for volume in volumes:
            self.volumes.add(volume)
        self.authentication.authenticators.extend(authenticators)

    @property
    def _running_authenticators(self) -> list[IRunning]:
        return [each for each in self.authentication.authenticators if IRunning.providedBy(each)]

    @property
    def data_dir(self) -> Path:
        """Where database, keys and generated secrets lie."""
        return self.settings.gateway.data_dir

    @property
    def tokens(self) -> Tokens:
        """Mints and verifies the tokens of the client front end. ``Unsupported`` where that is not configured."""
        if self._tokens is None:
            raise Unsupported("tokens, since [frontends.client] is not configured")
        return self._tokens

    @tokens.setter
    def tokens(self, tokens: Tokens) -> None:
        self._tokens = tokens

    # --- life ---

    async def start(self) -> None:
        """Open the database, start the volumes and recover what a dead process left. Volumes that do not answer are retried later."""
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._in_use.take()
        if self._loki is not None:
            self._loki.start()
            globalLogPublisher.addObserver(self._pushed)
        await self.database.start(upgrade)
        await self.log_levels.start()
        self._login_pool.start()
        if self.settings.events.redis is not None:
            from vfgateway.services.redis_events import RedisEvents  # its library brings a reactor of its own choice

            self._orchestrator = RedisEvents.configured(self.settings.events.redis, self.events, self.reactor)
            self._orchestrator.start()
        await self.processes.start()
        for authenticator in self._running_authenticators:
            await authenticator.start()
        await self.volumes.start()
        await self.lifecycle.recover()
        self.processes.watch(self.lifecycle.recover)
        self.alerts.start()
        self.audit.start()
        await self.tasks.resume()
        await self.staging.start()
        self.standings.start()
        self.retention.start()
        self.descriptions.start()
        self.running = True

    async def stop(self) -> None:
        """Stop in the opposite order; what is under way ends or is left resumable. Safe after a start that failed."""
        self.running = False
        uploads = (
            self.descriptions,
            self.retention,
            self.claims,
            self.standings,
            self.staging,
            self.copies,
            self.writers,
        )
        services = (*uploads, self.alerts, self.tasks, self.volumes, self.quota, self.audit, self.processes)
        parts: Sequence[Any] = (*services, *self._running_authenticators)
        for part in parts:
            try:
                await part.stop()
            except Exception:
                self.log.failure("could not stop {part} cleanly", part=type(part).__name__)
        if self._orchestrator is not None:
            await self._orchestrator.stop()
        await self.log_levels.stop()
        await self._connections.closeCachedConnections()
        await self._login_pool.stop()
        await self.database.stop()
        self._in_use.release()
        self.events.flush()
        if self._loki is not None:
            await self._loki.stop()
            globalLogPublisher.removeObserver(self._pushed)

    # --- what front ends ask for ---

    def session(self, principal: Principal, origin: Origin) -> Session:
        """The hands of ``principal``."""
        return Session(self, principal, origin)

    async def authenticate(self, credentials: Any, origin: Origin = INTERNAL) -> Principal:
        """See :meth:`vfgateway.services.authentication.Authentication.authenticate`."""
        return await self.authentication.authenticate(credentials, origin)

    async def principal_named(self, name: str) -> Principal:
        """The principal of a user whose identity a front end has established. ``AuthenticationFailed``, ``AuthenticatorUnavailable``."""
        return await self.provisioning.confirm(await self.accounts.principal_named(name))

    async def current(self, principal: Principal) -> Principal:
        """The same principal as it is now: in the groups that it is in now, and with no more rights than it had when it came in.
        ``AuthenticationFailed`` if it may not act any more, or what it came with was taken back; ``AuthenticatorUnavailable``."""
        await self.revocations.check(principal.credential)
        if principal.kind is not PrincipalKind.USER or principal.user_id is None:
            return principal
        await self.provisioning.confirm(principal)
        now = await self.accounts.principal_of(principal.user_id)
        return attrs.evolve(
            principal,
            groups=now.groups,
            administered_groups=now.administered_groups,
            administrator=principal.administrator and now.administrator,
        )

    async def find_vfolder(self, vfid: VFolderId, volume: str | None = None) -> VFolder:
        """A vfolder by identifier. One that lies on ``volume`` with the right layout and is unknown to the registry is adopted;
        one that lay there before it moved is found where it is.
        ``VFolderNotFound``, ``UnknownVolume``, ``VolumeUnavailable``."""
        try:
            return await self.vfolders.get(vfid, volume)
        except VFolderNotFound:
            if volume is None:
                raise
            moved = await self.relocation.find(volume, vfid)
            if moved is not None:
                return moved
            await self.volumes.get(volume).folder(vfid, Actor())
            return await self.lifecycle.adopt(volume, vfid)

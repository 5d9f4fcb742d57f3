"""Scans: what the storage holds beside what the registry and the ledger say, looked at in the background and put right if asked for.

Jobs write through mounts, and files come and go by hand: no figure of ours is right for ever. A scan walks every vfolder in small steps,
remembers after each few how far it has come, and goes on from there after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import Connection
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.logger import Logger

from vfgateway.abilities import IFastUsage, ILayout, IResumableStaging
from vfgateway.errors import GatewayError, VFolderNotFound
from vfgateway.interfaces import IVolume
from vfgateway.model import Actor, Usage, VFolder, VFolderId, VFolderStatus
from vfgateway.scan_settings import ScanSettings
from vfgateway.services import nativelimits, trees
from vfgateway.services import scanrecords as records
from vfgateway.services.folderusage import folded
from vfgateway.services.processes import wait
from vfgateway.services.scanrecords import Finding, FindingKind, Scan
from vfgateway.services.tasks import RunningTask
from vfgateway.treeusage import TreeUsage

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: Times that a vfolder is counted again since somebody wrote meanwhile; then writers are held off, or it is left for another scan.
COUNTS = 3
#: Vfolders after which the progress is written down.
STEP = 16
#: Seconds between looks whether a scan of everything is due, and from the start to the first.
LOOK, FIRST = 600.0, 60.0


class Scans:
    """All scans, and those that run in this process."""

    log = Logger()

    def __init__(self, gateway: Gateway, settings: ScanSettings) -> None:
        self._gateway = gateway
        self._settings = settings
        gateway.tasks.register("scan", self._scan_task)
        if settings.every:
            gateway.tasks.schedule.add("scan", min(settings.every, LOOK), first=FIRST, is_due=self._is_due)

    async def _is_due(self) -> bool:
        last = await self._gateway.database.read(records.last_of_everything)
        now: float = self._gateway.reactor.seconds()
        return last is None or not last <= now < last + self._settings.every

    # --- for callers ---

    async def start(self, volume: str | None = None, vfolder: VFolder | None = None, fix: bool = False) -> str:
        """Begin a scan of everything, of a volume or of a vfolder; its identifier, which is its task's too. ``UnknownVolume``.

        :param fix: put right what can be; otherwise nothing is changed
        """
        if vfolder is not None:
            volume = vfolder.volume
        if volume is not None:
            self._gateway.volumes.get(volume)
        arguments = {"volume": volume, "vfid": str(vfolder.id) if vfolder is not None else None, "fix": fix}
        return await self._gateway.tasks.start("scan", arguments)

    async def list(self) -> Sequence[tuple[Scan, int]]:
        """The scans that are remembered, the newest first, each with the number of its findings."""
        return await self._gateway.database.read(records.some)

    async def report(self, scan_id: str) -> tuple[Scan, Sequence[Finding]] | None:
        """A scan with all it found; ``None`` if it is not remembered, or has not begun."""

        def read(connection: Connection) -> tuple[Scan, Sequence[Finding]] | None:
            scan = records.get(connection, scan_id)
            return (scan, records.found(connection, scan_id)) if scan is not None else None

        return await self._gateway.database.read(read)

    # --- the task ---

    async def _scan_task(
        self, task: RunningTask, volume: str | None = None, vfid: str | None = None, fix: bool = False
    ) -> None:
        database = self._gateway.database
        fresh = Scan(task.id, volume, vfid, fix, self._gateway.reactor.seconds())
        await database.write(lambda connection: records.add(connection, fresh))
        scan = await database.read(lambda connection: records.get(connection, task.id)) or fresh
        chosen = [each for each in await self._gateway.vfolders.list() if _is_chosen(each, volume, vfid)]
        left = sorted((each for each in chosen if each.key > scan.cursor), key=lambda each: each.key)
        if scan.cursor == 0 and vfid is None:
            scan = await self._note(scan, await self._compare(volume, fix))
        for first in range(0, len(left), STEP):
            step = left[first : first + STEP]
            outcomes = await self._look_at_all(task, step, scan, len(chosen))
            counted = sum((outcome.counted for outcome in outcomes), Usage())
            scan = attrs.evolve(
                scan,
                cursor=step[-1].key,
                checked_vfolders=scan.checked_vfolders + len(step),
                checked_bytes=scan.checked_bytes + counted.bytes,
                checked_files=scan.checked_files + counted.files,
            )
            scan = await self._note(scan, [found for outcome in outcomes for found in outcome.findings])
            await task.progress(scan.checked_vfolders, len(chosen), _in_short(scan))
        await self._note(attrs.evolve(scan, finished=self._gateway.reactor.seconds()), ())

    async def _note(self, scan: Scan, findings: Sequence[Finding]) -> Scan:
        for finding in findings:
            self.log.warn(
                "scan: {kind} in {vfid} on {volume}: {detail}",
                kind=finding.kind.value,
                vfid=finding.vfid,
                volume=finding.volume,
                detail=finding.detail,
            )
        await self._gateway.database.write(lambda connection: records.advance(connection, scan, findings))
        return scan

    async def _look_at_all(
        self, task: RunningTask, vfolders: Sequence[VFolder], scan: Scan, total: int
    ) -> Sequence[Outcome]:
        """Look at some vfolders, so many at a time as is configured."""
        waiting = list(reversed(vfolders))
        outcomes: list[Outcome] = []
        seen = scan.checked_files

        async def tell(count: int) -> None:
            nonlocal seen
            seen += count
            await task.progress(scan.checked_vfolders + len(outcomes), total, f"{seen:,} files and directories")

        async def work() -> None:
            while waiting:
                outcomes.append(await self._look_at(waiting.pop(), scan.fix, tell))

        try:
            await gatherResults(
                [Deferred.fromCoroutine(work()) for _ in range(self._settings.at_once)], consumeErrors=True
            )
        except FirstError as error:
            error.subFailure.raiseException()
        return outcomes

    # --- one vfolder ---

    async def _look_at(self, vfolder: VFolder, fix: bool, tell: trees.type_progress) -> Outcome:
        if vfolder.status is not VFolderStatus.READY:
            return Outcome()
        find = _Findings(vfolder.volume, str(vfolder.id))
        try:
            volume = self._gateway.volumes.of(vfolder)
            usage = await self._count(vfolder, volume, find, fix, tell)
            leftovers = await self._gateway.staging.leftovers(vfolder, remove=fix)
            if leftovers:
                find(FindingKind.LEFTOVERS, f"{leftovers} stages that belong to no upload", fix)
        except VFolderNotFound:
            find(FindingKind.MISSING, "the vfolder is registered, but its folder is not there: is everything mounted?")
            return Outcome(find.all)
        except GatewayError as error:
            find(FindingKind.UNREADABLE, str(error))
            return Outcome(find.all)
        return Outcome(find.all, usage)

    async def _count(
        self, vfolder: VFolder, volume: IVolume, find: _Findings, fix: bool, tell: trees.type_progress
    ) -> Usage:
        """Count without holding anybody off; what is counted while nobody wrote is compared."""
        quota = self._gateway.quota
        for _ in range(COUNTS):
            before, shares = await quota.settled(vfolder), await quota.folders(vfolder)
            found = await self._measure(vfolder, volume, tell)
            counted = found.total if isinstance(found, TreeUsage) else found
            if await quota.settled(vfolder) == before:
                break
        else:
            return counted  # somebody writes all the time; what they write is charged as it comes
        if counted != before:
            what = f"charged {before.bytes} bytes in {before.files} entries, found {counted.bytes} in {counted.files}"
            if fix:
                counted = await self._gateway.lifecycle.recount(vfolder)
            find(FindingKind.DRIFT, what, fix)
        elif fix and isinstance(found, TreeUsage):
            await quota.set_folders(vfolder, shares, found)
        return counted

    async def _measure(self, vfolder: VFolder, volume: IVolume, tell: trees.type_progress) -> Usage | TreeUsage:
        folder = await volume.folder(vfolder.id, Actor())
        staged = IResumableStaging.providedBy(folder) and await folder.stages()
        if IFastUsage.providedBy(volume) and not staged:
            usage: Usage = await volume.fast_usage(vfolder.id)
            return usage
        progress = throttled(self._gateway.reactor, self._settings.rate, tell)
        return folded(await trees.measure_by_folder(folder, progress=progress), volume.names)

    # --- whole volumes ---

    async def _compare(self, only: str | None, fix: bool) -> Sequence[Finding]:
        """Folders that no vfolder is registered for, and what lies where only vfolders may."""
        findings: list[Finding] = []
        for name in [only] if only is not None else list(self._gateway.volumes):
            find = _Findings(name, "")
            try:
                volume = self._gateway.volumes.get(name)
                present = await volume.folders()
                for path in await volume.misplaced() if ILayout.providedBy(volume) else ():
                    find(FindingKind.MISPLACED, f"does not belong here: {path}")
                vfolders, quota = self._gateway.vfolders, self._gateway.quota
                for detail, fixed in await nativelimits.differences(name, volume, vfolders, quota, fix):
                    find(FindingKind.NATIVE, detail, fixed)
            except GatewayError as error:
                find(FindingKind.UNREADABLE, str(error))
            else:
                known = {vfolder.id for vfolder in await self._gateway.vfolders.list() if vfolder.volume == name}
                known |= await self._gateway.relocation.occupied(name)
                for vfid in present:
                    if vfid not in known:
                        await self._find_orphan(find, vfid, fix)
            findings += find.all
        return findings

    async def _find_orphan(self, find: _Findings, vfid: VFolderId, fix: bool) -> None:
        if fix:
            await self._gateway.find_vfolder(vfid, find.volume)  # which adopts it
        find(FindingKind.ORPHAN, "the folder is there, but no vfolder is registered for it", fix, vfid)


def throttled(clock: Any, rate: float, tell: trees.type_progress) -> trees.type_progress:
    """Tells of entries that are new, and lets a walk go on no faster than ``rate`` entries a second; 0: as fast as it can."""
    began, last = clock.seconds(), 0

    async def progress(count: int) -> None:
        nonlocal last
        new, last = count - last, count
        await tell(new)
        ahead = count / rate - (clock.seconds() - began) if rate else 0.0
        if ahead > 0:
            await wait(clock, ahead)

    return progress


@attrs.frozen
class Outcome:
    """What one vfolder's turn brought."""

    findings: Sequence[Finding] = ()
    counted: Usage = Usage()


class _Findings:
    """Collects what is found in one place."""

    def __init__(self, volume: str, vfid: str) -> None:
        self.volume = volume
        self._vfid = vfid
        self.all: list[Finding] = []

    def __call__(self, kind: FindingKind, detail: str, fixed: bool = False, vfid: VFolderId | None = None) -> None:
        self.all.append(Finding(kind, self.volume, str(vfid) if vfid is not None else self._vfid, detail, fixed))


def _is_chosen(vfolder: VFolder, volume: str | None, vfid: str | None) -> bool:
    return (volume is None or vfolder.volume == volume) and (vfid is None or str(vfolder.id) == vfid)


def _in_short(scan: Scan) -> str:
    return f"{scan.checked_files:,} files and directories"

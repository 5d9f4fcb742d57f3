"""Scans: what the storage holds beside what is on record."""

from __future__ import annotations

from typing import Any, Literal

from vfgateway.errors import UnknownAccount
from vfgateway.protocols.manager.faults import shown
from vfgateway.protocols.manager.fields import VolumeName
from vfgateway.protocols.manager.v1.things import FolderName, TaskStarted
from vfgateway.protocols.web.fields import Answer, Closed, Flag
from vfgateway.protocols.web.routing import Call, NoParameters, Reply, Routes
from vfgateway.services.gateway import Gateway
from vfgateway.services.scanrecords import Finding, Scan


class ScanOrder(Closed):
    """What to look at: a vfolder, a volume, or everything; and whether to put right what can be."""

    vfolder: FolderName | None = None
    volume: VolumeName | None = None
    fix: Flag = False


class ScanInfo(Answer):
    """A scan; its ``id`` is its task's too. ``null`` for ``volume`` and ``vfid`` is everything; times in epoch seconds."""

    id: str
    volume: str | None
    vfid: str | None
    fix: bool
    created: float
    finished: float | None
    checked_vfolders: int
    checked_bytes: int
    checked_files: int
    found: int


class ScanList(Answer):
    """Scans, the newest first."""

    scans: list[ScanInfo]


class FindingInfo(Answer):
    """What a scan found: the figure of a vfolder is wrong (``drift``), its folder is not there (``missing``), a folder that no vfolder is
    registered for (``orphan``), something that lies where only vfolders may (``misplaced``), the storage's own view of a quota scope that differs (``native``), stages that belong to no upload (``leftovers``), something that cannot be looked at (``unreadable``)."""

    kind: Literal["drift", "missing", "orphan", "leftovers", "misplaced", "native", "unreadable"]
    volume: str
    vfid: str
    detail: str
    fixed: bool


class ScanReport(ScanInfo):
    """A scan with all it found."""

    findings: list[FindingInfo]


class ScanRoutes(Routes):
    """Everything about scans."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="scans")
        self.add("POST", "/scans", self.start, ScanOrder, {202: TaskStarted}, 404, 409)
        self.add("GET", "/scans", self.list, NoParameters, {200: ScanList})
        self.add("GET", "/scans/{scan}", self.show, NoParameters, {200: ScanReport}, 404)

    async def start(self, call: Call, params: ScanOrder) -> Reply:
        """Begin a scan in the background; its task says how far it is."""
        vfolder = None if params.vfolder is None else await self.gateway.vfolders.resolve(params.vfolder)
        task = await self.gateway.scans.start(params.volume, vfolder, params.fix)
        self.gateway.audit.note(
            "scan_begun", params.vfolder or params.volume or "all volumes", fix=params.fix, task=task
        )
        return Reply(202, TaskStarted(task=task))

    async def list(self, call: Call, params: NoParameters) -> Reply:
        """List the scans that are remembered."""
        scans = await self.gateway.scans.list()
        return Reply(body=ScanList(scans=[ScanInfo(**_facts(scan, found)) for scan, found in scans]))

    async def show(self, call: Call, params: NoParameters) -> Reply:
        """Show a scan with all it found."""
        report = await self.gateway.scans.report(call.path["scan"])
        if report is None:
            raise UnknownAccount("scan", call.path["scan"])
        scan, findings = report
        return Reply(body=ScanReport(**_facts(scan, len(findings)), findings=[_finding(each) for each in findings]))


def _facts(scan: Scan, found: int) -> dict[str, Any]:
    names = ScanInfo.model_fields.keys() - {"found"}
    return {**{name: getattr(scan, name) for name in names}, "found": found}


def _finding(finding: Finding) -> FindingInfo:
    return FindingInfo(
        kind=finding.kind.value,
        volume=finding.volume,
        vfid=finding.vfid,
        detail=shown(finding.detail),
        fixed=finding.fixed,
    )

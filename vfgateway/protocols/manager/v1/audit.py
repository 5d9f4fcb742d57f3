"""Who did what, who was refused, and why."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import Field

from vfgateway.errors import UnknownAccount, VFolderNotFound
from vfgateway.protocols.manager.faults import shown
from vfgateway.protocols.web.fields import Answer, Closed
from vfgateway.protocols.web.routing import EVENT_STREAM, Call, Events, NoParameters, Reply, Routes, Source
from vfgateway.services.audit_explain import Explainer
from vfgateway.services.audit_records import Entry, Filter
from vfgateway.services.gateway import Gateway

#: Entries of the longest answer.
MOST = 10_000


class AuditFilter(Closed):
    """Which entries are wanted. ``since`` and ``until`` in epoch seconds; ``vfolder`` as everywhere; ``before`` is a number, for the page
    before the one that began with it; of all that fit, the latest ``limit``."""

    since: Annotated[float, Field(ge=0)] | None = None
    until: Annotated[float, Field(ge=0)] | None = None
    user: Annotated[str, Field(max_length=255)] | None = None
    address: Annotated[str, Field(max_length=64)] | None = None
    protocol: Annotated[str, Field(max_length=16)] | None = None
    event: Annotated[str, Field(max_length=32)] | None = None
    outcome: Literal["done", "refused"] | None = None
    vfolder: Annotated[str, Field(max_length=600)] | None = None
    before: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    limit: Annotated[int, Field(ge=1, le=MOST)] = 100


class AuditEntry(Answer):
    """One thing that was done or refused; times in epoch seconds. It stands for ``count`` alike, the latest of them at ``last``. ``decision``
    is what whoever was refused was told."""

    number: int
    at: float
    last: float
    count: int
    event: str
    outcome: Literal["done", "refused"]
    user: str
    address: str
    protocol: str
    request_id: str
    volume: str | None
    vfid: str | None
    target: str
    refuser: str | None
    decision: str | None
    facts: dict[str, Any]


class AuditList(Answer):
    """Entries, the oldest first."""

    entries: list[AuditEntry]


class ExplanationInfo(Answer):
    """Why somebody was refused: what said no then, how that stands now, and what would make it pass."""

    entry: AuditEntry
    because: list[str]
    now: list[str]
    remedy: list[str]


class AuditRoutes(Routes):
    """Everything about the audit."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="audit")
        self._explainer = Explainer(gateway)
        query = {"source": Source.QUERY}
        events = {200: Events(AuditEntry, ("entry",))}
        self.add("GET", "/audit", self.audit_list, AuditFilter, {200: AuditList}, 409, **query)
        self.add("GET", "/audit/events", self.audit_follow, AuditFilter, events, 409, **query)
        self.add("GET", "/decisions/{decision}", self.explain, NoParameters, {200: ExplanationInfo}, 404)

    async def audit_list(self, call: Call, params: AuditFilter) -> Reply:
        """List who did what and who was refused."""
        found = await self.gateway.audit.find(await self._filter(params), params.limit)
        return Reply(body=AuditList(entries=[_entry(each) for each in found]))

    async def audit_follow(self, call: Call, params: AuditFilter) -> None:
        """Tell the latest entries, and each new one of any process, until the caller goes away."""
        request = call.request
        wanted = await self._filter(params)
        request.setHeader("content-type", EVENT_STREAM)
        request.setHeader("cache-control", "no-store")
        request.write(b": the audit\n\n")
        async for entries in self.gateway.audit.follow(wanted, params.limit):
            lines = [f"event: entry\ndata: {json.dumps(_entry(each).model_dump())}\n\n" for each in entries]
            request.write("".join(lines).encode("ascii"))

    async def explain(self, call: Call, params: NoParameters) -> Reply:
        """Explain a refusal by the identifier that was told with it."""
        found = await self._explainer.explain(call.path["decision"])
        if found is None:
            raise UnknownAccount("decision", call.path["decision"])
        told = {name: [shown(line) for line in getattr(found, name)] for name in ("because", "now", "remedy")}
        return Reply(body=ExplanationInfo(entry=_entry(found.entry), **told))

    async def _filter(self, params: AuditFilter) -> Filter:
        vfid = params.vfolder
        if vfid is not None:
            with suppress(VFolderNotFound):  # one that is gone is asked for by its identifier
                vfid = str((await self.gateway.vfolders.resolve(vfid)).id)
        same = ("since", "until", "address", "protocol", "event", "outcome", "before")
        return Filter(who=params.user, vfid=vfid, **{name: getattr(params, name) for name in same})


def _entry(entry: Entry) -> AuditEntry:
    same = set(AuditEntry.model_fields) - {"user", "decision", "facts", "target"}
    return AuditEntry(
        user=shown(entry.who),
        decision=entry.id if entry.refuser is not None else None,
        target=shown(entry.target),
        facts={name: shown(value) if isinstance(value, str) else value for name, value in entry.facts.items()},
        **{name: getattr(entry, name) for name in same},
    )

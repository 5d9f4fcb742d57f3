"""What is known of an upload without touching its bytes, and how lists show it."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from vfgateway.model import Permission
from vfgateway.paths import FolderPath
from vfgateway.principals import PrincipalKind
from vfgateway.services.context import FolderContext
from vfgateway.services.uploads import UploadRow, UploadState


@attrs.frozen
class UploadInfo:
    """An upload as lists show it.

    :ivar principal: whose it is; ``None`` for the vfolder's own
    :ivar size: ``None`` until declared
    :ivar offset: bytes that are certainly there
    :ivar active: whether somebody is sending now
    """

    id: str
    vfolder: int
    principal: str | None
    target: FolderPath
    size: int | None
    offset: int
    state: UploadState
    created: float
    expires: float
    info: Mapping[str, str]
    active: bool


def info_of(row: UploadRow, active: bool) -> UploadInfo:
    """A row as lists show it."""
    facts = (row.id, row.vfolder, row.principal, row.target, row.size, row.mark, row.state)
    return UploadInfo(*facts, row.created, row.expires, row.info, active)


def may_continue(context: FolderContext, row: UploadRow) -> bool:
    """Whether it is the principal's, or the vfolder's and the principal may write there."""
    if row.principal is None:
        return context.access.permission >= Permission.RW
    trusted = context.principal.kind is PrincipalKind.ORCHESTRATOR
    return trusted or (context.principal.kind is PrincipalKind.USER and row.principal == context.principal_id)


class UploadFacts:
    """What the row says, as last read."""

    def __init__(self, row: UploadRow) -> None:
        self._row = row

    @property
    def row(self) -> UploadRow:
        """What the table said last."""
        return self._row

    @property
    def id(self) -> str:
        """32 hexadecimal digits: the stage's token."""
        return self._row.id

    @property
    def target(self) -> FolderPath:
        """Where it will be published."""
        return self._row.target

    @property
    def size(self) -> int | None:
        """Bytes declared; ``None`` until the client says."""
        return self._row.size

    @property
    def marked(self) -> int:
        """Bytes that are certainly durable."""
        return self._row.mark

    @property
    def expires(self) -> float:
        """Epoch seconds; each mark puts it off."""
        return self._row.expires

    @property
    def state(self) -> UploadState:
        """As last read."""
        return self._row.state

    @property
    def published(self) -> bool:
        """Whether the file is there."""
        return self._row.state is UploadState.PUBLISHED

    @property
    def partial(self) -> bool:
        """Whether it only serves to be joined with others."""
        return self._row.state is UploadState.PARTIAL

    @property
    def info(self) -> Mapping[str, str]:
        """What the protocol keeps with it."""
        return self._row.info

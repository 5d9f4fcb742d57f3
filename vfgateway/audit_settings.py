"""``[audit]``: how long it is remembered who did what, and who was refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vfgateway.section import Seconds, Section


class AuditSettings(Section):
    """``[audit]``.

    :ivar keep: seconds for which an entry is kept
    :ivar most: entries that are kept, whatever their age
    """

    keep: Seconds = 90 * 86400.0
    most: Annotated[int, Field(ge=1000)] = 1_000_000

"""``[scans]``: how often and how fast the gateway looks at what the storage holds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vfgateway.section import SecondsOrNone, Section


class ScanSettings(Section):
    """``[scans]``.

    :ivar every: seconds from one scan of everything to the next; 0: only when somebody asks
    :ivar rate: files and directories a second at which one vfolder is walked; 0: as fast as can be
    :ivar limits_every: seconds from one look at the limits that storage enforces by itself to the next; 0: only with scans
    :ivar at_once: vfolders that are walked at the same time
    """

    every: SecondsOrNone = 0.0
    rate: Annotated[int, Field(ge=0)] = 0
    limits_every: SecondsOrNone = 3600.0
    at_once: Annotated[int, Field(ge=1, le=64)] = 2

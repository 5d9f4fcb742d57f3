"""``[log]``: where the log goes, how it is written, and what is left out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from vfgateway.section import ConfigPath, Secret, Section

#: The levels, the loudest last.
type_level = Literal["debug", "info", "warn", "error", "critical"]
LEVELS: tuple[type_level, ...] = ("debug", "info", "warn", "error", "critical")


Url = Annotated[str, Field(pattern="^https?://[^/]+/?$")]
Label = Annotated[str, Field(pattern="^[a-zA-Z_][a-zA-Z0-9_]*$")]


class LokiSettings(Section):
    """``[log.loki]``.

    :ivar url: of Loki, without a path
    :ivar user: logs in with ``password``; not at all without it
    :ivar password: of ``user``
    :ivar tenant: sent as ``X-Scope-OrgID``
    :ivar labels: of every line, beside ``job``, ``host`` and ``level``
    :ivar queue: lines that wait, at most; older ones are dropped, and counted
    """

    url: Url
    user: str | None = None
    password: Secret = Secret()
    tenant: str | None = None
    labels: dict[Label, str] = Field(default_factory=dict)
    queue: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000


class LogSettings(Section):
    """``[log]``.

    :ivar file: by default the standard output
    :ivar format: ``auto``: text on a terminal, JSON elsewhere
    :ivar level: below it nothing is told
    :ivar levels: the same by namespace, which counts for all below it: ``"vfgateway.sftp" = "debug"``
    """

    file: ConfigPath | None = None
    format: Literal["auto", "text", "json"] = "auto"
    level: type_level = "info"
    levels: dict[str, type_level] = Field(default_factory=dict)
    loki: LokiSettings | None = None

    @field_validator("levels")
    @classmethod
    def _namespaces(cls, value: dict[str, type_level]) -> dict[str, type_level]:
        if "" in value:
            raise ValueError("a namespace is a name such as vfgateway.sftp; for all of them set log.level")
        return value

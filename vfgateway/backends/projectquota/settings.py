"""``[volumes.NAME]`` with ``backend = "xfs"`` or ``"ext4"``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from vfgateway.backends.vfs.settings import VfsSettings
from vfgateway.privileged.powers import USUAL_FIRST, USUAL_LAST
from vfgateway.section import ConfigPath


class ProjectQuotaSettings(VfsSettings):
    """A directory on a file system that was mounted with project quota; see :class:`vfgateway.backends.vfs.settings.VfsSettings`.

    :ivar helper: the socket of the process that does what only root may; not needed where the gateway itself runs as root
    :ivar projects_file: where administrators' tools find the directories of projects; written by the helper where there is one
    :ivar projid_file: and their names
    :ivar first_project: the first identifier that a vfolder may get
    :ivar last_project: the last
    """

    #: What they are called in the configuration.
    backends: ClassVar = ("xfs", "ext4")

    helper: ConfigPath = Path("/run/vfgateway/privileged.sock")
    projects_file: ConfigPath = Path("/etc/projects")
    projid_file: ConfigPath = Path("/etc/projid")
    first_project: int = Field(default=USUAL_FIRST, ge=1, le=USUAL_LAST)
    last_project: int = Field(default=USUAL_LAST, ge=1, le=USUAL_LAST)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first_project > self.last_project:
            raise ValueError("first_project is larger than last_project")
        return self

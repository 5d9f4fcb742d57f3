"""XFS in an image file, and the calls for project quota as a kernel without it would need them: identifiers are the file system's own there, limits
are kept here, and nobody enforces them. Where the kernel has them, the tests run in a virtual machine (:mod:`tests.support.vm`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from tests.support.disks import as_root, mounted
from vfgateway.backends.projectquota import volume
from vfgateway.privileged import projects

#: The smallest that mkfs.xfs makes.
SMALLEST = 300 << 20


@contextmanager
def xfs(folder: Path, options: str = "loop", size: int = SMALLEST) -> Iterator[Path]:
    """A mounted XFS with reflinks."""
    image = folder / "xfs.img"
    with image.open("wb") as file:
        os.truncate(file.fileno(), size)
    as_root("mkfs.xfs", "-q", "-f", "-K", "-m", "reflink=1", str(image))
    with mounted(folder / "xfs", "-o", options, str(image)) as place:
        yield place


@contextmanager
def ext4(folder: Path, options: str = "loop", size: int = 64 << 20) -> Iterator[Path]:
    """A mounted ext4, with all that project quota needs if ``options`` ask for it."""
    image = folder / "ext4.img"
    with image.open("wb") as file:
        os.truncate(file.fileno(), size)
    features = ("-O", "quota,project", "-E", "quotatype=prjquota") if "prjquota" in options else ()
    as_root("mkfs.ext4", "-q", "-F", "-m", "0", *features, str(image))
    with mounted(folder / "ext4", "-o", options, str(image)) as place:
        yield place


@attrs.define
class UnenforcedQuota:
    """Stands in for quotactl(2), and where ``has_projects`` is false for the file system's project identifiers, too."""

    has_projects: bool = True
    limits: dict[int, tuple[int, int]] = attrs.Factory(dict)
    given: dict[tuple[int, int], int] = attrs.Factory(dict)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Take the place of the calls."""
        patch.setattr(volume, "obey_limits", lambda: None)  # for ever, and for all other tests in this process
        patch.setattr(projects, "is_enforced", lambda descriptor: True)
        patch.setattr(projects, "set_limits", self._set_limits)
        patch.setattr(projects, "usage", self._usage)
        if not self.has_projects:
            patch.setattr(projects, "project_of", self._project_of)
            patch.setattr(projects, "set_project", self._set_project)

    def _set_limits(self, descriptor: int, project: int, size: int, files: int) -> None:
        self.limits[project] = (-(-size // projects.BLOCK) * projects.BLOCK, files)

    def _usage(self, descriptor: int, project: int) -> tuple[int, int, int, int]:
        return 0, 0, *self.limits.get(project, (0, 0))

    def _project_of(self, descriptor: int) -> int:
        found = os.fstat(descriptor)
        return self.given.get((found.st_dev, found.st_ino), 0)

    def _set_project(self, descriptor: int, project: int) -> None:
        found = os.fstat(descriptor)
        self.given[(found.st_dev, found.st_ino)] = project

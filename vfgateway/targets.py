"""What a change may find where it wants to go: the one rule of all storage, asked in the moment of the change."""

from __future__ import annotations

from typing import Protocol

from vfgateway.errors import AlreadyExists, IsADirectory, NotADirectory, PreconditionFailed
from vfgateway.model import Expect
from vfgateway.paths import FolderPath


class Found(Protocol):
    """What stands there, as far as the rule needs it; a :class:`vfgateway.model.FileStat` is one."""

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""

    @property
    def identity(self) -> str:
        """As of :class:`vfgateway.model.FileStat`."""


def check_expected(there: Found | None, target: FolderPath, expect: Expect) -> None:
    """Refuse unless what stands at ``target`` is what was expected. ``AlreadyExists``, ``IsADirectory``, ``PreconditionFailed``."""
    if expect.absent and there is not None:
        raise AlreadyExists(target)
    if expect.identity is not None:
        if there is not None and there.is_dir:
            raise IsADirectory(target)
        if there is None or there.identity != expect.identity:
            raise PreconditionFailed(target)


def check_kind(directory: bool, there_is_dir: bool | None, target: FolderPath) -> None:
    """Refuse to put a file in a directory's place or a directory in a file's. ``IsADirectory``, ``NotADirectory``.

    :param there_is_dir: ``None`` if nothing is there
    """
    if there_is_dir is not None and there_is_dir != directory:
        raise (NotADirectory if directory else IsADirectory)(target)

"""``/etc/projects`` and ``/etc/projid``, which tell an administrator's tools (xfs_quota(8), repquota(8)) what a project is: kept in step, other people's
lines untouched. The truth is on the file system; these files are for reading.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

#: Separates the fields of both files, so it cannot be in a path or a name there.
_FIELDS: Final = ":"


class ProjectFiles:
    """See the module. Blocking; safe in several processes, by a lock beside the first file.

    :param projects: lines ``identifier:path``
    :param names: lines ``name:identifier``
    """

    def __init__(self, projects: Path, names: Path) -> None:
        self._projects = projects
        self._names = names

    def enter(self, project: int, place: str, name: str) -> None:
        """Add a project, or change where it is and what it is called. A place that a line cannot hold is left out."""
        if any(character in place + name for character in (_FIELDS, "\n", "\0")):
            self.strike(project)
            return
        with self._alone():
            self._change(self._projects, _first_is(project), f"{project}:{place}")
            self._change(self._names, _second_is(project), f"{name}:{project}")

    def strike(self, project: int) -> None:
        """Remove a project. No error if it is not there."""
        with self._alone():
            self._change(self._projects, _first_is(project))
            self._change(self._names, _second_is(project))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = self._projects.with_name(f".{self._projects.name}.vfgateway-lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @staticmethod
    def _change(file: Path, drops: Callable[[str], bool], line: str | None = None) -> None:
        """Write anew, whole or not at all, unless nothing changes."""
        try:
            before = file.read_text("utf-8", "surrogateescape").splitlines()
            mode = file.stat().st_mode & 0o777
        except FileNotFoundError:
            before, mode = [], 0o644
        after = [each for each in before if not drops(each)]
        if line is not None:
            after.append(line)
        if after == before:
            return
        draft = file.with_name(f".{file.name}.vfgateway-new")
        with suppress(FileNotFoundError):
            draft.unlink()
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as writing:
            os.fchmod(descriptor, mode)
            writing.write("".join(f"{each}\n" for each in after))
            writing.flush()
            os.fsync(descriptor)
        draft.replace(file)


def _first_is(project: int) -> Callable[[str], bool]:
    return lambda line: line.split(_FIELDS)[0].strip() == str(project)


def _second_is(project: int) -> Callable[[str], bool]:
    return lambda line: line.split(_FIELDS)[1:2] == [str(project)]

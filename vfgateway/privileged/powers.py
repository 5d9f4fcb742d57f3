"""What may be done with projects and subvolumes, and where: the helper's verbs. A gateway that runs as root does the same in its own process."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from vfgateway.privileged import btrfs, projects
from vfgateway.privileged.registry import ProjectFiles

#: Project identifiers that are ours to give, unless others are configured: administrators count from 1.
USUAL_FIRST: Final = 1 << 20
USUAL_LAST: Final = (1 << 31) - 1
#: The largest number of bytes or inodes that the kernel takes as a limit.
LARGEST: Final = 1 << 62

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}")

type_verb = Callable[..., Any]


class Refused(Exception):
    """The helper does not do this, whoever asks. The words are told to whoever asked."""


class Places:
    """The configured directories, below which all is that may be dealt with.

    :param tops: absolute
    """

    def __init__(self, tops: Sequence[str]) -> None:
        self._tops = [os.path.realpath(top) for top in tops]

    def checked(self, descriptor: int, itself: bool, same: Callable[[int, str], bool]) -> str:
        """The place of a directory, which is given as a descriptor of it. :class:`Refused`.

        :param itself: whether it may be a configured directory itself
        :param same: whether the descriptor is on the file system of a configured directory
        """
        found = os.fstat(descriptor)
        if not stat.S_ISDIR(found.st_mode):
            raise Refused("not a directory")
        place = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        for top in self._tops:
            inside = place.startswith(f"{top}/") or (itself and place == top)
            if inside and same(descriptor, top) and _is_at(found, place):
                return place
        raise Refused("not below a configured directory")


class ProjectPowers:
    """Blocking. What the kernel refuses is an ``OSError``.

    Every directory is given as a descriptor of it, and must be on the file system of a configured directory, and below that.

    :param tops: the configured directories, absolute
    :param first: the first project identifier that may be given, changed or looked at
    :param last: the last
    """

    def __init__(
        self, tops: Sequence[str], files: ProjectFiles, first: int = USUAL_FIRST, last: int = USUAL_LAST
    ) -> None:
        self._places = Places(tops)
        self._files = files
        self._first, self._last = first, last

    @property
    def verbs(self) -> Mapping[str, type_verb]:
        """By name; each takes a descriptor and what else is in the request."""
        return {
            "check": self.check,
            "set_project": self.set_project,
            "set_limits": self.set_limits,
            "usage": self.usage,
            "enter": self.enter,
            "strike": self.strike,
        }

    def check(self, descriptor: int) -> None:
        """Whether there is anything to be done on the file system of ``descriptor``, a configured directory or one below it."""
        self._check(descriptor, self._first, itself=True)
        projects.usage(descriptor, self._first)

    def set_project(self, descriptor: int, project: int, below: bool = False) -> None:
        """Put a directory into a project, so that what is made in it belongs there, too.

        :param below: also what is in it already
        """
        self._check(descriptor, project)
        if below:
            projects.set_project_below(descriptor, project)
        else:
            projects.set_project(descriptor, project)

    def set_limits(self, descriptor: int, project: int, size: int, files: int) -> None:
        """The most that a project may have on the file system of ``descriptor``; 0 is no limit."""
        self._check(descriptor, project)
        projects.set_limits(descriptor, project, _amount(size), _amount(files))

    def usage(self, descriptor: int, project: int) -> list[int]:
        """Bytes, inodes, and the most of both."""
        self._check(descriptor, project, itself=True)
        return list(projects.usage(descriptor, project))

    def enter(self, descriptor: int, project: int, name: str) -> None:
        """Write down for administrators where a project is."""
        place = self._check(descriptor, project)
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise Refused("not a name for a project")
        self._files.enter(project, place, name)

    def strike(self, descriptor: int, project: int) -> None:
        """A project is gone: lift its limits, and write down no more where it is.

        :param descriptor: of any directory on the file system
        """
        self._check(descriptor, project, itself=True)
        projects.set_limits(descriptor, project, 0, 0)
        self._files.strike(project)

    # --- checks

    def _check(self, descriptor: int, project: int, itself: bool = False) -> str:
        """The place of a directory. :class:`Refused`.

        :param itself: whether it may be a configured directory itself
        """
        if isinstance(project, bool) or not isinstance(project, int) or not self._first <= project <= self._last:
            raise Refused(f"only projects {self._first} to {self._last} may be changed")
        return self._places.checked(descriptor, itself, _on_same_device)


class SubvolumePowers:
    """Of a Btrfs volume, as :class:`ProjectPowers`."""

    def __init__(self, tops: Sequence[str]) -> None:
        self._places = Places(tops)

    @property
    def verbs(self) -> Mapping[str, type_verb]:
        """By name; each takes a descriptor and what else is in the request."""
        return {
            "enable_quota": self.enable_quota,
            "limit_subvolume": self.limit_subvolume,
            "destroy_subvolume": self.destroy_subvolume,
        }

    def enable_quota(self, descriptor: int) -> None:
        """Have the file system of a configured directory, or of one below it, count what each subvolume refers to."""
        self._places.checked(descriptor, True, _on_same_btrfs)
        btrfs.enable_quota(descriptor)

    def limit_subvolume(self, descriptor: int, size: int) -> None:
        """The most bytes that a subvolume may refer to; 0 is no limit."""
        self._places.checked(descriptor, False, _on_same_btrfs)
        _check_subvolume(os.fstat(descriptor))
        btrfs.set_limit(descriptor, _amount(size))

    def destroy_subvolume(self, descriptor: int, name: str) -> None:
        """Remove one, with all it holds.

        :param descriptor: of the directory that it lies in
        """
        self._places.checked(descriptor, True, _on_same_btrfs)
        if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\0" in name or len(name) > 255:
            raise Refused("not a name")
        _check_subvolume(os.stat(name, dir_fd=descriptor, follow_symlinks=False))
        btrfs.destroy(descriptor, name)


def _check_subvolume(found: os.stat_result) -> None:
    if found.st_ino != btrfs.ROOT_NUMBER or not stat.S_ISDIR(found.st_mode):
        raise Refused("not a subvolume")


def _on_same_device(descriptor: int, top: str) -> bool:
    return os.fstat(descriptor).st_dev == Path(top).stat().st_dev


def _on_same_btrfs(descriptor: int, top: str) -> bool:
    """Every subvolume has a device number of its own."""
    there = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return btrfs.file_system(descriptor) == btrfs.file_system(there)
    except OSError:
        return False
    finally:
        os.close(there)


def _is_at(found: os.stat_result, place: str) -> bool:
    """Whether the kernel's word for a place leads to it here, and not in another name space."""
    try:
        return os.path.samestat(found, Path(place).lstat())
    except (FileNotFoundError, NotADirectoryError):
        return False


def _amount(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST:
        raise Refused("not an amount")
    return value

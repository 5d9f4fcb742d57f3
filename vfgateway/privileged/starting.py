"""The helper as a child of a gateway that is started as root and goes on as somebody else: started before the privileges are gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import attrs
from zope.interface import Interface

from vfgateway.errors import ConfigurationError


@attrs.frozen
class Wanted:
    """What a volume needs a helper for; see ``python -m vfgateway.privileged --help``.

    :ivar below: the directory in which it may act
    """

    socket: Path
    below: Path
    projects: Path
    projid: Path
    first: int
    last: int


class IWantsHelper(Interface):
    """On volumes: a helper does what the gateway may not."""

    def helper_wanted() -> Wanted:
        """What it has to be started with. Not a coroutine."""


class Helpers:
    """The helpers that a configuration needs: one for each socket.

    :param volumes: all volumes; those that want none are passed over
    :param user: who we shall be
    """

    def __init__(self, volumes: Iterable[object], user: int) -> None:
        self._user = user
        self._wanted: dict[Path, list[Wanted]] = {}
        for volume in volumes:
            if IWantsHelper.providedBy(volume):
                wanted = volume.helper_wanted()
                self._wanted.setdefault(wanted.socket, []).append(wanted)
        self._lifelines: list[int] = []

    def start(self) -> None:
        """Start them. They end when this process does, however it ends. ``ConfigurationError``."""
        for socket, wanted in self._wanted.items():
            one = wanted[0]
            if any(attrs.evolve(each, below=one.below) != one for each in wanted):
                raise ConfigurationError("volumes", f"volumes that share the helper at {socket} differ in its settings")
            self._start(one, [each.below for each in wanted])

    def _start(self, wanted: Wanted, below: list[Path]) -> None:
        theirs, ours = os.pipe()
        command = [sys.executable, "-m", "vfgateway.privileged", f"--socket={wanted.socket}", f"--user={self._user}"]
        command += [f"--below={place}" for place in below]
        command += [f"--projects={wanted.projects}", f"--projid={wanted.projid}"]
        command += [f"--first={wanted.first}", f"--last={wanted.last}", f"--lifeline={theirs}"]
        try:
            subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs])
        except OSError as error:
            raise ConfigurationError("volumes", f"the privileged helper cannot be started: {error}") from error
        finally:
            os.close(theirs)
        self._lifelines.append(ours)

    def close(self) -> None:
        """Have them end."""
        while self._lifelines:
            os.close(self._lifelines.pop())

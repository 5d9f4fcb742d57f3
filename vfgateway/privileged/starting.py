"""The helper as a child of a gateway that is started as root and goes on as somebody else: started before the privileges are gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs
from twisted.logger import Logger
from zope.interface import Interface

from vfgateway.errors import ConfigurationError


@attrs.frozen
class Wanted:
    """What a volume needs a helper for; see ``python -m vfgateway.privileged --help``.

    :ivar below: the directory in which it may act
    :ivar settings: options beside that, by name, on which all who share it have to agree
    """

    socket: Path
    below: Path
    settings: Mapping[str, object] = {}


class IWantsHelper(Interface):
    """On volumes: a helper does what the gateway may not."""

    def helper_wanted() -> Wanted:
        """What it has to be started with. Not a coroutine."""


class Helpers:
    """The helpers that a configuration needs: one for each socket.

    :param volumes: all volumes; those that want none are passed over
    :param user: who we shall be
    """

    log = Logger()

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
            settings: dict[str, object] = {}
            for each in wanted:
                if any(settings.setdefault(name, value) != value for name, value in each.settings.items()):
                    raise ConfigurationError(
                        "volumes", f"volumes that share the helper at {socket} differ in its settings"
                    )
            self._start(socket, [each.below for each in wanted], settings)

    def tell_missing(self, volumes: Iterable[object]) -> None:
        """Say of which volumes, as a new configuration has them, no helper takes care: none can be started without being root again."""
        wanted = [volume.helper_wanted() for volume in volumes if IWantsHelper.providedBy(volume)]
        missing = [each for each in wanted if each not in self._wanted.get(each.socket, [])]
        for each in missing:
            self.log.error(
                "no privileged helper takes care of {place}: a reload cannot start one, since the gateway is not root any more; "
                "restart it, or run vfgateway-privileged.service with --socket={socket} and --below={place}",
                place=str(each.below),
                socket=str(each.socket),
            )

    def _start(self, socket: Path, below: Sequence[Path], settings: Mapping[str, object]) -> None:
        theirs, ours = os.pipe()
        command = [sys.executable, "-m", "vfgateway.privileged", f"--socket={socket}", f"--user={self._user}"]
        command += [f"--below={place}" for place in below]
        command += [f"--{name}={value}" for name, value in settings.items()]
        command += [f"--lifeline={theirs}"]
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

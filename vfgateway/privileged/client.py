"""The gateway's side of the socket. Blocking, for the threads of a volume's pool."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from vfgateway.errors import StorageFailure
from vfgateway.privileged import wire

#: Seconds for which a helper that is away is waited for, and between two attempts: the first, doubled each time.
PATIENCE: Final = 5.0
FIRST_PAUSE: Final = 0.05
#: Seconds for an answer, and for one that walks a tree.
ANSWER: Final = 30.0
WALK: Final = 24 * 3600.0


class HelperAway(StorageFailure):
    """The helper does not answer. What was asked for may be asked again: every verb can be repeated."""


class HelperRefuses(StorageFailure):
    """The helper does not do this for us: its configuration and ours differ."""


class Helper:
    """A connection to the helper, made when first used and again when it breaks. One call at a time; safe in any thread.

    What it does for us is told in :class:`vfgateway.privileged.powers.ProjectPowers` and beside it. All raise :class:`HelperAway`, :class:`HelperRefuses`, and
    ``OSError`` for what the kernel said to the helper.

    :param place: its Unix socket
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._turn = threading.Lock()
        self._connection: socket.socket | None = None
        self._impatient_until = 0.0

    def check(self, descriptor: int) -> None:
        """Whether it is there, and works on the file system of a directory. Waits for nobody."""
        self.ask("check", descriptor, away=0.0)

    def set_project(self, descriptor: int, project: int, below: bool = False) -> None:
        """Put a directory into a project."""
        if not below:
            self.ask("set_project", descriptor, project=project)
            return
        with closing(Helper(self.place)) as another:  # nobody else has to wait for a long walk
            another.ask("set_project", descriptor, answer=WALK, project=project, below=True)

    def set_limits(self, descriptor: int, project: int, size: int, files: int) -> None:
        """Limit a project."""
        self.ask("set_limits", descriptor, project=project, size=size, files=files)

    def usage(self, descriptor: int, project: int) -> list[int]:
        """What a project has, and may have."""
        found: list[int] = self.ask("usage", descriptor, project=project)
        return found

    def enable_quota(self, descriptor: int) -> None:
        """Have a Btrfs count for quota groups. Waits for nobody."""
        self.ask("enable_quota", descriptor, away=0.0)

    def limit_subvolume(self, descriptor: int, size: int) -> None:
        """Limit a subvolume."""
        self.ask("limit_subvolume", descriptor, size=size)

    def destroy_subvolume(self, descriptor: int, name: str) -> None:
        """Remove a subvolume from a directory. Waits for nobody: there is another way."""
        self.ask("destroy_subvolume", descriptor, away=0.0, name=name)

    def enter(self, descriptor: int, project: int, name: str) -> None:
        """Write down where a project is."""
        self.ask("enter", descriptor, project=project, name=name)

    def strike(self, descriptor: int, project: int) -> None:
        """Forget a project."""
        self.ask("strike", descriptor, project=project)

    # --- the connection

    def ask(
        self, verb: str, descriptor: int, *, answer: float = ANSWER, away: float = PATIENCE, **arguments: Any
    ) -> Any:
        """One call. While the helper is away it is tried again and again; after that, and for as long, only once a call.

        :param answer: seconds that it may take
        :param away: seconds that a helper which is away is waited for
        """
        request = {"verb": verb, **arguments}
        with self._turn:
            began, pause = time.monotonic(), FIRST_PAUSE
            until = began + (away if began >= self._impatient_until else 0.0)
            while True:
                kept = self._connection is not None
                try:
                    told = self._exchange(request, descriptor, answer)
                    break
                except OSError as error:
                    self.close()
                    if kept and not isinstance(error, TimeoutError):
                        continue  # that was with one that is gone; another may be there already
                    if time.monotonic() + pause > until:
                        self._impatient_until = time.monotonic() + away
                        raise HelperAway(_away(self.place, error)) from error
                time.sleep(pause)
                pause *= 2
            self._impatient_until = 0.0
        if "error" not in told:
            return told.get("result")
        if isinstance(told.get("errno"), int):
            raise OSError(told["errno"], os.strerror(told["errno"]))
        raise HelperRefuses(f"the privileged helper refuses: {told['error']}")

    def _exchange(self, request: dict[str, Any], descriptor: int, seconds: float) -> dict[str, Any]:
        if self._connection is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                connection.settimeout(ANSWER)
                connection.connect(str(self.place))
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        self._connection.settimeout(seconds)
        with suppress(BrokenPipeError):  # it may have said why before it closed
            wire.send(self._connection, request, [descriptor])
        try:
            answer = wire.receive(self._connection)
        except wire.Garbled as error:
            raise ConnectionError(str(error)) from None
        if answer is None:
            raise ConnectionError("it closed the connection")
        wire.close(answer[1])
        return answer[0]

    def close(self) -> None:
        """Close the connection; the next call makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _away(place: Path, error: OSError) -> str:
    return f"the privileged helper does not answer at {place} ({error.strerror or error}); see docs/filesystems.md"

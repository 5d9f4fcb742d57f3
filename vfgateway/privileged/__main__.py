"""``python -m vfgateway.privileged``: the helper process. Two processes: one that answers, and one that starts it again if it dies."""

from __future__ import annotations

import argparse
import os
import pwd
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from vfgateway.privileged.powers import USUAL_FIRST, USUAL_LAST, ProjectPowers, SubvolumePowers
from vfgateway.privileged.registry import ProjectFiles
from vfgateway.privileged.server import say, serve

#: Seconds before one that died is started again: the first time, doubled each time, and at most.
PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 10.0
#: Seconds that one has to live for its death to count as the first.
HEALTHY: Final = 10.0


def arguments(line: Sequence[str] | None = None) -> argparse.Namespace:
    """What it is told."""
    parser = argparse.ArgumentParser("vfgateway-privileged", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="where to listen")
    parser.add_argument(
        "--user", action="append", default=[], type=_user, help="who may ask, beside root; may be repeated"
    )
    parser.add_argument(
        "--below", action="append", default=[], metavar="DIRECTORY", help="where it may act; may be repeated"
    )
    parser.add_argument("--projects", type=Path, default=Path("/etc/projects"), help="see xfs_quota(8)")
    parser.add_argument("--projid", type=Path, default=Path("/etc/projid"), help="see xfs_quota(8)")
    parser.add_argument("--first", type=int, default=USUAL_FIRST, help="the first project that may be set")
    parser.add_argument("--last", type=int, default=USUAL_LAST, help="the last")
    parser.add_argument("--lifeline", type=int, help="a descriptor: the helper ends when the other side closes")
    return parser.parse_args(line)


def _user(name: str) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no user {name}") from None


def listen(place: Path) -> socket.socket:
    """Listen at ``place``, and nobody else from now on. Who asks is checked by the kernel's word, not by the socket's mode."""
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    listening.bind(str(draft))
    draft.chmod(0o666)
    listening.listen(64)
    draft.replace(place)
    return listening


def _outlive_nobody(lifeline: int) -> None:
    while os.read(lifeline, 1024):
        pass
    os._exit(0)


def main() -> None:
    """Entry point."""
    told = arguments()
    if told.lifeline is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the gateway, which takes us along at its end
    powers = ProjectPowers(told.below, ProjectFiles(told.projects, told.projid), told.first, told.last)
    listening = listen(told.socket)
    say(f"listening at {told.socket}")
    pause = PAUSE
    while True:
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if told.lifeline is not None:
                threading.Thread(target=_outlive_nobody, args=(told.lifeline,), daemon=True).start()
            serve(listening, told.user, {**powers.verbs, **SubvolumePowers(told.below).verbs})
        signal.signal(signal.SIGTERM, lambda *_, child=child: _end(child))
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            return  # whoever needed us is gone
        pause = PAUSE if time.monotonic() - began > HEALTHY else min(2 * pause, LONGEST_PAUSE)
        say(f"the answering process ended (status {status}); another comes in {pause} s")
        time.sleep(pause)


def _end(child: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGTERM)
    sys.exit(0)


if __name__ == "__main__":
    main()

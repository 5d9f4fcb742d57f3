"""``python -m vfgateway.worker``: one of several processes, started by :mod:`vfgateway.supervisor` and told by it what to do."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point."""
    if names := os.environ.get("LISTEN_FDNAMES"):  # a service manager's sockets are ours too, under the same numbers
        os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(names.count(":") + 1)}
    line = bytearray()
    while not line.endswith(b"\n"):  # by bytes: what comes after it is not for us
        piece = os.read(0, 1)
        if not piece:
            sys.exit("vfgateway.worker is started by vfgateway itself: set gateway.workers in the configuration")
        line += piece
    from vfgateway.tap import run_worker  # only now: it looks at the sockets of a service manager when it is imported

    run_worker(bytes(line))


if __name__ == "__main__":
    main()

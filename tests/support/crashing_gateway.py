"""Runs gateways that kill themselves: ``python -m tests.support.crashing_gateway DESCRIPTOR``; used by :mod:`tests.support.victim`.

This process imports what a gateway needs once and then forks one after the other, since a test of every step of an upload needs
dozens of starts. In the fork runs the real ``twistd`` with the real code. Only the calls that change something durable are
watched: when armed, the process kills itself by SIGKILL when it comes to the nth of them, in the middle of it if it writes.

Speaks JSON, a line each, over the socket ``DESCRIPTOR``. While a gateway lives it is the one who answers; when it has ended, this
process says ``{"ended": STATUS}``.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import stat
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

#: What takes long to import and does not install the reactor, which must not be shared between forks.
PRELOADED = (
    "alembic.command",
    "argon2",
    "jwt",
    "prometheus_client",
    "sqlalchemy.dialects.sqlite",
    "treq",
    "twisted.scripts.twistd",
    "twisted.web.client",
    "twisted.web.server",
    "vfgateway.assembly",
    "vfgateway.backends.vfs",
    "vfgateway.protocols.web.site",
    "vfgateway.services.accounts",
    "vfgateway.services.migrations",
    "vfgateway.services.quota",
    "vfgateway.services.session",
    "werkzeug.routing",
)
#: Functions of ``os`` that change what is on disk. Not ``fsync``: a process that dies takes nothing along that it wrote.
WATCHED = ("rename", "replace", "link", "unlink", "mkdir", "rmdir", "ftruncate", "pwrite")


type_function = Callable[..., Any]
type_wrapper = Callable[[type_function], type_function]


class Steps:
    """Counts what is done to the disk once armed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fatal: int | None = None
        self._passed: list[str] = []

    def arm(self, fatal: int) -> None:
        """Die at the step of this number, counted from 1; 0 is to count only."""
        with self._lock:
            self._fatal, self._passed = fatal, []

    def passed(self) -> Sequence[str]:
        """What was done since."""
        with self._lock:
            return list(self._passed)

    def is_fatal(self, name: str) -> bool:
        """Count a step; whether it is the one."""
        with self._lock:
            if self._fatal is None:
                return False
            self._passed.append(name)
            return len(self._passed) == self._fatal

    # --- what wraps the watched functions ---

    def before(self, name: str) -> type_wrapper:
        """Count calls as ``name``."""

        def wrap(real: type_function) -> type_function:
            def watched(*args: Any, **kwargs: Any) -> Any:
                if self.is_fatal(name):
                    die()
                return real(*args, **kwargs)

            return watched

        return wrap

    def writing(self, real: type_function) -> type_function:
        """Count ``pwritev``; the fatal one gets half of its bytes to the file."""

        def watched(descriptor: int, buffers: Sequence[Any], offset: int, flags: int = 0) -> Any:
            if stat.S_ISREG(os.fstat(descriptor).st_mode) and self.is_fatal("pwritev"):
                data = b"".join(map(bytes, buffers))
                real(descriptor, [data[: len(data) // 2]], offset, flags)
                die()
            return real(descriptor, buffers, offset, flags)

        return watched

    def creating(self, real: type_function) -> type_function:
        """Count ``open`` where it makes a file."""

        def watched(path: Any, flags: int, *args: Any, **kwargs: Any) -> Any:
            if flags & os.O_CREAT and self.is_fatal("create"):
                die()
            return real(path, flags, *args, **kwargs)

        return watched


def die() -> NoReturn:
    """What no code of ours gets to see."""
    os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(1)


def replace(owner: Any, name: str, wrapper: type_wrapper) -> None:
    """Put a wrapper around a function where everybody looks it up."""
    setattr(owner, name, wrapper(getattr(owner, name)))


def watch_everything(steps: Steps) -> None:
    """Hook in."""
    from vfgateway.backends.vfs import syscalls
    from vfgateway.services.database import Database

    for name in WATCHED:
        replace(os, name, steps.before(name))
    replace(os, "pwritev", steps.writing)
    replace(os, "open", steps.creating)
    replace(syscalls, "rename_no_replace", steps.before("rename"))
    replace(syscalls, "link_open", steps.before("link"))
    replace(syscalls, "allocate", steps.before("allocate"))
    replace(Database, "_commit", steps.before("commit"))


def pretend(boot_id: str | None, later: float) -> None:
    """Another boot of the machine, another time of day."""
    import attrs
    from twisted.internet import reactor

    from vfgateway.services import sweeping
    from vfgateway.services.processes import Machine

    if boot_id is not None:
        machine = attrs.evolve(Machine.here(), boot_id=boot_id)
        replace(Machine, "here", lambda _: lambda: machine)
    if later:
        replace(reactor, "seconds", lambda real: lambda: real() + later)
        vars(sweeping)["FIRST_WALK"] = 0.0  # who waits for days does not wait ten seconds more


def serve_the_gateway(control: socket.socket, steps: Steps) -> None:
    """Answer commands while the gateway runs; ends with the test."""
    with control.makefile("rw") as lines:
        for line in lines:
            command = json.loads(line)
            if "arm" in command:
                steps.arm(command["arm"])
            print(json.dumps({"steps": steps.passed()}), file=lines, flush=True)
    os._exit(1)


def run_gateway(control: socket.socket, start: dict[str, Any]) -> NoReturn:
    """In the fork: never returns."""
    with Path(start["output"]).open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(start["folder"])
    steps = Steps()
    watch_everything(steps)
    pretend(start["boot_id"], start["later"])
    threading.Thread(target=serve_the_gateway, args=(control, steps), daemon=True).start()

    from twisted.scripts.twistd import run

    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "vfgateway", "--config", start["config"]]
    status = 1
    try:
        run()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    """Start gateways, one at a time, until the test hangs up."""
    for name in PRELOADED:
        importlib.import_module(name)
    assert "twisted.internet.reactor" not in sys.modules, "the reactor would be shared"
    control = socket.socket(fileno=int(sys.argv[1]))
    lines = control.makefile("rw")
    while line := lines.readline():
        start = json.loads(line)
        if "config" not in start:  # meant for a gateway that had ended when it was said
            continue
        pid = os.fork()
        if pid == 0:
            run_gateway(control, start)
        print(json.dumps({"pid": pid}), file=lines, flush=True)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps({"ended": status}), file=lines, flush=True)


if __name__ == "__main__":
    main()

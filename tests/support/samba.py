"""A real Samba in a folder of its own, on a high port of the loopback; nothing of the machine's own configuration is read or written."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.support.process import eventually, free_port

PASSWORD = "correct horse battery staple"

_CONFIG = """
[global]
server role = standalone server
workgroup = TESTS
netbios name = TESTS
interfaces = lo
bind interfaces only = yes
smb ports = {port}
disable netbios = yes
passdb backend = smbpasswd:{folder}/smbpasswd
private dir = {folder}/private
lock directory = {folder}/lock
state directory = {folder}/state
cache directory = {folder}/cache
pid directory = {folder}/pid
ncalrpc dir = {folder}/ncalrpc
log file = {folder}/log/smbd.log
log level = 1
load printers = no
printcap name = /dev/null
disable spoolss = yes
restrict anonymous = 2
follow symlinks = no
{more}
[data]
path = {share}
read only = no
valid users = {user}
{options}
"""


class Samba:
    """One server with one share, ``data``. Ends with the ``with`` block.

    :param settings: further lines of ``[global]``
    :param options: further lines of the share
    :param share: the share's directory; by default a new one
    """

    user = pwd.getpwuid(os.getuid()).pw_name
    password = PASSWORD

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        share: Path | None = None,
    ) -> None:
        self.folder = folder
        self.share = share or folder / "share"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("private", "lock", "state", "cache", "pid", "ncalrpc", "log", "share"):
            (folder / name).mkdir(parents=True)
        (folder / "smbpasswd").touch(mode=0o600)
        self._config = folder / "smb.conf"
        self._config.write_text(
            _CONFIG.format(
                port=self.port,
                folder=folder,
                share=self.share,
                user=self.user,
                more=_lines(settings or {}),
                options=_lines(options or {}),
            )
        )

    def set_password(self, password: str, user: str | None = None) -> None:
        """Let the user, or another one that the machine has, in with this one from now on."""
        command = [self._tool("smbpasswd"), "-c", str(self._config), "-s", "-a", user or self.user]
        subprocess.run(command, input=f"{password}\n{password}\n".encode(), check=True, capture_output=True)

    def start(self) -> None:
        """Run it, as what it was."""
        log = (self.folder / "log" / "stderr").open("ab")
        # Not in a session of its own: it makes itself one, and fails where it cannot.
        self._process = subprocess.Popen(
            [self._tool("smbd"), "-F", "-s", str(self._config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        log.close()
        eventually(self._ready, f"Samba listens (see {self.folder}/log)")

    def _ready(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self._told()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _told(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in (self.folder / "log").iterdir())

    def kill(self) -> None:
        """End it with every connection, at once."""
        process, self._process = self._process, None
        if process is not None:
            for child in [*_descendants(process.pid), process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            process.wait()

    def drop_connections(self) -> None:
        """Reset every connection; the server itself goes on. Returns when their processes are gone."""
        assert self._process is not None
        children = [child for child in _descendants(self._process.pid) if self._serves(child)]
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        eventually(lambda: not any(map(self._serves, children)), "connections end")

    def _serves(self, process: int) -> bool:
        """Whether a process has a client: its sockets tell."""
        with contextlib.suppress(OSError):
            lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
            ours = {
                line.split()[9]
                for line in lines
                if line.split()[1].endswith(f":{self.port:04X}") and line.split()[3] == "01"
            }
            held = {str(link.readlink()) for link in Path(f"/proc/{process}/fd").iterdir()}
            return any(f"socket:[{inode}]" in held for inode in ours)
        return False

    def pause(self, stop: bool = True) -> None:
        """Have it answer nothing while its connections stand; with ``stop=False`` it goes on."""
        assert self._process is not None
        for child in [*_descendants(self._process.pid), self._process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGSTOP if stop else signal.SIGCONT)

    def settings(self, **more: Any) -> dict[str, Any]:
        """A table for a volume on it."""
        return {
            "server": "127.0.0.1",
            "port": self.port,
            "share": "data",
            "username": self.user,
            "password": self.password,
            **more,
        }

    @staticmethod
    def _tool(name: str) -> str:
        found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
        assert found, f"{name} is missing: install the Debian package samba"
        return found

    def __enter__(self) -> Self:
        self.set_password(self.password)
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()


def _lines(options: Mapping[str, str]) -> str:
    return "\n".join(f"{key} = {value}" for key, value in options.items())


def _descendants(parent: int) -> list[int]:
    """Processes below one, the youngest first."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{parent}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found = [*_descendants(child), child, *found]
    return found

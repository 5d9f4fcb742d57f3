"""rclone as a server: one program that serves a directory by any of several protocols."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

from benchmarks.peers.daemon import Daemon, program
from benchmarks.peers.passwords import write_passwords


class Rclone(Daemon):
    """``rclone serve``, without a configuration and otherwise as it comes.

    :param files: what it serves at ``/``
    :param login: name and password that it asks for
    :param cheap: keep the password as SHA-1, which costs it least; its manual names ``--user`` and ``--pass``, for which it computes MD5-crypt with each
        request, and recommends bcrypt for files
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        files: Path,
        protocol: Literal["http", "webdav"],
        login: tuple[str, str],
        cheap: bool = False,
    ) -> None:
        folder.mkdir(parents=True)
        command = program("rclone", Path(sys.executable).parent)
        options = ["--addr", f"127.0.0.1:{port}", "--config", "/dev/null", "--cache-dir", str(folder / "cache")]
        if cheap:
            write_passwords(folder / "passwords", login)
            options += ["--htpasswd", str(folder / "passwords")]
        else:
            options += ["--user", login[0], "--pass", login[1]]
        super().__init__(folder, port, [command, "serve", protocol, *options, str(files)])
        version = subprocess.run([command, "version"], capture_output=True, text=True, check=True).stdout
        self.title = f"rclone serve {protocol} {version.split()[1].lstrip('v')}" + ", SHA-1" * cheap

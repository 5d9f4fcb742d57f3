"""A gateway process that speaks SFTP, and unmodified clients for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.process import PATIENCE, Site, free_port

#: Options for every client of OpenSSH's.
OPTIONS = (
    "-oStrictHostKeyChecking=no",
    "-oUserKnownHostsFile=/dev/null",
    "-oIdentitiesOnly=yes",
    "-oLogLevel=ERROR",
    "-oBatchMode=yes",
    "-oControlMaster=no",
)


class SftpSite(Site):
    """A site with the SFTP front end.

    :param endpoint: with ``{port}``
    :param options: further keys of ``[frontends.sftp]``, as TOML writes their values
    :param gateway: further lines of ``[gateway]``
    """

    def __init__(
        self,
        folder: Path,
        volumes: Mapping[str, Mapping[str, object]] | None = None,
        *,
        endpoint: str = "tcp:{port}:interface=127.0.0.1",
        options: Mapping[str, str] | None = None,
        gateway: str = "",
        workers: int = 1,
    ) -> None:
        self.sftp_port = free_port()
        self._endpoint = endpoint.format(port=self.sftp_port)
        self._options = options or {}
        self._gateway = gateway
        super().__init__(folder, volumes, workers=workers)
        self.key = folder / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)

    def _configuration(self, volumes: Mapping[str, Mapping[str, object]]) -> str:
        text = super()._configuration(volumes)
        if self._gateway:
            text = text.replace("[gateway]\n", f"[gateway]\n{self._gateway}\n")
        lines = ["[frontends.sftp]", f'endpoint = "{self._endpoint}"']
        lines += [f"{key} = {value}" for key, value in self._options.items()]
        return "\n".join([text, *lines, ""])

    def admit_key(self, user: str = "alice") -> None:
        """Let ``user`` in with :attr:`key`."""
        users = self.manager("GET", "/vfgateway/v1/users")["users"]
        identity = next(each["id"] for each in users if each["name"] == user)
        line = self.key.with_suffix(".pub").read_text()
        self.manager("POST", f"/vfgateway/v1/users/{identity}/keys", {"kind": "public_key", "public_key": line})

    # --- clients ---

    def ssh_options(self, *more: str) -> list[str]:
        """For ``ssh`` and what runs it."""
        return [*OPTIONS, f"-oIdentityFile={self.key}", f"-oPort={self.sftp_port}", *more]

    def sftp(
        self, script: str, *options: str, check: bool = True, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run OpenSSH's ``sftp`` with a script."""
        command = ["sftp", *self.ssh_options(*options), "-b", "-", "alice@127.0.0.1"]
        return run(command, check=check, text=script, cwd=cwd)

    def scp(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run OpenSSH's ``scp``; ``HOST:`` stands for the gateway."""
        where = [each.replace("HOST:", "alice@127.0.0.1:") for each in arguments]
        return run(["scp", *self.ssh_options(), *where], check=check)

    def ssh(self, command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        return run(["ssh", *self.ssh_options(), "alice@127.0.0.1", command], check=check)


def run(
    command: Sequence[str | Path],
    *,
    check: bool = True,
    text: str = "",
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    patience: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Run a client to its end."""
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        cwd=cwd,
        timeout=patience,
        env={**os.environ, **(environ or {})},
    )
    if check:
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done

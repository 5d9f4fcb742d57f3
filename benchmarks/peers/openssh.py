"""OpenSSH's own server, with ``internal-sftp`` as it comes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from benchmarks.peers.daemon import Daemon, program

_CONFIGURATION = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile {folder}/pid
AuthorizedKeysFile {key}.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
Subsystem sftp internal-sftp
"""


class OpenSsh(Daemon):
    """sshd.

    :param key: whoever has it may log in
    """

    def __init__(self, folder: Path, port: int, key: Path) -> None:
        folder.mkdir(parents=True)
        Path("/run/sshd").mkdir(exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host"], check=True)
        configuration = folder / "sshd_config"
        configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, key=key))
        super().__init__(folder, port, [program("sshd"), "-D", "-e", "-f", str(configuration)])
        said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr
        self.title = re.sub(r"OpenSSH_(\S+).*", r"OpenSSH \1", said.strip(), flags=re.DOTALL)

"""Apache with mod_dav: the reference of WebDAV in C, with its default multi-processing module."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from benchmarks.meter import Meter
from benchmarks.peers.daemon import Daemon, program
from benchmarks.peers.passwords import write_passwords

_MODULES = Path("/usr/lib/apache2/modules")
#: One process with threads, so that it has as many processors as the gateway: the kernel decides. A line of the log for each request, as it comes packaged.
_CONFIGURATION = """
ServerRoot {folder}
ServerName 127.0.0.1
PidFile {folder}/apache.pid
Listen 127.0.0.1:{port}
ErrorLog {folder}/error.log
CustomLog {folder}/access.log common
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authn_file_module {modules}/mod_authn_file.so
LoadModule auth_basic_module {modules}/mod_auth_basic.so
LoadModule setenvif_module {modules}/mod_setenvif.so
LoadModule dav_module {modules}/mod_dav.so
LoadModule dav_fs_module {modules}/mod_dav_fs.so
User www-data
Group www-data
StartServers 1
ServerLimit 1
MaxRequestWorkers 25
ThreadsPerChild 25
MaxKeepAliveRequests 0
DavLockDB {folder}/locks/db
DocumentRoot {files}
<Directory {files}>
    Dav On
    AuthType Basic
    AuthName files
    AuthUserFile {folder}/passwords
    Require valid-user
</Directory>
"""


class Apache(Daemon):
    """Apache.

    :param files: what it serves at ``/``
    :param login: name and password of who may do anything there
    """

    def __init__(self, folder: Path, port: int, files: Path, login: tuple[str, str]) -> None:
        (folder / "locks").mkdir(parents=True)
        write_passwords(folder / "passwords", login)
        for place in (folder / "locks", files):
            place.chmod(0o777)
        configuration = folder / "apache.conf"
        configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, files=files, modules=_MODULES))
        command = program("apache2")
        super().__init__(folder, port, [command, "-D", "FOREGROUND", "-f", str(configuration)])
        version = subprocess.run([command, "-v"], capture_output=True, text=True, check=True).stdout
        self.title = "Apache mod_dav " + re.sub(r".*Apache/(\S+).*", r"\1", version.strip(), flags=re.DOTALL)

    @property
    def meter(self) -> Meter:
        """What the one child costs that serves."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return Meter(int(children[0]) if children else self._process.pid)

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGTERM)
        super().__exit__()

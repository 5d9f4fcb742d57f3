"""Where the configuration lies, and what stands in for one where there is none. Imports nothing that takes long: the command line looks
here at every call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

#: Where a site keeps its configuration.
SYSTEM_FILE: Final = Path("/etc/vfgateway/vfgateway.toml")

#: What runs where nothing was configured: everything under ``./var``, reachable from this machine alone.
EMBEDDED: Final = """
[gateway]
data_dir = "var"
[frontends.client]
endpoint = "tcp:6021:interface=127.0.0.1"
token_secret_file = "var/token.secret"
[frontends.manager]
endpoint = "tcp:6022:interface=127.0.0.1"
secret_file = "var/manager.secret"
[frontends.webdav]
endpoint = "tcp:6023:interface=127.0.0.1"
[frontends.sftp]
endpoint = "tcp:6024:interface=127.0.0.1"
[volumes.local]
backend = "vfs"
path = "var/vfolders"
[authenticators.accounts]
"""


def find(path: str | Path | None, environ: Mapping[str, str], system_file: Path = SYSTEM_FILE) -> Path | None:
    """The file that :func:`vfgateway.config.load` reads; a file that was named is returned whether it exists or not."""
    named = path or environ.get("VFGATEWAY_CONFIG")
    if named:
        return Path(os.path.expanduser(named)).absolute()  # noqa: PTH111 (Path raises for a user that there is not)
    return next((place for place in (Path("vfgateway.toml").absolute(), system_file) if place.is_file()), None)

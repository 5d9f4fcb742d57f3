"""The samples in etc/ as the programs read them that they are for."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

ETC = Path(__file__).parents[2] / "etc"


def test_nginx_accepts_the_snippet(tmp_path: Path) -> None:
    """Included in a server, as its first lines say."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    assert nginx, "nginx is missing; make test installs it"
    whole = tmp_path / "nginx.conf"
    whole.write_text(
        f"pid {tmp_path}/nginx.pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; server {{ listen 127.0.0.1:20999; include {ETC}/nginx-vfgateway.conf; }} }}\n"
    )
    tested = subprocess.run([nginx, "-t", "-p", tmp_path, "-c", whole], capture_output=True, text=True, timeout=60)
    assert tested.returncode == 0, tested.stderr


def test_the_service_unit_starts_what_is_installed() -> None:
    """Its command line is one that ``twistd`` takes."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(ETC / "vfgateway.service")
    program, *options = unit["Service"]["ExecStart"].split()
    assert program == "/opt/vfgateway/bin/twistd"
    twistd = str(Path(sys.executable).parent / "twistd")
    told = subprocess.run([twistd, *options, "--help"], capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stderr
    assert "--config=" in told.stdout

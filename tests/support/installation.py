"""Environments of their own, into which the tests install this distribution and others, without network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
_SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "vfgateway", "twisted")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info", "dropin.cache")
#: What the ``twistd`` script does; that script belongs to the outer environment.
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; sys.exit(run())"


@attrs.frozen
class Environment:
    """A virtual environment that borrows the libraries of the one that runs the tests, but not its editable installs."""

    path: Path

    @classmethod
    def make(cls, path: Path) -> Environment:
        """Make it; nothing of ours is in it yet."""
        venv.create(path, symlinks=True, with_pip=False)
        made = cls(path)
        (made.site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        return made

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin/python"

    @property
    def site_packages(self) -> Path:
        """Where it installs."""
        return next(self.path.glob("lib/python*/site-packages"))

    def install(self, *what: str) -> None:
        """``pip install``, with what is here already."""
        command = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            self.python,
            "install",
            "--quiet",
            "--no-index",
            "--no-deps",
        ]
        alone = ["--ignore-installed", "--no-build-isolation", "--disable-pip-version-check"]
        _succeed([*map(str, command), *alone, *what], self.path)

    def run(self, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command of this environment there, with nothing of the tests' own surroundings."""
        environ = {"PATH": f"{self.path / 'bin'}:{os.environ['PATH']}", "HOME": str(cwd), "LANG": "C.UTF-8"}
        return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=120)

    def twistd(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run ``twistd`` to its end."""
        return self.run(str(self.python), "-c", TWISTD, *arguments, cwd=cwd)


def copy_of_the_source(folder: Path) -> Path:
    """What a wheel is built from, where building may leave what it likes."""
    folder.mkdir()
    for name in _SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=_LEFT_OUT)
        else:
            shutil.copy(source, folder)
    return folder


def build_wheel(source: Path, folder: Path) -> Path:
    """The wheel of the distribution in ``source``."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    _succeed([*command, "--wheel-dir", str(folder), str(source)], source)
    return next(folder.glob("*.whl"))


def _succeed(command: list[str], cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr

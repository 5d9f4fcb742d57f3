"""The files in which administrators find projects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from vfgateway.privileged.registry import ProjectFiles

ROOT = Path(__file__).parents[2]
#: Enters and strikes, over and over; argument: the first project.
BUSY = """
import sys
from pathlib import Path
from vfgateway.privileged.registry import ProjectFiles
files, first = ProjectFiles(Path(sys.argv[1]), Path(sys.argv[2])), int(sys.argv[3])
for project in range(first, first + 20):
    files.enter(project, f"/data/{project}", f"name-{project}")
    files.enter(project + 5000, "/data/gone", "gone")
    files.strike(project + 5000)
"""


def test_lines_of_others_stay(tmp_path: Path) -> None:
    """With comments, their order and mode; a project has one line."""
    projects, names = tmp_path / "projects", tmp_path / "projid"
    projects.write_text("# ours\n7:/home\n70:/seven\nstrange\n")
    names.write_bytes(b"home:7\nsev\xffen:70\n")
    projects.chmod(0o640)
    files = ProjectFiles(projects, names)
    files.strike(7)
    files.enter(100, "/a", "first")
    files.enter(100, "/b", "second")
    files.enter(101, "/c", "third")
    files.strike(101)
    files.strike(102)
    assert projects.read_text() == "# ours\n70:/seven\nstrange\n100:/b\n"
    assert names.read_bytes() == b"sev\xffen:70\nsecond:100\n"
    assert projects.stat().st_mode & 0o777 == 0o640


def test_a_place_that_no_line_holds(tmp_path: Path) -> None:
    """It is left out, and what stood there goes."""
    files = ProjectFiles(tmp_path / "projects", tmp_path / "projid")
    files.enter(100, "/a", "first")
    files.enter(100, "/a:b", "first")
    files.enter(101, "/a\nb", "second")
    assert (tmp_path / "projects").read_text() == (tmp_path / "projid").read_text() == ""


def test_several_at_once(tmp_path: Path) -> None:
    """No line is lost, none comes back."""
    projects, names = tmp_path / "projects", tmp_path / "projid"
    projects.write_text("7:/home\n")
    command = [sys.executable, "-c", BUSY, str(projects), str(names)]
    busy = [subprocess.Popen([*command, str(first)], cwd=ROOT) for first in (1000, 2000, 3000)]
    assert [each.wait() for each in busy] == [0, 0, 0]
    ours = [project for first in (1000, 2000, 3000) for project in range(first, first + 20)]
    assert sorted(projects.read_text().splitlines()) == sorted(["7:/home", *(f"{each}:/data/{each}" for each in ours)])
    assert sorted(names.read_text().splitlines()) == sorted(f"name-{each}:{each}" for each in ours)

"""Filesystems with powers that the kernel of this machine may lack, in a virtual machine whose kernel has them; see docs/testing.md."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support import vm

#: Seconds for everything: emulation is slow, and two of these may have to share a processor with others.
PATIENCE = 600.0
ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(PATIENCE + 60)
def test_what_takes_another_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of ``tests/virtual`` but for whole gateways, in one boot."""
    monkeypatch.chdir(ROOT)
    # Plugins that are not needed take longer to load there than the tests take.
    pytest_there = ["env", "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", sys.executable, "-m", "pytest", "-p", "pytest_twisted"]
    pytest_there += ["-p", "no:cacheprovider", "-q", "--durations=10", "tests/virtual"]
    pytest_there += ["--ignore=tests/virtual/whole"]
    outcome = vm.run(pytest_there, tmp_path, PATIENCE)
    assert outcome.status == 0, f"in the virtual machine:\n{outcome.output}\n{outcome.console[-4000:]}"
    assert " passed" in outcome.output, outcome.output
    print(outcome.output)

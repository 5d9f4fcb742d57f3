"""Nothing here runs outside of the machine that it is meant for."""

from __future__ import annotations

from tests.support import vm

collect_ignore_glob = [] if vm.is_inside() else ["test_*.py", "whole/test_*.py"]

"""A helper that the gateway starts while it is root."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import attrs
import pytest
from zope.interface import implementer

from tests.support.process import eventually
from vfgateway.errors import ConfigurationError
from vfgateway.privileged.client import Helper, HelperAway, HelperRefuses
from vfgateway.privileged.starting import Helpers, IWantsHelper, Wanted


@implementer(IWantsHelper)
class Wanting:
    """A volume that wants one."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted

    def helper_wanted(self) -> Wanted:
        return self._wanted


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    """For a volume in ``tmp_path``."""
    return Wanted(tmp_path / "socket", tmp_path / "a", tmp_path / "projects", tmp_path / "projid", 100, 200)


def test_one_for_all_volumes(wanted: Wanted, tmp_path: Path) -> None:
    """It acts below each of them, and ends when we do."""
    places = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    for place in places:
        place.mkdir()
    both = [Wanting(attrs.evolve(wanted, below=place)) for place in places[:2]]
    helpers = Helpers([*both, object()], 0)
    helpers.start()
    eventually(wanted.socket.exists, "it listens")
    with closing(Helper(wanted.socket)) as helper:
        for place in places:
            descriptor = os.open(place, os.O_RDONLY)
            try:
                with pytest.raises(HelperRefuses if place == places[2] else OSError):
                    helper.check(descriptor)  # the kernel has no quota here, but was asked
            finally:
                os.close(descriptor)
        helpers.close()

        def is_away() -> bool:
            try:
                helper.ask("check", 0, away=0.0)
            except HelperAway:
                return True
            except (HelperRefuses, OSError):
                pass
            return False

        eventually(is_away, "it ends")


def test_volumes_that_disagree(wanted: Wanted) -> None:
    """One helper writes one pair of files."""
    other = attrs.evolve(wanted, projects=Path("/etc/projects"))
    with pytest.raises(ConfigurationError, match="differ"):
        Helpers([Wanting(wanted), Wanting(other)], 0).start()

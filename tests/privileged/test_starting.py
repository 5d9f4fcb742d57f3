"""A helper that the gateway starts while it is root."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import cast

import attrs
import pytest
from twisted.logger import ILogObserver, Logger, formatEvent
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
    settings = {"projects": tmp_path / "projects", "projid": tmp_path / "projid", "first": 100, "last": 200}
    return Wanted(tmp_path / "socket", tmp_path / "a", settings)


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


def test_a_volume_that_comes_later(wanted: Wanted, tmp_path: Path) -> None:
    """A reload cannot start a helper for it: what to do is said, for that volume alone."""
    told: list[str] = []
    helpers = Helpers([Wanting(wanted)], 0)
    helpers.log = Logger(observer=cast(ILogObserver, lambda event: told.append(formatEvent(event))))
    helpers.tell_missing([Wanting(wanted), object()])
    assert told == []
    helpers.tell_missing([Wanting(wanted), Wanting(attrs.evolve(wanted, below=tmp_path / "new"))])
    (sentence,) = told
    assert str(tmp_path / "new") in sentence and str(wanted.socket) in sentence and "restart" in sentence


def test_volumes_that_disagree(wanted: Wanted) -> None:
    """One helper writes one pair of files."""
    other = attrs.evolve(wanted, settings={"projects": Path("/etc/projects")})
    with pytest.raises(ConfigurationError, match="differ"):
        Helpers([Wanting(wanted), Wanting(other)], 0).start()

"""The helper's verbs for Btrfs: what nobody's process gets done by it, and what it never does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.privileged.test_helper import opened, running
from tests.support.btrfs import btrfs
from vfgateway.backends.btrfs import qgroups, subvolumes
from vfgateway.privileged.client import Helper, HelperRefuses

MIB = 1 << 20


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Btrfs for all of them."""
    with btrfs(tmp_path_factory.mktemp("disk")) as place:
        yield place


@pytest.fixture(scope="module")
def top(disk: Path) -> Path:
    """The configured directory, itself a subvolume."""
    subvolumes.create(disk / "top")
    return disk / "top"


@pytest.fixture(scope="module")
def helper(top: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helper]:
    """A client of one that acts below ``top``."""
    place = tmp_path_factory.mktemp("helper")
    with running(place, top), closing(Helper(place / "helper.sock")) as asked:
        with opened(top) as descriptor:
            asked.enable_quota(descriptor)
        yield asked


def test_a_limit_and_an_end(helper: Helper, top: Path) -> None:
    """A subvolume below the directory is limited, and goes at once with all it holds."""
    place = top / "limited"
    subvolumes.create(place)
    with opened(place) as descriptor:
        helper.limit_subvolume(descriptor, 8 * MIB)
        assert qgroups.group(place).limit == 8 * MIB
        helper.limit_subvolume(descriptor, 0)
        assert qgroups.group(place).limit is None
    (place / "d").mkdir()
    (place / "d/file").write_bytes(b"x")
    with opened(top) as descriptor:
        helper.destroy_subvolume(descriptor, "limited")
    assert not place.exists()


def test_what_is_refused(helper: Helper, top: Path, disk: Path, tmp_path: Path) -> None:
    """Whatever lies elsewhere, is no subvolume, or is reached by anything but a name; the kernel is not asked, and nothing changes."""
    inside, outside, plain = top / "inside", disk / "outside", top / "plain"
    for place in (inside, outside):
        subvolumes.create(place)
    plain.mkdir()
    (top / "link").symlink_to(outside)
    for place in (top, disk, outside, plain, tmp_path, Path("/")):
        with opened(place) as descriptor, pytest.raises(HelperRefuses):
            helper.limit_subvolume(descriptor, MIB)
    for place in (disk, outside, tmp_path, Path("/")):
        with opened(place) as descriptor:
            with pytest.raises(HelperRefuses):
                helper.enable_quota(descriptor)
            with pytest.raises(HelperRefuses):
                helper.destroy_subvolume(descriptor, "outside")
    with opened(top) as descriptor:
        for name in ("plain", "link", "../outside", "..", ".", "", "inside/", "x" * 300):
            with pytest.raises(HelperRefuses):
                helper.destroy_subvolume(descriptor, name)
        with pytest.raises(FileNotFoundError):
            helper.destroy_subvolume(descriptor, "missing")
    with opened(inside) as descriptor:
        for size in (-1, 1.5, "1", True, 1 << 63):
            with pytest.raises(HelperRefuses):
                helper.ask("limit_subvolume", descriptor, size=size)
    assert all(os.path.lexists(place) for place in (inside, outside, plain, top / "link"))
    assert qgroups.group(inside).limit is None

"""No backend without its promises, nor without a page that tells what it can do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from twisted.plugins import vfgateway_dropin
from zope.interface import Interface

from tests.conformance import (
    test_azureblob,
    test_btrfs,
    test_cephfs,
    test_memory,
    test_nfs,
    test_projectquota,
    test_smb,
    test_vfs,
)
from tests.conformance.harness import VolumeCase
from tests.conformance.suite import EveryPromise
from vfgateway.abilities import (
    IAtHand,
    IDescriptorWrite,
    IFileAtHand,
    IMappedListing,
    IStageOwners,
    IUsageWalk,
    IWholeStore,
)
from vfgateway.interfaces import IVolumeFactory
from vfgateway.plugins import LazyPlugin

#: Loaded, so that what is in them is known.
TESTED = (test_azureblob, test_btrfs, test_cephfs, test_memory, test_nfs, test_projectquota, test_smb, test_vfs)


def _tested(case: type[EveryPromise] = EveryPromise) -> set[str]:
    """Backends with a class in the modules imported above."""
    found = {case.backend} if "backend" in vars(case) else set()
    return found.union(*map(_tested, case.__subclasses__()))


def _registered() -> set[str]:
    """Backends that the dropin names."""
    return {
        plugin.name
        for plugin in vars(vfgateway_dropin).values()
        if isinstance(plugin, LazyPlugin) and IVolumeFactory.providedBy(plugin)
    }


def test_every_backend_is_tested() -> None:
    """Each has a class in this package that inherits from ``EveryPromise``."""
    assert _registered()
    assert _registered() <= _tested(), "write tests/conformance/test_<backend>.py and import it here"


# --- what their pages say ---------------------------------------------------------------------------


DOCS = Path(__file__).parents[2] / "docs"
OVERVIEW = (DOCS / "backends.md").read_text()
#: Abilities that make something quicker and that nobody outside notices otherwise.
NOT_TOLD = {IAtHand, IDescriptorWrite, IFileAtHand, IMappedListing, IStageOwners, IUsageWalk, IWholeStore}


def test_every_backend_has_a_page() -> None:
    """The overview leads to a part of a page that shows a volume of this kind and has a table of what it can do, and what not."""
    told = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| \[[^]]+\]\(([^)]+)\) \|$", OVERVIEW, re.MULTILINE))
    assert set(told) == _registered()
    for backend, target in told.items():
        page, _, anchor = target.partition("#")
        part = _part((DOCS / page).read_text(), anchor)
        assert f'backend = "{backend}"' in part, backend
        assert "[volumes." in part, backend
        assert re.search(r"^\| \| \|\n\| --- \| --- \|\n(\| .+ \| .+\|\n){4}", part, re.MULTILINE), backend


def _part(text: str, anchor: str) -> str:
    """A page without an anchor; else what stands below that heading, up to the next of its kind."""
    if not anchor:
        return text
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    (found,) = (part for part in parts if part.splitlines()[0].lower().replace(" ", "-") == anchor)
    return found


def test_the_table_of_abilities_is_right() -> None:
    """It says ``yes`` of what each class of tests claims, ``no`` of what none does, and a condition otherwise; the claims are checked both ways."""
    claims: dict[str, list[frozenset[type[Interface]]]] = {}
    for case in _cases(VolumeCase):
        claims.setdefault(case.backend, []).append(case.abilities)
    told = _table()
    claimed = {ability for each in claims.values() for ability in frozenset.union(*each)}
    assert {ability.__name__ for ability in claimed - NOT_TOLD} == set(told)
    for ability in claimed - NOT_TOLD:
        for backend in _registered():
            count = sum(ability in each for each in claims[backend])
            words = {0: "no", len(claims[backend]): "yes"}.get(count, "with ")
            assert told[ability.__name__][backend].startswith(words), (ability.__name__, backend)


def _cases(case: type[VolumeCase]) -> Iterator[type[VolumeCase]]:
    if case.__name__.startswith("Test") and hasattr(case, "abilities") and case.__module__.startswith(__package__):
        yield case
    for child in case.__subclasses__():
        yield from _cases(child)


def _table() -> dict[str, dict[str, str]]:
    """By the name of the ability and the backend."""
    rows = [
        [cell.strip(" `") for cell in line.strip("|\n").split("|")] for line in OVERVIEW.splitlines() if "|" in line
    ]
    (head,) = (row[1:] for row in rows if row[0] == "" and "vfs" in row)
    found = {match[1]: row[1:] for row in rows if (match := re.search(r"\(`(I\w+)`\)$", row[0]))}
    return {name: dict(zip(head, cells, strict=True)) for name, cells in found.items()}

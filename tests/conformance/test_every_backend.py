"""No backend without its promises."""

from __future__ import annotations

from twisted.plugins import vfgateway_dropin

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
from tests.conformance.suite import EveryPromise
from vfgateway.interfaces import IVolumeFactory
from vfgateway.plugins import LazyPlugin

#: Loaded, so that what is in them is known.
TESTED = (test_azureblob, test_btrfs, test_cephfs, test_memory, test_nfs, test_projectquota, test_smb, test_vfs)


def _tested(case: type[EveryPromise] = EveryPromise) -> set[str]:
    """Backends with a class in the modules imported above."""
    found = {case.backend} if "backend" in vars(case) else set()
    return found.union(*map(_tested, case.__subclasses__()))


def test_every_backend_is_tested() -> None:
    """Each backend that the dropin names has a class in this package that inherits from ``EveryPromise``."""
    registered = {
        plugin.name
        for plugin in vars(vfgateway_dropin).values()
        if isinstance(plugin, LazyPlugin) and IVolumeFactory.providedBy(plugin)
    }
    assert registered
    assert registered <= _tested(), "write tests/conformance/test_<backend>.py and import it here"

from pathlib import Path

from acme_storage import AcmeSettings, AcmeVolume

from tests.conformance.harness import make_runtime
from tests.conformance.suite import EveryPromise
from tests.conformance.test_memory import TestMemory as Memory
from vfgateway.interfaces import IVolume


class TestAcme(EveryPromise):
    backend = "acme"
    #: What is named here must be provided and work; what is not named must not be provided.
    abilities = Memory.abilities

    async def make_volume(self, tmp_path: Path) -> IVolume:
        """A volume that holds nothing, not yet started; called for each test."""
        return AcmeVolume("acme", AcmeSettings(path=tmp_path / "agent"), make_runtime(tmp_path))

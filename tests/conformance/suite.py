"""All promises in one class: inherit from it, say how a volume is made and what it claims, and call it ``Test…``."""

from tests.conformance.abilities import CopyPromises, LinkPromises, OtherAbilityPromises, RandomWritePromises
from tests.conformance.adoption import AdoptionPromises
from tests.conformance.files import FilePromises, ListingPromises, NamePromises
from tests.conformance.folder import FolderPromises, RenamePromises
from tests.conformance.quota import NativeFolderQuotaPromises
from tests.conformance.snapshots import SnapshotPromises
from tests.conformance.staging import ResumableStagingPromises, StagingPromises
from tests.conformance.volume import VolumePromises


class EveryPromise(
    VolumePromises,
    FolderPromises,
    RenamePromises,
    FilePromises,
    ListingPromises,
    NamePromises,
    StagingPromises,
    ResumableStagingPromises,
    RandomWritePromises,
    LinkPromises,
    CopyPromises,
    OtherAbilityPromises,
    AdoptionPromises,
    SnapshotPromises,
    NativeFolderQuotaPromises,
):
    """The whole suite."""

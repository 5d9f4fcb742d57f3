"""The reference implementation: volumes that live in memory and keep every promise exactly.

A trusted double for tests, and a scratch volume for demonstrations. Nothing survives the process.
"""

from vfgateway.backends.memory.files import MemoryFile, MemoryStagedFile, MemoryWritableFile
from vfgateway.backends.memory.folder import MemoryFolder
from vfgateway.backends.memory.volume import MemorySettings, MemoryVolume, MemoryVolumeFactory

__all__ = [
    "MemoryFile",
    "MemoryFolder",
    "MemorySettings",
    "MemoryStagedFile",
    "MemoryVolume",
    "MemoryVolumeFactory",
    "MemoryWritableFile",
]

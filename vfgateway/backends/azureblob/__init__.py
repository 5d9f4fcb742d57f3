"""Azure Blob Storage as a volume: a container per vfolder, a blob per file."""

from importlib.util import find_spec

if find_spec("azure") is None:
    raise ImportError("it needs azure-storage-blob: pip install 'vfgateway[azure]'")

from vfgateway.backends.azureblob.settings import AzureBlobSettings
from vfgateway.backends.azureblob.volume import AzureBlobVolume, AzureBlobVolumeFactory

__all__ = ["AzureBlobSettings", "AzureBlobVolume", "AzureBlobVolumeFactory"]

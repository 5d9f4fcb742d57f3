from vfgateway.interfaces import IVolumeFactory
from vfgateway.plugins import LazyPlugin

acme = LazyPlugin(IVolumeFactory, "acme", "Storage by Acme", "acme_storage.AcmeFactory")

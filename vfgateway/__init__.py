"""vfgateway: a storage gateway that serves virtual folders over several protocols."""

from vfgateway._version import __version__

__all__ = ["__version__"]

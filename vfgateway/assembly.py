"""Makes volumes, authenticators and front ends out of the configuration, through whichever plugins it names.

Nothing here touches the disk or the network: it all happens before the daemon detaches, so that a mistake is answered on the
terminal of whoever made it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pydantic import ValidationError
from twisted.application.service import IService
from zope.interface import Interface

from vfgateway import plugins
from vfgateway.config import Settings
from vfgateway.errors import ConfigurationError
from vfgateway.interfaces import IAuthenticator, IAuthenticatorFactory, IFrontEnd, IVolume, IVolumeFactory
from vfgateway.runtime import Runtime
from vfgateway.section import mistake


def make_volumes(settings: Settings, runtime_for: Callable[[str], Runtime]) -> dict[str, IVolume]:
    """The configured volumes by name, none of them started. Raises :class:`vfgateway.errors.ConfigurationError`.

    :param runtime_for: gives the outside world for the volume of a name
    """
    made: dict[str, IVolume] = {}
    for name, section in settings.volumes.items():
        key = f"volumes.{name}"
        factory = plugins.find(IVolumeFactory, section.backend, f"{key}.backend")
        options = section.options
        configure = partial(factory.configure, name, options, runtime_for(name))
        made[name] = _configured(IVolume, configure, key, options)
    return made


def make_authenticators(settings: Settings, gateway: Any) -> dict[str, IAuthenticator]:
    """The configured authenticators by name, in the order in which they are asked. Raises as :func:`make_volumes`."""
    made: dict[str, IAuthenticator] = {}
    for name, table in settings.authenticators.items():
        key = f"authenticators.{name}"
        options = dict(table)
        kind = options.pop("kind", name)
        factory = plugins.find(IAuthenticatorFactory, kind, f"{key}.kind" if "kind" in table else key)
        configure = partial(factory.configure, name, options, gateway)
        made[name] = _configured(IAuthenticator, configure, key, options)
    return made


def make_front_ends(settings: Settings, gateway: Any) -> dict[str, IService]:
    """The configured front ends by name, none of them listening. Raises as :func:`make_volumes`."""
    made: dict[str, IService] = {}
    for name, table in settings.frontends.items():
        key = f"frontends.{name}"
        front_end = plugins.find(IFrontEnd, name, key)
        made[name] = _configured(IService, partial(front_end.configure, table, gateway), key, table)
    return made


def _configured(interface: type[Interface], configure: Callable[[], Any], key: str, table: Mapping[str, Any]) -> Any:
    """What a factory made of its table, checked; its mistakes told by their full key."""
    try:
        made = configure()
    except ValidationError as error:
        raise mistake(error, key, table) from None
    except ConfigurationError as error:
        raise _under(key, error) from None
    plugins.verify(interface, made, f"what {key} was made into", key)
    return made


def _under(key: str, error: ConfigurationError) -> ConfigurationError:
    """The same error with the full key, where the plugin gave none or one that counts from its own table."""
    if error.key == key or error.key.startswith(f"{key}."):
        return error
    return ConfigurationError(f"{key}.{error.key}" if error.key else key, error.message)

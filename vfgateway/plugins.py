"""Finds plugins by interface and name, and lets through only those that keep their interface.

A plugin is an object in a module of ``twisted.plugins`` (any distribution may bring one) that provides ``IPlugin`` and one of
the factory interfaces; or a :class:`LazyPlugin` that names such an object. Listing plugins loads none of the lazy ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import Any, Final

import attrs
from twisted.logger import Logger
from twisted.plugin import IPlugin, getPlugins
from twisted.python.reflect import namedAny
from zope.interface import Interface, directlyProvides
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from vfgateway.errors import ConfigurationError
from vfgateway.interfaces import IAuthenticatorFactory, IFrontEnd, IVolumeFactory
from vfgateway.section import what_was_meant

#: What each kind of plugin is called when one cannot be used.
KINDS: Final = {
    IVolumeFactory: "volume backend",
    IFrontEnd: "front end",
    IAuthenticatorFactory: "authenticator",
}


class LazyPlugin:
    """Stands in a dropin for a plugin that is imported only when it is used.

    :param interface: the factory interface that the plugin provides
    :param name: its name in the configuration, the same as the plugin's own
    :param summary: one line about it
    :param target: where it is: ``package.module.attribute``; a class is called without arguments
    """

    def __init__(self, interface: type[Interface], name: str, summary: str, target: str) -> None:
        self.name = name
        self.summary = summary
        self.target = target
        directlyProvides(self, IPlugin, interface)

    def load(self) -> Any:
        """Import it. Raises whatever that raises."""
        found = namedAny(self.target)
        return found() if isinstance(found, type) else found


@attrs.frozen
class Found:
    """A plugin that was found, loaded or not."""

    interface: type[Interface]
    name: str
    summary: str
    declared: Any

    @property
    def module(self) -> str:
        """The module that holds the plugin's code."""
        if isinstance(self.declared, LazyPlugin):
            return self.declared.target.rpartition(".")[0]
        return type(self.declared).__module__

    @property
    def distribution(self) -> str:
        """Name and version of the distribution that brought it, as far as that can be told."""
        return distribution_of(self.module)

    def __str__(self) -> str:
        """What to call it in an error. Costs a look through all that is installed, so only there."""
        return f"the {KINDS[self.interface]} {self.name!r} of {self.distribution}"


def installed(interface: type[Interface]) -> list[Found]:
    """All plugins of one kind, by name; two of one name both appear. Nothing is imported but dropins.

    What has no usable name, or lies in a dropin that cannot be imported, is logged and left out.
    """
    return sorted(_installed(interface), key=lambda found: found.name)


def _installed(interface: type[Interface]) -> Iterator[Found]:
    for declared in getPlugins(interface):
        name = getattr(declared, "name", None)
        if isinstance(name, str) and name:
            yield Found(interface, name, str(getattr(declared, "summary", "")), declared)
        else:
            Logger().error(
                "a {kind} brought by {distribution} has no name and cannot be used: {plugin!r}",
                kind=KINDS[interface],
                distribution=distribution_of(type(declared).__module__),
                plugin=declared,
            )


def find(interface: type[Interface], name: str, key: str) -> Any:
    """The one plugin of this kind and name, loaded and checked against the interface.

    :param key: the dotted key of the configuration that asks for it, for the error
    :raises ConfigurationError: there is none, more than one, or one that does not keep its interface; says which
        distribution is to blame
    """
    kind = KINDS[interface]
    every = installed(interface)
    chosen = [found for found in every if found.name == name]
    if not chosen:
        hint = what_was_meant(name, sorted({found.name for found in every}))
        raise ConfigurationError(key, f"there is no {kind} called {name!r}; {hint}")
    if len(chosen) > 1:
        culprits = " and ".join(sorted(found.distribution for found in chosen))
        raise ConfigurationError(key, f"more than one {kind} is called {name!r}, by {culprits}; remove one")
    return _load(chosen[0], key)


def _load(found: Found, key: str) -> Any:
    plugin = found.declared
    if isinstance(plugin, LazyPlugin):
        try:
            plugin = plugin.load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ConfigurationError(key, f"{found} cannot be loaded: {reason}") from error
    verify(found.interface, plugin, found, key)
    if plugin.name != found.name:
        raise ConfigurationError(key, f"{found} calls itself {plugin.name!r}")
    return plugin


def verify(interface: type[Interface], thing: Any, called: object, key: str) -> None:
    """Check that ``thing`` keeps ``interface``: names and parameters, which is what can be seen from outside.

    :param called: what to call it in the error; made a string only there
    :raises ConfigurationError: it does not; says which methods or attributes are to blame
    """
    try:
        verifyObject(interface, thing)
    except Invalid as error:
        faults = getattr(error, "exceptions", None) or [error]
        reasons = "; ".join(_fault(fault) for fault in faults)
        raise ConfigurationError(key, f"{called} does not keep {interface.__name__}: {reasons}") from None


def _fault(fault: Exception) -> str:
    """The sentence of zope.interface without the object's own name in front, which says nothing to a reader."""
    return " ".join(str(fault).rpartition(" has failed to implement interface ")[2].split()).rstrip(".")


def distribution_of(module: str) -> str:
    """Name and version of the distribution that ships ``module``; the module's name where no distribution claims it."""
    path = module.replace(".", "/")
    top = module.partition(".")[0]
    names = metadata.packages_distributions().get(top, [])
    if len(set(names)) > 1 or top == "twisted":
        shippers = {path + ".py", path + "/__init__.py"}
        names = [
            distribution.metadata["Name"]
            for distribution in metadata.distributions()
            if any(str(file) in shippers for file in distribution.files or ())
        ]
    if not names:
        return f"module {module}"
    return f"{names[0]} {metadata.version(names[0])}"

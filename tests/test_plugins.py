"""Plugins are found by interface and name, checked, and blamed by name; settings reach them and their mistakes come back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.plugin import IPlugin
from zope.interface import Interface, implementer

from vfgateway import assembly, config, plugins
from vfgateway.errors import ConfigurationError
from vfgateway.interfaces import IAuthenticatorFactory, IFrontEnd, IVolumeFactory
from vfgateway.plugins import Found, LazyPlugin
from vfgateway.section import ConfigPath, Section


class ShelfSettings(Section):
    """What a volume of :class:`Shelf` takes."""

    path: ConfigPath


@implementer(IPlugin, IVolumeFactory)
class Shelf:
    """A volume backend that never gets as far as making a volume."""

    name = "shelf"
    summary = "for tests"

    def configure(self, name: str, settings: Mapping[str, Any], runtime: Any) -> Any:
        """Check the table; make something that is no volume."""
        if "refuse" in settings:
            raise ConfigurationError(str(settings["refuse"]), "not on this shelf")
        ShelfSettings.model_validate(settings)
        return object()


@implementer(IPlugin, IVolumeFactory)
class Crooked:
    """Claims the interface and does not keep it."""

    name = "crooked"
    summary = "for tests"

    def configure(self, name: str) -> None:  # type: ignore[override]
        """Takes too few arguments."""


SHELF = Shelf()
CROOKED = Crooked()


@pytest.fixture
def on_offer(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is installed, in place of what really is."""
    offered: list[Any] = [SHELF, CROOKED]

    def get_plugins(interface: type[Interface]) -> list[Any]:
        return [plugin for plugin in offered if interface.providedBy(plugin)]

    monkeypatch.setattr(plugins, "getPlugins", get_plugins)
    return offered


def refusal(name: str) -> str:
    """Why the volume backend ``name`` cannot be used."""
    with pytest.raises(ConfigurationError) as caught:
        plugins.find(IVolumeFactory, name, "volumes.a.backend")
    return str(caught.value)


@pytest.mark.parametrize("interface", [IFrontEnd, IVolumeFactory, IAuthenticatorFactory])
def test_every_built_in_is_found_and_keeps_its_interface(interface: type[Interface]) -> None:
    """What the dropin names exists, under that name, with that summary."""
    found = [each for each in plugins.installed(interface) if each.module.startswith("vfgateway.")]
    assert found
    for each in found:
        plugin = plugins.find(interface, each.name, "key")
        assert each.summary == plugin.summary
        assert each.distribution.startswith("vfgateway ")


def test_listing_plugins_imports_none_of_them() -> None:
    """``vfgateway volume backends`` must not need every vendor's library."""
    script = (
        "import sys\n"
        "from vfgateway import plugins\n"
        "names = {each.name for kind in plugins.KINDS for each in plugins.installed(kind)}\n"
        "assert {'vfs', 'memory', 'client', 'manager', 'accounts'} <= names, names\n"
        "loaded = [m for m in sys.modules if m.startswith(('vfgateway.backends.', 'vfgateway.protocols.', "
        "'vfgateway.authenticators.', 'vfgateway.services'))]\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_an_unknown_name_is_answered_with_the_nearest(on_offer: list[Any]) -> None:
    """A misspelt backend is a common mistake."""
    told = refusal("shelv")
    assert told == "volumes.a.backend: there is no volume backend called 'shelv'; did you mean shelf?"


def test_two_plugins_of_one_name_are_refused(on_offer: list[Any]) -> None:
    """Which of them runs must not depend on the order of installation."""
    on_offer.append(Shelf())
    assert "more than one volume backend is called 'shelf'" in refusal("shelf")


def test_a_plugin_that_does_not_fit_is_refused_by_name(on_offer: list[Any]) -> None:
    """The one at fault is named, with what is wrong; the others go on working."""
    told = refusal("crooked")
    assert "volume backend 'crooked'" in told
    assert "IVolumeFactory" in told
    assert "configure" in told
    assert plugins.find(IVolumeFactory, "shelf", "key") is SHELF


def test_a_lazy_plugin_that_cannot_be_imported_is_refused_by_name(on_offer: list[Any]) -> None:
    """A missing vendor library says so where its backend is configured."""
    on_offer.append(LazyPlugin(IVolumeFactory, "vendor", "for tests", "vfgateway_no_such_module.Factory"))
    assert "the volume backend 'vendor' of module vfgateway_no_such_module cannot be loaded" in refusal("vendor")


def test_a_lazy_plugin_must_carry_the_name_it_was_declared_with(on_offer: list[Any]) -> None:
    """Otherwise the list and the configuration would disagree."""
    on_offer.append(LazyPlugin(IVolumeFactory, "table", "for tests", f"{__name__}.Shelf"))
    assert "calls itself 'shelf'" in refusal("table")


def test_a_plugin_without_a_name_does_not_hide_the_others(on_offer: list[Any]) -> None:
    """One bad distribution must not take the gateway down."""
    nameless = Shelf()
    nameless.name = ""
    on_offer.append(nameless)
    assert [found.name for found in plugins.installed(IVolumeFactory)] == ["crooked", "shelf"]


def test_a_distribution_is_known_by_its_files() -> None:
    """Blame needs an address: also for modules in the shared folder ``twisted/plugins``."""
    assert plugins.distribution_of("pydantic.main").startswith("pydantic ")
    assert plugins.distribution_of("twisted.plugins.twisted_core").startswith("Twisted ")
    assert plugins.distribution_of("nobodys.module") == "module nobodys.module"
    assert Found(IVolumeFactory, "shelf", "", SHELF).module == __name__


# --- from the configuration to plugins and back --------------------------------------------------------


def mistake_of(table: str) -> str:
    """What is told about ``[volumes.a]`` with backend ``shelf``."""
    settings = config.parse(f'[volumes.a]\nbackend = "shelf"\n{table}', Path("/srv"))
    with pytest.raises(ConfigurationError) as caught:
        assembly.make_volumes(settings, lambda name: None)  # type: ignore[arg-type, return-value]
    return str(caught.value)


def test_a_plugins_mistakes_are_told_with_the_full_key(on_offer: list[Any]) -> None:
    """Pydantic's errors arrive as ours, with what was meant."""
    assert mistake_of('pth = "x"') == "volumes.a.pth: there is no such key; did you mean path?, got 'x'"


@pytest.mark.parametrize("key", ["", "path", "volumes.a.path"])
def test_a_plugins_own_refusal_gets_the_full_key(on_offer: list[Any], key: str) -> None:
    """However much of the key the plugin gave."""
    expected = "volumes.a.path" if key else "volumes.a"
    assert mistake_of(f'refuse = "{key}"') == f"{expected}: not on this shelf"


def test_what_a_plugin_makes_is_checked_too(on_offer: list[Any]) -> None:
    """A factory that fits can still make something that does not."""
    assert "what volumes.a was made into does not keep IVolume" in mistake_of('path = "x"')

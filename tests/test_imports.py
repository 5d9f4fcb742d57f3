"""Who may import whom: protocols → services → vocabulary ← backends, read from the source so that no import escapes.

Imports inside functions and under ``if TYPE_CHECKING`` count like all others.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[1] / "vfgateway"

#: What each room may use beside itself. ``vocabulary`` is every module at the top but those named here.
ALLOWED = {
    "vocabulary": {"vocabulary"},
    "assembly": {"vocabulary"},
    "services": {"vocabulary", "services"},
    "backends": {"vocabulary", "backends"},
    "authenticators": {"vocabulary", "services", "authenticators"},
    "protocols": {"vocabulary", "services", "protocols"},
    "upkeep": {"vocabulary", "services", "upkeep"},
    "cli": {"vocabulary", "cli", "upkeep", "mounting"},
    "mounting": {"vocabulary", "mounting"},
    "tap": {"vocabulary", "assembly", "services"},
    "worker": {"tap"},
}


@attrs.frozen
class Import:
    """One name that a module of ours takes from somewhere."""

    module: str
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}: {self.target}"


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, module: str, is_package: bool) -> Iterator[Import]:
    """Everything that ``module`` imports, as far down as it can be told: ``package.module`` or ``package.module.name``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parents = module.split(".")
                parents = parents[: len(parents) - node.level + (1 if is_package else 0)]
                origin = ".".join([*parents, origin]) if origin else ".".join(parents)
            for alias in node.names:
                yield Import(module, node.lineno, f"{origin}.{alias.name}")


EVERY = [
    each
    for module, path in modules().items()
    for each in imports(path.read_text("utf-8"), module, path.name == "__init__.py")
]


def room(module: str) -> str:
    """The room that a dotted name of ours lies in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ALLOWED else "vocabulary"


def protocol(module: str) -> str:
    """Which protocol a dotted name belongs to; empty for what is not one."""
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and parts[1] == "protocols" else ""


def strays(imported: list[Import]) -> list[str]:
    """Imports of ours that lead into a room where they may not go."""
    ours = [each for each in imported if each.target.startswith("vfgateway.")]
    wrong = [each for each in ours if room(each.target) not in ALLOWED[room(each.module)]]
    wrong += [
        each
        for each in ours
        if protocol(each.module)
        and protocol(each.target) not in ("", "web")
        and protocol(each.target) != protocol(each.module)
    ]
    return [str(each) for each in wrong]


def test_imports_keep_to_their_rooms() -> None:
    """No protocol sees a backend or another protocol, no backend sees a service, nothing sees what is above it."""
    assert not strays(EVERY)


def test_only_the_tap_knows_the_global_reactor() -> None:
    """Everybody else is handed one, so that tests and several processes can do as they need."""
    known = [each for each in EVERY if each.target.startswith("twisted.internet.reactor")]
    assert {each.module for each in known} <= {"vfgateway.tap"}, list(map(str, known))


def test_errno_is_translated_in_one_place_per_backend() -> None:
    """Numbers of the operating system are a backend's own affair: its module ``faults`` turns them into our errors, and its
    ``syscalls`` may raise them as ``os`` does. The privileged helper does what such a module would, in a process of its own."""
    wrong = [
        each
        for each in EVERY
        if each.target.partition(".")[0] == "errno"
        and not (room(each.module) == "backends" and each.module.endswith((".faults", ".syscalls")))
        and room(each.module) != "privileged"
    ]
    assert not list(map(str, wrong))


def test_coroutines_are_written_one_way() -> None:
    """``async def`` throughout; a second style would need a second way to read."""
    wrong = [each for each in EVERY if each.target.endswith((".inlineCallbacks", ".returnValue"))]
    assert not list(map(str, wrong))


def test_every_module_says_what_it_is() -> None:
    """A module called util, common, helpers or base collects whatever has no place."""
    vague = {"util", "utils", "common", "helpers", "base"}
    assert not [module for module in modules() if module.rpartition(".")[2] in vague]


def test_plugins_lie_beside_twisteds_own() -> None:
    """A package marker in twisted/ or twisted/plugins would hide the real ones."""
    assert not list((ROOT.parent / "twisted").rglob("__init__.py"))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vfgateway.protocols.sftp.server", "from vfgateway.backends import vfs"),
        ("vfgateway.protocols.sftp.server", "from vfgateway.protocols.client import plugin"),
        ("vfgateway.protocols.web.reply", "from vfgateway.protocols.client.plugin import thing"),
        ("vfgateway.protocols.sftp.server", "from ..client import plugin"),
        ("vfgateway.backends.vfs", "def f():\n    import vfgateway.services.quota"),
        ("vfgateway.model", "if TYPE_CHECKING:\n    from vfgateway.services.gateway import Gateway"),
        ("vfgateway.services.quota", "from vfgateway import tap"),
    ],
)
def test_the_rule_catches_what_it_is_for(module: str, source: str) -> None:
    """A rule that nothing can break proves nothing."""
    assert strays(list(imports(source, module, is_package=False)))


def test_the_rule_lets_pass_what_it_should() -> None:
    """Protocols share ``web`` and use services; a backend uses the vocabulary."""
    fine = [
        *imports("from vfgateway.protocols.web import reply", "vfgateway.protocols.client.plugin", is_package=False),
        *imports(
            "from vfgateway.services import quota\nfrom . import tus", "vfgateway.protocols.client", is_package=True
        ),
        *imports("from vfgateway import errors, section", "vfgateway.backends.vfs", is_package=False),
    ]
    assert not strays(fine)


def test_the_services_choose_no_reactor() -> None:
    """``twistd --reactor`` decides; nothing that is imported before its options are read may have installed another one."""
    ask = "import sys, vfgateway.services.gateway; sys.exit('twisted.internet.reactor' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", ask], check=False).returncode == 0

"""The documents keep up with the code: links lead somewhere, and every key and every dependency is explained."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from twisted.plugins import vfgateway_dropin

from vfgateway.alert_settings import AlertSettings, MailSettings, WebhookSettings
from vfgateway.audit_settings import AuditSettings
from vfgateway.authenticators.accounts import AccountsSettings
from vfgateway.authenticators.jwt import JwtSettings
from vfgateway.authenticators.ldap import LdapSettings
from vfgateway.authenticators.manager import ManagerSettings as ManagerAuthenticatorSettings
from vfgateway.backends.azureblob import AzureBlobSettings
from vfgateway.backends.btrfs import BtrfsSettings
from vfgateway.backends.cephfs import CephFsSettings
from vfgateway.backends.memory import MemorySettings
from vfgateway.backends.projectquota import ProjectQuotaSettings
from vfgateway.backends.smb import SmbSettings
from vfgateway.backends.vfs import VfsSettings
from vfgateway.config import EventsSettings, GatewaySettings, RedisSettings
from vfgateway.interfaces import IFrontEnd
from vfgateway.log_settings import LogSettings, LokiSettings
from vfgateway.plugins import LazyPlugin
from vfgateway.protocols.client.settings import ClientSettings, SelfServiceSettings
from vfgateway.protocols.manager.frontend import ManagerSettings
from vfgateway.scan_settings import ScanSettings
from vfgateway.section import Secret, Section

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MANUAL = (ROOT / "docs/administrator.md").read_text()
LOGINS = (ROOT / "docs/authenticators.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_tree_lead_somewhere(page: Path) -> None:
    """A moved page takes its links with it."""
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    dead = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not dead


def keys(section: type[Section]) -> Iterator[str]:
    """What may be written in a table, with the files of secrets."""
    for name, field in section.model_fields.items():
        yield name
        if field.annotation is Secret:
            yield f"{name}_file"


SECTIONS = [
    AlertSettings,
    AuditSettings,
    LogSettings,
    LokiSettings,
    MailSettings,
    ScanSettings,
    WebhookSettings,
    GatewaySettings,
    ClientSettings,
    SelfServiceSettings,
    ManagerSettings,
    EventsSettings,
    RedisSettings,
]


@pytest.mark.parametrize("section", [AccountsSettings, LdapSettings, JwtSettings, ManagerAuthenticatorSettings])
def test_every_key_of_an_authenticator_is_explained(section: type[Section]) -> None:
    """On its own page."""
    assert [key for key in keys(section) if f"`{key}`" not in LOGINS] == []


@pytest.mark.parametrize(
    ("page", "sections"),
    [
        ("vfs", [VfsSettings]),
        ("memory", [MemorySettings]),
        ("azure", [AzureBlobSettings]),
        ("smb", [SmbSettings]),
        ("filesystems", [BtrfsSettings, CephFsSettings, ProjectQuotaSettings]),
    ],
)
def test_every_key_of_a_volume_is_explained(page: str, sections: list[type[Section]]) -> None:
    """On its own page, or on that of ``vfs`` where it has the same."""
    text = (ROOT / f"docs/{page}.md").read_text()
    told = set(keys(VfsSettings)) if page == "filesystems" else set()
    assert [key for each in sections for key in keys(each) if key not in told and f"`{key}`" not in text] == []


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_in_the_manual(section: type[Section]) -> None:
    """What cannot be read about cannot be used."""
    marks = ("`", "[events.", "[log.", "[alerts.", "[frontends.client.")
    missing = [key for key in keys(section) if not any(f"{mark}{key}" in MANUAL for mark in marks)]
    assert not missing


def test_every_key_of_the_sample_is_in_the_manual() -> None:
    """The sample shows what the manual explains, also where it is commented out."""
    sample = (ROOT / "etc/vfgateway.toml").read_text()
    lines = (line.removeprefix("# ") for line in sample.splitlines())
    settings = {match[1] for line in lines if (match := re.match(r"(\w+) = ", line))}
    assert tomllib.loads(sample)
    manual = MANUAL + LOGINS + (ROOT / "docs/vfs.md").read_text()
    assert not [key for key in settings if f"`{key}`" not in manual]


#: The page of each front end, and the clients for which it has to say how.
CLIENTS = {
    "client": ("people-api", ["curl", "tus"]),
    "manager": ("manager", ["orchestrator"]),
    "webdav": (
        "webdav",
        ["Windows Explorer", "Finder", "GNOME", "WinSCP", "rclone", "davfs2", "curl", "Cyberduck", "Dolphin"],
    ),
    "sftp": ("sftp", ["OpenSSH", "WinSCP", "FileZilla", "rclone", "sshfs", "GNOME", "Finder", "Windows", "Cyberduck"]),
}


def test_every_front_end_has_a_page_and_each_client_its_steps() -> None:
    """A line of a table each, with what to type or to click."""
    plugins = [each for each in vars(vfgateway_dropin).values() if isinstance(each, LazyPlugin)]
    assert {each.name for each in plugins if IFrontEnd.providedBy(each)} == set(CLIENTS)
    for page, clients in CLIENTS.values():
        rows = re.findall(r"^\| ([^|]+) \| ([^|].*) \|$", (ROOT / f"docs/{page}.md").read_text(), re.MULTILINE)
        silent = [name for name in clients if not any(name in client and len(how) > 20 for client, how in rows)]
        assert silent == [], page
    windows = (ROOT / "docs/webdav.md").read_text().partition("### Windows")[2].partition("\n## ")[0]
    assert "Trusted Root Certification Authorities" in windows
    assert "FileSizeLimitInBytes" in windows


def test_every_dependency_has_a_reason() -> None:
    """What ``setup.py`` asks for, ``docs/decisions/dependencies.md`` explains."""
    names = {re.split(r"[\[<>=~;! ]", each)[0].lower() for each in metadata.requires("vfgateway") or ()}
    assert "twisted" in names
    reasons = (ROOT / "docs/decisions/dependencies.md").read_text().lower()
    assert not [name for name in names if name not in reasons]

"""Every mistake that the doctor knows is made here, and found; and is in the manual. Where none was made, none is told."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.command import administered, run
from tests.cli.test_doctor import WORKING, configured
from tests.conformance.harness import make_runtime
from tests.support.databases import lay_database
from tests.support.hanging import HangingMount
from tests.support.mounts import small_tmpfs
from tests.support.process import free_port
from tests.support.tls import issued
from tests.test_config_mutations import LINES, Mutation, mutations
from vfgateway.backends.vfs import VfsSettings, VfsVolume
from vfgateway.cli import checks, doctor, place, ports, surroundings
from vfgateway.cli.mistakes import Mistake, wrong
from vfgateway.cli.ports import Address
from vfgateway.findings import Finding
from vfgateway.mountinfo import Mount
from vfgateway.upkeep import databasefacts
from vfgateway.upkeep.databasefacts import DatabaseFacts

ROOT = Path(__file__).parents[2]
#: Somebody who is neither root nor the account that runs the tests.
NOBODY = 65534
#: What makes a mistake in a folder: the configuration that goes with it, or what was found where the whole doctor cannot be asked.
type_maker = Callable[[Path, pytest.MonkeyPatch, ExitStack], str | Sequence[Finding]]
MAKERS: dict[Mistake, type_maker] = {}


def makes(mistake: Mistake) -> Callable[[type_maker], type_maker]:
    """Registers how it is made."""

    def register(maker: type_maker) -> type_maker:
        assert mistake not in MAKERS
        MAKERS[mistake] = maker
        return maker

    return register


@pytest.fixture
def daemon_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the one question for which a daemon has to be started, which ``test_doctor`` asks."""
    monkeypatch.setattr(checks, "configuration", lambda place: Finding("configuration", True, "not asked"))


def told(folder: Path, text: str) -> list[dict[str, Any]]:
    """What the doctor says is wrong."""
    result = run("--config", str(configured(folder, text)), "doctor", "--json")
    assert result.exit_code == 1, result.output
    return [one for one in json.loads(result.stdout) if not one["ok"]]


@pytest.mark.usefixtures("daemon_agrees")
def test_without_a_mistake_none_is_told(tmp_path: Path) -> None:
    """But that the gateway does not run."""
    assert [one["mistake"] for one in told(tmp_path, WORKING)] == [Mistake.GATEWAY_DOWN]


# --- the gateway's data -------------------------------------------------------------------------------


def laid(folder: Path) -> Path:
    """A data directory with a database, as the gateway leaves it."""
    lay_database(folder / "var/vfgateway.db")
    (folder / "var").chmod(0o700)
    (folder / "var/vfgateway.db").chmod(0o600)
    return folder / "var"


@makes(Mistake.INSTALLATION)
def _without_twistd(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> Sequence[Finding]:
    there = place.find(configured(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "bin/python"))
    monkeypatch.setenv("PATH", str(folder))
    return [checks.configuration(there)]


@makes(Mistake.CONFIGURATION)
def _with_a_wrong_key(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> Sequence[Finding]:
    text = WORKING.replace('path = "vfolders"', 'path = "vfolders"\nfile_mod = "0640"')
    return [checks.configuration(place.find(configured(folder, text)))]


@makes(Mistake.GATEWAY_DOWN)
def _not_started(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    return WORKING


@makes(Mistake.DATA_DIR_OPEN)
def _open_to_others(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    laid(folder).chmod(0o755)
    return WORKING


@makes(Mistake.DATA_DIR_UNUSABLE)
def _file_in_its_place(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    (folder / "var").write_bytes(b"")
    return WORKING


@makes(Mistake.FOREIGN_FILES)
def _started_as_root_once(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    os.chown(laid(folder), NOBODY, NOBODY)
    return WORKING


@makes(Mistake.DATABASE_UNUSABLE)
def _no_database(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    laid(folder).joinpath("vfgateway.db").write_bytes(b"something else, and long enough to be looked at" * 100)
    return WORKING


@makes(Mistake.DATABASE_SCHEMA)
def _of_a_newer_version(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    with closing(sqlite3.connect(laid(folder) / "vfgateway.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    return WORKING


@makes(Mistake.DATABASE_LOCKED)
def _held_by_another(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    monkeypatch.setattr(surroundings, "PATIENCE", 0.2)
    other = stack.enter_context(closing(sqlite3.connect(laid(folder) / "vfgateway.db", isolation_level=None)))
    other.execute("BEGIN IMMEDIATE")
    return WORKING


@makes(Mistake.DATABASE_REMOTE)
def _on_a_network_file_system(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    mount = stack.enter_context(HangingMount(folder / "served", folder / "mounted"))
    laid(mount.place)
    return f'[gateway]\ndata_dir = "mounted/var"\n{WORKING}'


# --- disks and volumes --------------------------------------------------------------------------------


@makes(Mistake.DISK_FULL)
def _full(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    stack.enter_context(small_tmpfs(folder / "vfolders", "1m"))
    return WORKING


@makes(Mistake.DISK_READ_ONLY)
def _read_only(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    stack.enter_context(small_tmpfs(folder / "vfolders", "1g"))
    subprocess.run(["mount", "-o", "remount,ro", folder / "vfolders"], check=True)
    return WORKING


@makes(Mistake.DISK_SILENT)
def _dead(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    monkeypatch.setattr(surroundings, "PATIENCE", 0.5)
    mount = stack.enter_context(HangingMount(folder / "served", folder / "vfolders"))
    mount.halt()
    return WORKING


@makes(Mistake.NOT_MOUNTED)
def _forgotten(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> Sequence[Finding]:
    table = folder / "fstab"
    table.write_text(f"# comment\nnas:/export {folder} nfs4 defaults 0 0\nproc /proc proc defaults 0 0\n")
    return list(surroundings.mounts(place.find(configured(folder)), table))


@makes(Mistake.SOFT_MOUNT)
def _soft(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    mount = Mount(str(folder), "nfs4", "nas:/export", False, (0, 50), frozenset({"rw", "soft", "vers=4.2"}))
    monkeypatch.setattr(surroundings, "mount_above", lambda path: mount)  # the kernel here has no NFS
    return WORKING


@makes(Mistake.VOLUME_UNUSABLE)
def _volume_is_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    (folder / "vfolders").write_bytes(b"")
    return WORKING


@makes(Mistake.VOLUMES_OVERLAP)
def _one_in_the_other(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    return f'{WORKING}\n[volumes.other]\nbackend = "nfs"\npath = "vfolders/nas"\n'


@makes(Mistake.VOLUME_SCATTERED)
def _memory_of_several(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    return f'[gateway]\nworkers = "auto"\n{WORKING}\n[volumes.scratch]\nbackend = "memory"\n'


# --- ports and proxies --------------------------------------------------------------------------------


@makes(Mistake.PORT_TAKEN)
def _port_of_another(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    other = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    return WORKING.replace("{client}", str(other.getsockname()[1]))


@makes(Mistake.PORT_FORBIDDEN)
def _low_port(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> Sequence[Finding]:
    there = place.find(configured(folder, WORKING.replace("{client}", "843")))
    os.seteuid(NOBODY)
    stack.callback(os.seteuid, 0)
    return list(ports.front_ends(there, running=False))


@makes(Mistake.ADDRESS_UNKNOWN)
def _address_of_another_machine(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    return WORKING.replace("{client}:interface=127.0.0.1", "{client}:interface=192.0.2.1")  # RFC 5737: nobody's


PROXIED = WORKING.replace(
    "[frontends.client]",
    '[frontends.webdav]\nendpoint = "unix:/run/x"\n[frontends.client]\npublic_url = "https://localhost"',
)


@makes(Mistake.PROXY_NOT_TRUSTED)
def _unknown_proxy(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    return PROXIED


@makes(Mistake.PROXY_PROTOCOL)
def _unknown_balancer(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    return f'{WORKING}\n[frontends.sftp]\nendpoint = "haproxy:tcp:{free_port()}:interface=127.0.0.1"\n'


@makes(Mistake.EVERYBODY_TRUSTED)
def _whole_internet(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    return f'[gateway]\ntrusted_proxies = ["127.0.0.1", "0.0.0.0/0"]\n{PROXIED}'


# --- names, time, TLS ---------------------------------------------------------------------------------


@makes(Mistake.HOST_UNKNOWN)
def _typing_error(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    return f'{WORKING}\n[authenticators.ldap]\nservers = ["ldaps://ldap.invalid"]\n'  # RFC 6761: nobody's


@makes(Mistake.CLOCK)
def _clock_went_back(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    os.utime(laid(folder) / "vfgateway.db", (time.time() + 7200,) * 2)
    return WORKING


@makes(Mistake.NO_TLS)
def _in_the_clear(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    return f'{WORKING}\n[frontends.webdav]\nendpoint = "tcp:{free_port()}"\n'


def secured(folder: Path, hosts: Sequence[str] = ("localhost",), ends: int = 90, key: bytes | None = None) -> str:
    """The client front end with a certificate."""
    certificate, its_key = issued(hosts, timedelta(days=-1), timedelta(days=ends))
    (folder / "chain.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(its_key if key is None else key)
    table = '[frontends.client]\npublic_url = "https://localhost"\ncertificate = "chain.pem"\nkey = "key.pem"'
    return WORKING.replace("[frontends.client]", table)


@makes(Mistake.CERTIFICATE_UNREADABLE)
def _no_certificate(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    text = secured(folder)
    (folder / "chain.pem").unlink()
    return text


@makes(Mistake.CERTIFICATE_TIME)
def _too_old(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    return secured(folder, ends=3)


@makes(Mistake.CERTIFICATE_NAME)
def _for_another_name(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    return secured(folder, ["other.example.org"])


@makes(Mistake.CERTIFICATE_KEY)
def _of_another_certificate(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    return secured(folder, key=issued(["localhost"], timedelta(days=-1), timedelta(days=90))[1])


# --- who may come in ----------------------------------------------------------------------------------


@makes(Mistake.SECRET_READABLE)
def _host_key_was_copied(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    keys = laid(folder) / "hostkeys"
    keys.mkdir()
    (keys / "ssh_host_ed25519_key").write_bytes(b"")
    (keys / "ssh_host_ed25519_key").chmod(0o640)
    return f'{WORKING}\n[frontends.sftp]\nendpoint = "tcp:{free_port()}:interface=127.0.0.1"\n'


@makes(Mistake.SECRET_WEAK)
def _guessable(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    return WORKING.replace("[frontends.manager]", '[frontends.manager]\nsecret = ["changeme", "0123456789abcdef0123"]')


@makes(Mistake.NO_AUTHENTICATORS)
def _nobody(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> str:
    return WORKING.replace("[authenticators.accounts]", "")


@makes(Mistake.CAPABILITIES)
def _without_capabilities(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> Sequence[Finding]:
    text = WORKING.replace('path = "vfolders"', 'path = "vfolders"\nowner = "principal"')
    text += '\n[volumes.mine]\nbackend = "vfs"\npath = "mine"\nowner = "service"\n'
    gateway = stack.enter_context(_process_of_nobody())
    found = list(surroundings.rights(place.find(configured(folder, text)), gateway))
    assert [each.what for each in found] == ["capabilities for volume local"]
    return found


@contextmanager
def _process_of_nobody() -> Iterator[int]:
    command = ["setpriv", "--reuid", str(NOBODY), "--clear-groups", "--inh-caps=-all", "sh", "-c", "echo ready; read _"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.stdin.close()


@pytest.mark.usefixtures("daemon_agrees")
@pytest.mark.parametrize(
    "mistake", [each for each in MAKERS if each not in (Mistake.INSTALLATION, Mistake.CONFIGURATION)]
)
def test_a_mistake_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: Mistake) -> None:
    """By its name, and with what to do."""
    with ExitStack() as stack:
        made = MAKERS[mistake](tmp_path, monkeypatch, stack)
        found = told(tmp_path, made) if isinstance(made, str) else list(map(attrs.asdict, made))
    details = [one["detail"] for one in found if one["mistake"] == mistake]
    assert details, found
    assert all(re.search(r"[:;,?] \S", detail) for detail in details), "the remedy"


@pytest.mark.parametrize("mistake", [Mistake.INSTALLATION, Mistake.CONFIGURATION])
def test_a_mistake_is_found_with_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: Mistake) -> None:
    """Which says it in its own words."""
    with ExitStack() as stack:
        found = MAKERS[mistake](tmp_path, monkeypatch, stack)
    assert [isinstance(each, Finding) and each.mistake for each in found] == [mistake]


# --- beside a gateway that runs -----------------------------------------------------------------------

RUNNING = {
    Mistake.OTHER_VERSION,
    Mistake.OTHER_CONFIGURATION,
    Mistake.DESCRIPTORS,
    Mistake.VOLUME_UNAVAILABLE,
    Mistake.PORT_SILENT,
    Mistake.AUTHENTICATOR_UNAVAILABLE,
}


@pytest.mark.usefixtures("daemon_agrees")
async def test_mistakes_beside_a_running_gateway_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once: it is of another version, runs with another configuration and few descriptors, its volume and its directory are away, and one of
    the ports that it should have is nobody's."""
    volume = VfsVolume("disk", VfsSettings(path=tmp_path / "missing/vfolders"), make_runtime(tmp_path))
    ldap = '[authenticators.ldap]\nservers = ["ldaps://127.0.0.1:1"]\nuser_base = "dc=example"\ngroup_base = "dc=example"\n'
    monkeypatch.setattr(doctor, "__version__", "0.0.1")
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, most))
    try:
        async with administered(tmp_path, [volume], ldap) as vfgateway:
            text = vfgateway.config.read_text().replace("tcp:0:", f"tcp:{free_port()}:")
            vfgateway.config.write_text(text)
            result = await vfgateway.run("doctor", "--json")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))
    found = {one["mistake"] for one in json.loads(result.stdout) if not one["ok"]}
    assert found >= RUNNING


# --- whatever is written -------------------------------------------------------------------------------


def _away(*arguments: object, **keywords: object) -> None:
    raise socket.gaierror(-2, "Name or service not known")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(mutations(), min_size=1, max_size=3))
def test_whatever_is_written_the_doctor_ends_with_a_diagnosis(tmp_path: Path, changes: list[Mutation]) -> None:
    """The daemon says what is wrong with it; the rest is looked at as far as it can be."""
    lines = list(LINES)
    for change in changes:
        change(lines)
    file = tmp_path / "vfgateway.toml"
    file.write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patches:
        refused = wrong(Mistake.CONFIGURATION, "configuration", "line 1: refused; correct it")
        patches.setattr(checks, "configuration", lambda place: refused)
        patches.setattr(socket, "getaddrinfo", _away)
        patches.setattr(databasefacts, "of_server", lambda url, patience: DatabaseFacts(url, []))
        patches.setattr(Address, "connects", lambda address: False)
        result = run("--config", str(file), "doctor", "--json")
    assert result.exit_code == 1
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert not result.stdout or json.loads(result.stdout)


# --- and all of them ----------------------------------------------------------------------------------


def test_every_mistake_is_made_here() -> None:
    """None that the doctor claims to know goes untested."""
    assert set(MAKERS) | RUNNING == set(Mistake)
    assert not set(MAKERS) & RUNNING
    assert len(Mistake) >= 20


def test_every_mistake_is_in_the_manual() -> None:
    """In a table: its name, what is wrong, what to do."""
    manual = (ROOT / "docs/doctor.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", manual, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(Mistake), "all of them, in the order of the code"
    assert all(len(words) > 10 for row in rows for words in row[1:])

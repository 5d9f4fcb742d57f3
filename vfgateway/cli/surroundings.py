"""What ``vfgateway doctor`` looks at around the gateway: disks, names, certificates, the clock, rights, proxies. Changes nothing."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vfgateway.cli.output import size
from vfgateway.cli.place import Place
from vfgateway.findings import Finding

#: Room below which a disk counts as full: what uploads need to be told so, and the database to go on.
LITTLE_SPACE, FEW_INODES = 512 << 20, 1000
#: Time before its end at which a certificate should have been renewed.
RENEW = timedelta(days=14)
#: Seconds that a file may seem to be younger than now.
SKEW = 120.0
#: Seconds in which others should let go of the database.
PATIENCE = 5.0
#: File systems on which SQLite's memory is not shared, or its locks are not kept (https://sqlite.org/wal.html).
REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "glusterfs", "fuse.glusterfs"})
#: Capabilities by their bit (``capability.h``).
CAP_CHOWN, CAP_FOWNER = 0, 3

_SECRET = ("secret", "password", "token")


def look(place: Place, process: int | None) -> Iterator[Finding]:
    """Everything.

    :param process: of the gateway that runs, where it does
    """
    yield from disks(place)
    yield from database(place)
    yield clock(place)
    yield from names(place)
    yield from certificates(place)
    yield from secrets(place)
    yield from openness(place)
    yield from mounts(place)
    if process is not None:
        yield from rights(place, process)


# --- disks ---


def disks(place: Place) -> Iterator[Finding]:
    """Whether there is room where the gateway writes."""
    places = {"data_dir": place.data_dir}
    for name in place.section("volumes"):
        path = place.section("volumes", name).get("path")
        if isinstance(path, str):
            places[f"volume {name}"] = place.absolute(path)
    for what, path in places.items():
        there = _nearest(path)
        try:
            found = os.statvfs(there)
        except OSError as error:
            yield Finding(f"disk of {what}", False, f"{there} does not answer: {error.strerror}; is it mounted?")
            continue
        free = found.f_bavail * found.f_frsize
        if free < LITTLE_SPACE:
            yield Finding(f"disk of {what}", False, f"{size(free)} left on {there}: make room, or move it")
        elif found.f_files and found.f_favail < FEW_INODES:
            yield Finding(f"disk of {what}", False, f"{found.f_favail} inodes left on {there}: remove small files")
        elif found.f_flag & os.ST_RDONLY:
            yield Finding(f"disk of {what}", False, f"{there} is mounted read-only: see dmesg, then mount it anew")
        else:
            yield Finding(f"disk of {what}", True, f"{size(free)} left")


def _nearest(path: Path) -> Path:
    """The path itself, or what is there of it."""
    return next((each for each in (path, *path.parents) if os.path.lexists(each)), path)


def mounts(place: Place, table: Path = Path("/etc/fstab")) -> Iterator[Finding]:
    """Whether what is to be mounted under a volume is mounted."""
    try:
        lines = [line.split() for line in table.read_text().splitlines()]
    except OSError:
        return
    wanted = [
        Path(words[1]) for words in lines if len(words) > 2 and words[0][:1] != "#" and words[1] not in ("/", "none")
    ]
    for name in place.section("volumes"):
        path = place.section("volumes", name).get("path")
        for point in wanted if isinstance(path, str) else ():
            if place.absolute(path).is_relative_to(point) and not point.is_mount():
                yield Finding(f"mount of volume {name}", False, f"{point} is not mounted: mount {point}")


# --- the database ---


def database(place: Place) -> Iterator[Finding]:
    """Whether SQLite can work where it lies, and whether somebody holds it."""
    file = _sqlite(place)
    if file is None or not file.exists():
        return
    kind = _file_system(file.parent)
    if kind in REMOTE:
        detail = f"SQLite cannot share {file} over {kind}: keep data_dir on a local disk, or use PostgreSQL"
        yield Finding("database's disk", False, detail)
    try:
        with closing(sqlite3.connect(file, timeout=PATIENCE, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        remedy = f"end who holds it: fuser -v {file}"
        if "locked" not in str(error):
            remedy = "run this as root or as the gateway's account"
        yield Finding("database's lock", False, f"{file}: {error}; {remedy}")
    except sqlite3.Error:
        return  # said already
    else:
        yield Finding("database's lock", True, "nobody holds it")


def _sqlite(place: Place) -> Path | None:
    url = place.section("gateway").get("database")
    if url is None and "database_file" not in place.section("gateway"):
        return place.data_dir / "vfgateway.db"
    if isinstance(url, str) and url.startswith("sqlite:///"):
        return place.absolute(url.removeprefix("sqlite:///").partition("?")[0])
    return None


def _file_system(path: Path) -> str:
    """The kind of file system that a path lies on, as ``/proc/mounts`` calls it; empty if that cannot be told."""
    best, kind = Path("/"), ""
    with suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, point, found, *_ = line.split()
            mounted = Path(point.encode().decode("unicode_escape"))
            if path.absolute().is_relative_to(mounted) and len(mounted.parts) >= len(best.parts):
                best, kind = mounted, found
    return kind


# --- clock and names ---


def clock(place: Place) -> Finding:
    """Whether time has gone back: tokens, certificates and second factors all depend on it."""
    file = _sqlite(place) or place.data_dir
    now = time.time()
    with suppress(OSError):
        ahead = file.stat().st_mtime - now
        if ahead > SKEW:
            detail = f"it is {ahead / 60:.0f} minutes behind {file}: set it right (timedatectl set-ntp true)"
            return Finding("clock", False, detail)
    if now < datetime(2025, 1, 1, tzinfo=UTC).timestamp():
        return Finding("clock", False, f"it says {time.strftime('%Y-%m-%d')}: set it right (timedatectl set-ntp true)")
    return Finding("clock", True, time.strftime("%Y-%m-%d %H:%M:%S %Z"))


def names(place: Place) -> Iterator[Finding]:
    """Whether every host that the configuration names has an address."""
    hosts: dict[str, str] = {}
    for key, value in _texts(place.table):
        with suppress(ValueError):
            host = urlsplit(value).hostname if "://" in value else None
            if host:
                hosts.setdefault(host, key)
    for host, key in sorted(hosts.items()):
        try:
            socket.getaddrinfo(host, None)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            yield Finding(
                f"host {host}", False, f"{key} names it, and it has no address ({reason}): correct it, or DNS"
            )
        else:
            yield Finding(f"host {host}", True, "has an address")


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text of the configuration, with its dotted key."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, key)
    elif isinstance(value, str):
        yield key, value


# --- TLS, and who can listen ---


def certificates(place: Place) -> Iterator[Finding]:
    """Whether each certificate is good, for long enough, and for the name under which people come."""
    for name in place.section("frontends"):
        table = place.section("frontends", name)
        file = table.get("certificate")
        if isinstance(file, str):
            yield _certificate(f"certificate of {name}", place.absolute(file), _public_host(place, name))


def _public_host(place: Place, front_end: str) -> str | None:
    url = _client_url(place) if front_end == "client" else place.section("frontends", front_end).get("public_url")
    return urlsplit(url).hostname if isinstance(url, str) else None


def _client_url(place: Place) -> object:
    """Where people reach the client front end, as far as that is written down."""
    return place.section("frontends", "manager").get("client_url") or place.section("frontends", "client").get(
        "public_url"
    )


def _certificate(what: str, file: Path, host: str | None) -> Finding:
    from cryptography import x509  # here, since it takes longer than most commands

    try:
        found = x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as error:
        return Finding(
            what, False, f"cannot read {file}: {getattr(error, 'strerror', None) or 'no certificate in PEM'}"
        )
    now = datetime.now(UTC)
    end = found.not_valid_after_utc
    if found.not_valid_before_utc > now:
        return Finding(
            what, False, f"{file} is good only from {found.not_valid_before_utc:%Y-%m-%d}: is the clock right?"
        )
    if end < now:
        return Finding(what, False, f"{file} ended on {end:%Y-%m-%d}: renew it; the gateway reads it by itself")
    if end < now + RENEW:
        return Finding(what, False, f"{file} ends on {end:%Y-%m-%d}: renew it; the gateway reads it by itself")
    try:
        subjects = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        good = [*subjects.get_values_for_type(x509.DNSName), *map(str, subjects.get_values_for_type(x509.IPAddress))]
    except x509.ExtensionNotFound:
        return Finding(
            what, False, f"{file} names no host (no subjectAltName), which no client takes: have it issued anew"
        )
    if host is not None and not any(_fits(pattern, host) for pattern in good):
        return Finding(what, False, f"{file} is for {', '.join(good)}, but people come to {host}")
    return Finding(what, True, f"for {', '.join(good)}, until {end:%Y-%m-%d}")


def _fits(pattern: str, host: str) -> bool:
    """RFC 6125, section 6.4.3: a star stands for one label, the leftmost."""
    if pattern.startswith("*."):
        return host.partition(".")[2].lower() == pattern[2:].lower()
    return host.lower() == pattern.lower()


def openness(place: Place) -> Iterator[Finding]:
    """Whether passwords cross the network in the clear, and whether a proxy that must be there is believed."""
    trusted = place.section("gateway").get("trusted_proxies")
    url = _client_url(place)
    client = place.section("frontends", "client")
    if isinstance(url, str) and url.startswith("https:") and client and not _speaks_tls(client) and not trusted:
        detail = (
            "people come by https:, and the front end speaks no TLS, so a proxy must: name it in trusted_proxies, or the "
            "gateway takes it for every caller; or give the front end a certificate and a key"
        )
        yield Finding("proxies", False, detail)
    for name in place.section("frontends"):
        table = place.section("frontends", name)
        if name != "sftp" and not trusted and not _speaks_tls(table) and any(map(_is_open, _endpoints(table))):
            detail = (
                "it can be reached from outside without TLS: give certificate and key, or let it listen on 127.0.0.1"
            )
            yield Finding(f"TLS of {name}", False, detail)


def _endpoints(table: Mapping[str, Any]) -> list[str]:
    found = table.get("endpoint", [])
    return [found] if isinstance(found, str) else [each for each in found if isinstance(each, str)]


def _speaks_tls(table: Mapping[str, Any]) -> bool:
    return "certificate" in table or any(
        each.startswith(("ssl:", "haproxy:ssl:", "txsni:")) for each in _endpoints(table)
    )


def _is_open(endpoint: str) -> bool:
    if not endpoint.removeprefix("haproxy:").startswith(("tcp:", "tcp6:")):
        return False
    _, found, interface = endpoint.partition("interface=")
    return not found or not interface.replace("\\:", ":").startswith(("127.", "::1", "localhost"))


# --- secrets and rights ---


def secrets(place: Place) -> Iterator[Finding]:
    """Whether others can read what only the gateway may know."""
    files: dict[Path, str] = {}
    for key, value in _texts(place.table):
        name = key.rpartition(".")[2]
        if name.endswith("_file") and any(word in name for word in (*_SECRET, "database", "url")):
            files[place.absolute(value)] = key
    inline = [key for key, value in _texts(place.table) if _is_secret(key, value)]
    if inline and place.source is not None:
        files[place.source] = inline[0]
    for file, key in files.items():
        with suppress(OSError):
            if file.stat().st_mode & stat.S_IRWXO:
                yield Finding(f"secret {key}", False, f"everybody can read {file}: chmod o= {file}")


def _is_secret(key: str, value: str) -> bool:
    name = key.rpartition(".")[2]
    if name in ("secret", "token_secret", "password", "bind_password"):
        return True
    with suppress(ValueError):
        return "://" in value and urlsplit(value).password is not None
    return False


def rights(place: Place, process: int) -> Iterator[Finding]:
    """Whether the gateway that runs may do what its volumes ask for, and no more."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        facts = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
        uid, capabilities = int(facts["Uid"][1]), int(facts["CapEff"][0], 16)
    except (OSError, KeyError, ValueError, IndexError):
        return
    for name in place.section("volumes"):
        owner = str(place.section("volumes", name).get("owner", "inherit"))
        gives_away = owner == "principal" or owner[:1].isdigit()
        if gives_away and not (capabilities >> CAP_CHOWN & 1 and capabilities >> CAP_FOWNER & 1):
            detail = (
                f'owner = "{owner}" gives files away, and the gateway may not: AmbientCapabilities=CAP_CHOWN CAP_FOWNER '
                'CAP_DAC_OVERRIDE in its unit, or owner = "service"'
            )
            yield Finding(f"capabilities for volume {name}", False, detail)
    if uid == 0 and place.source is not None:
        yield Finding("account", True, "it runs as root: an account of its own is safer (etc/vfgateway.service)")

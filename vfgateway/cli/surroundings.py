"""What ``vfgateway doctor`` looks at around the gateway: disks, names, certificates, the clock, rights, proxies. Changes nothing."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import attrs

from vfgateway.cli import certificates, exposure
from vfgateway.cli.mistakes import Mistake, wrong
from vfgateway.cli.output import size
from vfgateway.cli.place import Place, texts
from vfgateway.findings import Finding
from vfgateway.mountinfo import Mount, mount_above

#: Room below which a disk counts as full: what uploads need to be told so, and the database to go on.
LITTLE_SPACE, FEW_INODES = 512 << 20, 1000
#: Seconds that a file may seem to be younger than now, and a database's clock may differ from ours.
SKEW, DRIFT = 120.0, 5.0
#: Seconds in which others should let go of the database.
PATIENCE = 5.0
#: File systems on which SQLite's memory is not shared, or its locks are not kept (https://sqlite.org/wal.html).
REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "glusterfs", "fuse.glusterfs"})
#: Capabilities by their bit (``capability.h``).
CAP_CHOWN, CAP_FOWNER = 0, 3


def looks(place: Place, process: int | None) -> Sequence[Callable[[], Iterable[Finding]]]:
    """Everything to look at.

    :param process: of the gateway that runs, where it does
    """
    here = [partial(look, place) for look in (disks, mounts, database, clock, names, certificates.look)]
    here += [partial(look, place) for look in (exposure.secrets, exposure.proxies, exposure.openness)]
    return here if process is None else [*here, partial(rights, place, process)]


# --- disks ---


def answering(place: Place) -> tuple[Place, list[Finding]]:
    """The place without the volumes whose storage hangs, on which all further questions would hang, too; and what is to be said of those."""
    answered = _asked({name: partial(_touch, folder) for name, folder in place.directories.items()})
    silent = [name for name in place.directories if name not in answered]
    told = [
        wrong(
            Mistake.DISK_SILENT,
            f"disk of volume {name}",
            f"{place.directories[name]} does not answer within {PATIENCE:.0f} seconds: is its server there? Nothing else was asked of it",
        )
        for name in silent
    ]
    volumes = {name: table for name, table in place.section("volumes").items() if name not in silent}
    return attrs.evolve(place, table={**place.table, "volumes": volumes}), told


def _asked(questions: Mapping[str, Callable[[], str]]) -> dict[str, str]:
    """The answers that come within :data:`PATIENCE`, all asked at once. A thread that waits longer is left behind: it ends with its process."""
    answers: dict[str, str] = {}

    def ask(name: str, question: Callable[[], str]) -> None:
        answers[name] = question()

    threads = [Thread(target=ask, args=each, daemon=True) for each in questions.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(answers)


def _touch(folder: Path) -> str:
    with suppress(OSError, ValueError):
        os.statvfs(_nearest(folder))
    return ""


def disks(place: Place) -> Iterator[Finding]:
    """Whether there is room where the gateway writes."""
    places = {"data_dir": place.data_dir} | {f"volume {name}": path for name, path in place.directories.items()}
    for of, path in places.items():
        there, what = _nearest(path), f"disk of {of}"
        try:
            found = os.statvfs(there)
        except OSError as error:
            yield wrong(Mistake.DISK_SILENT, what, f"{there} does not answer: {error.strerror}; is it mounted?")
            continue
        free = found.f_bavail * found.f_frsize
        if free < LITTLE_SPACE:
            yield wrong(Mistake.DISK_FULL, what, f"{size(free)} left on {there}: make room, or move it")
        elif found.f_files and found.f_favail < FEW_INODES:
            yield wrong(Mistake.DISK_FULL, what, f"{found.f_favail} inodes left on {there}: remove small files")
        elif found.f_flag & os.ST_RDONLY:
            yield wrong(Mistake.DISK_READ_ONLY, what, f"{there} is mounted read-only: see dmesg, then mount it anew")
        else:
            yield Finding(what, True, f"{size(free)} left")


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
    for name, path in place.directories.items():
        for point in wanted:
            if path.is_relative_to(point) and not point.is_mount():
                detail = f"{point} is not mounted: mount {point}"
                yield wrong(Mistake.NOT_MOUNTED, f"mount of volume {name}", detail)
        mount = _mount(path)
        if mount is not None and mount.fstype.startswith("nfs") and not mount.options.isdisjoint(("soft", "softerr")):
            detail = (
                f"{mount.place} is mounted soft: a server that is slow for a while makes errors out of writes that were "
                "accepted; mount it hard"
            )
            yield wrong(Mistake.SOFT_MOUNT, f"mount of volume {name}", detail)


def _mount(path: Path) -> Mount | None:
    """In which a path lies, or will."""
    return mount_above(os.path.realpath(path))


# --- the database ---


def database(place: Place) -> Iterator[Finding]:
    """Whether SQLite can work where it lies, and whether somebody holds it."""
    file = _sqlite(place)
    if file is None or not file.exists():
        return
    mount = _mount(file.parent)
    if mount is not None and mount.fstype in REMOTE:
        detail = f"SQLite cannot share {file} over {mount.fstype}: keep data_dir on a local disk, or use PostgreSQL"
        yield wrong(Mistake.DATABASE_REMOTE, "database's disk", detail)
    what = "database's lock"
    try:
        with closing(sqlite3.connect(file, timeout=PATIENCE, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            yield wrong(Mistake.DATABASE_LOCKED, what, f"{file}: {error}; end who holds it: fuser -v {file}")
        else:
            detail = f"{file}: {error}; run this as root or as the gateway's account"
            yield wrong(Mistake.DATABASE_UNUSABLE, what, detail)
    except sqlite3.Error:
        return  # said already
    else:
        yield Finding(what, True, "nobody holds it")


def _sqlite(place: Place) -> Path | None:
    with suppress(OSError):  # said already
        return place.sqlite_file
    return None


# --- clock and names ---


def clock(place: Place) -> Iterator[Finding]:
    """Whether time has gone back, or differs from that of the machines that share a database: tokens, locks, certificates and second factors
    all depend on it."""
    if amiss := _amiss(place):
        yield wrong(Mistake.CLOCK, "clock", f"{amiss}: set it right (timedatectl set-ntp true)")
    else:
        yield Finding("clock", True, time.strftime("%Y-%m-%d %H:%M:%S %Z"))


def _amiss(place: Place) -> str:
    file, now = _sqlite(place), time.time()
    written = file or place.data_dir
    with suppress(OSError):
        ahead = written.stat().st_mtime - now
        if ahead > SKEW:
            return f"it is {ahead / 60:.0f} minutes behind {written}"
    if now < datetime(2025, 1, 1, tzinfo=UTC).timestamp():
        return f"it says {time.strftime('%Y-%m-%d')}"
    ahead = _ahead(place) if file is None else 0.0
    if abs(ahead) > DRIFT:
        return f"it is {abs(ahead):.0f} seconds {'behind' if ahead > 0 else 'before'} that of the database's server"
    return ""


def _ahead(place: Place) -> float:
    """Seconds by which the clock of the database's server is before ours; 0 if it does not answer, which others tell."""
    from vfgateway.errors import StorageFailure
    from vfgateway.upkeep import databasefacts  # here, since it takes longer than most commands

    with suppress(OSError, StorageFailure):
        return databasefacts.of_server(place.database_url, PATIENCE).ahead
    return 0.0


def names(place: Place) -> Iterator[Finding]:
    """Whether every host that the configuration names has an address."""
    hosts: dict[str, str] = {}
    for key, value in texts(place.table):
        with suppress(ValueError):
            host = urlsplit(value).hostname if "://" in value else None
            if host:
                hosts.setdefault(host, key)
    answers = _asked({host: partial(_why_unknown, host) for host in hosts})
    for host, key in sorted(hosts.items()):
        if reason := answers.get(host, f"no answer within {PATIENCE:.0f} seconds"):
            detail = f"{key} names it, and it has no address ({reason}): correct it, or DNS"
            yield wrong(Mistake.HOST_UNKNOWN, f"host {host}", detail)
        else:
            yield Finding(f"host {host}", True, "has an address")


def _why_unknown(host: str) -> str:
    """Nothing, if it has an address."""
    try:
        socket.getaddrinfo(host, None)
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""


# --- rights ---


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
            yield wrong(Mistake.CAPABILITIES, f"capabilities for volume {name}", detail)
    if uid == 0 and place.source is not None:
        yield Finding("account", True, "it runs as root: an account of its own is safer (etc/vfgateway.service)")

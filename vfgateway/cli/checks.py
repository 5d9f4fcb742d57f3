"""What ``vfgateway doctor`` looks at by itself, on the machine where the gateway is meant to run: what it reads and writes. Changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from vfgateway.cli.mistakes import Mistake, wrong
from vfgateway.cli.place import Place
from vfgateway.cli.ports import endpoints
from vfgateway.findings import Finding

#: Seconds for the database to answer, and for the daemon's own look at its configuration.
CONNECT, CHECK = 3.0, 60.0
#: What the gateway writes to in its ``data_dir``; the rest it only reads.
WRITTEN = re.compile(r"vfgateway\.db.*|spool|manager\.sock")

_SYSTEMD_NAME = re.compile(r"systemd:.*?\bname=([^:]+)")


# --- configuration ---


def configuration(place: Place) -> Finding:
    """Whether the daemon would take the configuration, by asking it: it knows its plugins, and their tables."""
    shown = str(place.source) if place.source else f"the embedded default, under {place.folder}"
    twistd = _twistd()
    if twistd is None:
        detail = "there is no twistd beside this command: install vfgateway anew"
        return wrong(Mistake.INSTALLATION, "configuration", detail)
    command = [twistd, "--nodaemon", "--pidfile=", "vfgateway", "--check"]
    if place.source is not None:
        command += ["--config", str(place.source)]
    try:
        done = subprocess.run(
            # The daemon's sockets may come from systemd, which hands them to one process by its number.
            ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *command],
            env=os.environ | _systemd_sockets(place),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CHECK,
        )
    except subprocess.TimeoutExpired:
        detail = f"{shown}: twistd did not read it within {CHECK:.0f} seconds: what is slow that it names?"
        return wrong(Mistake.CONFIGURATION, "configuration", detail)
    if done.returncode == 0:
        return Finding("configuration", True, shown)
    said = [line for line in done.stderr.splitlines() if line.strip()] or ["twistd ended without a word"]
    reason = said[-1].removeprefix("vfgateway: ")
    return wrong(Mistake.CONFIGURATION, "configuration", reason if shown in reason else f"{shown}: {reason}")


def _twistd() -> str | None:
    beside = Path(sys.executable).parent / "twistd"
    return str(beside) if beside.is_file() else shutil.which("twistd")


def _systemd_sockets(place: Place) -> dict[str, str]:
    """An environment in which every socket that the configuration wants from systemd seems to be there."""
    found = [_SYSTEMD_NAME.search(endpoint) for _, endpoint in endpoints(place)]
    names = [match[1] for match in found if match]
    return {"LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names)} if names else {}


# --- data ---


def data_dir(place: Place) -> Iterator[Finding]:
    """Whether the database and the secrets are safe from others and usable."""
    folder, what = place.data_dir, "data_dir"
    try:
        facts = folder.stat()
    except FileNotFoundError:
        yield Finding(what, True, f"{folder} is not there yet; the gateway makes it")
        return
    except OSError as error:
        yield wrong(Mistake.DATA_DIR_UNUSABLE, what, f"cannot look at {folder}: {error.strerror}; repair or move it")
        return
    if not stat.S_ISDIR(facts.st_mode):
        yield wrong(Mistake.DATA_DIR_UNUSABLE, what, f"{folder} is not a directory: move it away")
    elif facts.st_mode & 0o077:
        detail = f"others may enter {folder} (mode {stat.S_IMODE(facts.st_mode):04o}): chmod 0700 {folder}"
        yield wrong(Mistake.DATA_DIR_OPEN, what, detail)
    elif not _is_usable(folder):
        yield wrong(Mistake.DATA_DIR_UNUSABLE, what, _not_yours(folder))
    else:
        yield Finding(what, True, str(folder))
        yield from _foreign_files(folder, facts)


def _is_usable(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK)


def _not_yours(folder: Path) -> str:
    return f"you may not use {folder}: run this as root or as the gateway's account"


def _foreign_files(folder: Path, owner: os.stat_result) -> Iterator[Finding]:
    """What somebody else left there, root most often, so that the account to which the directory belongs cannot use it."""
    candidates = [*folder.iterdir(), *folder.glob("hostkeys/*")]
    found = [each for each in candidates if not each.is_dir() and not _is_open_to(each, owner)]
    if found and owner.st_uid:
        shown = f"{found[0]} and {len(found) - 1} more" if len(found) > 1 else str(found[0])
        detail = f"the gateway's account cannot use {shown}: chown -R {owner.st_uid}:{owner.st_gid} {folder}/{found[0].name}*"
        if found[0].parent != folder:
            detail = (
                f"the gateway's account cannot use {shown}: chown -R {owner.st_uid}:{owner.st_gid} {found[0].parent}"
            )
        yield wrong(Mistake.FOREIGN_FILES, "files in data_dir", detail)


def _is_open_to(path: Path, account: os.stat_result) -> bool:
    """Whether an account other than root may do with a file what the gateway does."""
    facts = path.lstat()
    bits = 6 if WRITTEN.fullmatch(path.name) else 4
    if facts.st_uid == account.st_uid:
        return True  # and could change its mode
    return bool(facts.st_mode >> (3 if facts.st_gid == account.st_gid else 0) & bits == bits)


def database(place: Place) -> Iterator[Finding]:
    """Whether the database can be opened, and is of a version that this one knows; only looked at while the gateway does not run."""
    yield _database(place)


def _database(place: Place) -> Finding:
    from vfgateway.errors import StorageFailure  # here, since what follows takes longer than most commands
    from vfgateway.upkeep import databasefacts

    what = "database"
    try:
        file = place.sqlite_file
        if file is not None and not file.exists():
            return Finding(what, True, f"{file} is not there yet; the gateway makes it")
        if file is not None:
            facts = databasefacts.of_file(file, CONNECT)
        else:
            facts = databasefacts.of_server(place.database_url, CONNECT)
    except OSError as error:
        return wrong(Mistake.DATABASE_UNUSABLE, what, f"cannot tell where it is: {error}; see database_file")
    except StorageFailure as error:
        detail = f"cannot use {file or 'the database'}: {error}; "
        remedy = "start the server, or correct gateway.database"
        if file is not None:
            remedy = "run `vfgateway db check`, repair its modes, or restore the backup"
        return wrong(Mistake.DATABASE_UNUSABLE, what, detail + remedy)
    if facts.unknown:
        detail = (
            f"{facts.place} was written by a newer version (schema {', '.join(facts.unknown)}): install that version, or "
            "restore a backup from before the upgrade"
        )
        return wrong(Mistake.DATABASE_SCHEMA, what, detail)
    return Finding(what, True, facts.place)


# --- volumes and logins ---


def volumes(place: Place) -> Iterator[Finding]:
    """What can be told of volumes without their backends: whether their directories are there."""
    for name in place.section("volumes"):
        what, folder = f"volume {name}", place.directories.get(name)
        if folder is None:
            yield Finding(what, True, "is looked at when the gateway runs")
        elif folder.is_dir() and not _is_usable(folder):
            yield wrong(Mistake.VOLUME_UNUSABLE, what, _not_yours(folder))
        elif folder.exists() and not folder.is_dir():
            yield wrong(Mistake.VOLUME_UNUSABLE, what, f"{folder} is not a directory: move it away")
        elif not folder.exists() and not folder.parent.is_dir() and not place.data_dir.is_relative_to(folder.parent):
            detail = f"{folder.parent} is not there, so the gateway cannot make {folder.name} in it: mkdir, or mount it"
            yield wrong(Mistake.VOLUME_UNUSABLE, what, detail)
        else:
            yield Finding(what, True, str(folder) if folder.is_dir() else f"{folder} is not there yet")


def together(place: Place) -> Iterator[Finding]:
    """Whether volumes get along with each other, and with several processes."""
    true = {name: Path(os.path.realpath(folder)) for name, folder in place.directories.items()}
    for (one, first), (other, second) in combinations(sorted(true.items()), 2):
        if first.is_relative_to(second) or second.is_relative_to(first):
            detail = f"{first} and {second} lie in each other: give each volume a directory of its own"
            yield wrong(Mistake.VOLUMES_OVERLAP, f"volumes {one} and {other}", detail)
    workers = place.section("gateway").get("workers", 1)
    for name in place.section("volumes"):
        if place.section("volumes", name).get("backend") == "memory" and workers != 1:
            detail = "each of several processes has files of its own in it: workers = 1, or another backend"
            yield wrong(Mistake.VOLUME_SCATTERED, f"volume {name}", detail)


def logins(place: Place) -> Iterator[Finding]:
    """Whether anybody can log in at all."""
    names = list(place.section("authenticators"))
    if not names:
        detail = "nobody can log in: add [authenticators.accounts] to the configuration"
        yield wrong(Mistake.NO_AUTHENTICATORS, "authenticators", detail)
    else:
        yield Finding("authenticators", True, ", ".join(names))

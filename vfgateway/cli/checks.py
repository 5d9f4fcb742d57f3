"""What ``vfgateway doctor`` looks at by itself, on the machine where the gateway is meant to run. Changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from vfgateway.cli.place import Place
from vfgateway.findings import Finding
from vfgateway.whereabouts import EMBEDDED

#: Seconds for a connection, and for the daemon's own look at its configuration.
CONNECT, CHECK = 3.0, 60.0

_TCP = re.compile(r"(?:haproxy:)?(?:tcp6?|ssl):(?:port=)?(\d+)(.*)")
_INTERFACE = re.compile(r":interface=((?:\\:|[^:])*)")
_UNIX = re.compile(r"(?:haproxy:)?unix:(?:address=)?((?:\\:|[^:])*)")
_SYSTEMD_NAME = re.compile(r"systemd:.*?\bname=([^:]+)")


# --- configuration ---


def configuration(place: Place) -> Finding:
    """Whether the daemon would take the configuration, by asking it: it knows its plugins, and their tables."""
    shown = str(place.source) if place.source else f"the embedded default, under {place.folder}"
    twistd = _twistd()
    if twistd is None:
        return Finding("configuration", False, "there is no twistd beside this command: install vfgateway anew")
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
        return Finding("configuration", False, f"{shown}: twistd did not read it within {CHECK:.0f} seconds")
    if done.returncode == 0:
        return Finding("configuration", True, shown)
    said = [line for line in done.stderr.splitlines() if line.strip()] or ["twistd ended without a word"]
    reason = said[-1].removeprefix("vfgateway: ")
    return Finding("configuration", False, reason if shown in reason else f"{shown}: {reason}")


def _twistd() -> str | None:
    beside = Path(sys.executable).parent / "twistd"
    return str(beside) if beside.is_file() else shutil.which("twistd")


def _systemd_sockets(place: Place) -> dict[str, str]:
    """An environment in which every socket that the configuration wants from systemd seems to be there."""
    endpoints = [endpoint for _, endpoint in _endpoints(place)]
    names = [match[1] for endpoint in endpoints if (match := _SYSTEMD_NAME.search(endpoint))]
    return {"LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names)} if names else {}


# --- data ---


def data_dir(place: Place) -> Finding:
    """Whether the database and the secrets are safe from others and usable."""
    folder = place.data_dir
    try:
        facts = folder.stat()
    except FileNotFoundError:
        return Finding("data_dir", True, f"{folder} is not there yet; the gateway makes it")
    except OSError as error:
        return Finding("data_dir", False, f"cannot look at {folder}: {error.strerror}")
    if not stat.S_ISDIR(facts.st_mode):
        return Finding("data_dir", False, f"{folder} is not a directory: move it away")
    if facts.st_mode & 0o077:
        mode = stat.S_IMODE(facts.st_mode)
        return Finding("data_dir", False, f"others may enter {folder} (mode {mode:04o}): chmod 0700 {folder}")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Finding("data_dir", False, f"you may not use {folder}: run this as root or as the gateway's account")
    return Finding("data_dir", True, str(folder))


def database(place: Place) -> Iterator[Finding]:
    """Whether the database can be opened; only looked at while the gateway does not run."""
    from sqlalchemy import create_engine, make_url, text  # here, since it takes longer than most commands
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    configured = place.section("gateway").get("database")
    file = place.section("gateway").get("database_file")
    try:
        url = make_url(_first_line(place.absolute(file)) if file else str(configured or "sqlite://"))
    except (ArgumentError, OSError, IndexError) as error:
        yield Finding("database", False, f"cannot tell where it is: {error}")
        return
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite":
        where = place.absolute(url.database) if url.database else place.data_dir / "vfgateway.db"
        yield _sqlite(where)
        return
    try:
        engine = create_engine(url)
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        reason = str(error.__cause__ or error).strip().splitlines() or ["no reason given"]
        yield Finding("database", False, f"cannot use {shown}: {reason[0]}")
        return
    yield Finding("database", True, shown)


def _first_line(file: Path) -> str:
    return file.read_text().splitlines()[0].strip()


def _sqlite(file: Path) -> Finding:
    if not file.exists():
        return Finding("database", True, f"{file} is not there yet; the gateway makes it")
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=CONNECT)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Finding(
            "database", False, f"cannot use {file}: {error}; restore it from the backup, or repair its modes"
        )
    return Finding("database", True, str(file))


# --- volumes and logins ---


def volumes(place: Place) -> Iterator[Finding]:
    """What can be told of volumes without their backends: whether their directories are there."""
    for name in place.section("volumes"):
        path = place.section("volumes", name).get("path")
        what = f"volume {name}"
        if not isinstance(path, str):
            yield Finding(what, True, "is looked at when the gateway runs")
            continue
        folder = place.absolute(path)
        if folder.is_dir() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            yield Finding(what, False, f"you may not use {folder}: run this as root or as the gateway's account")
        elif folder.exists() and not folder.is_dir():
            yield Finding(what, False, f"{folder} is not a directory")
        else:
            yield Finding(what, True, str(folder) if folder.is_dir() else f"{folder} is not there yet")


def logins(place: Place) -> Finding:
    """Whether anybody can log in at all."""
    names = list(place.section("authenticators"))
    if not names:
        return Finding("authenticators", False, "nobody can log in: add [authenticators.accounts] to the configuration")
    return Finding("authenticators", True, ", ".join(names))


# --- ports ---


def front_ends(place: Place, running: bool) -> Iterator[Finding]:
    """Whether each endpoint answers; or, while the gateway does not run, whether it is free."""
    for name, endpoint in _endpoints(place):
        what = f"front end {name}"
        address = _address(endpoint)
        if address is None:
            yield Finding(what, True, f"{endpoint}: not looked at")
        elif _answers(*address):
            yield Finding(what, running, endpoint if running else f"another program listens on {endpoint}: end it")
        else:
            reason = (
                f"nothing answers on {endpoint}: see the gateway's log; after a change of the configuration, restart it"
            )
            yield Finding(what, not running, reason if running else f"{endpoint} is free")


def _endpoints(place: Place) -> Iterator[tuple[str, str]]:
    defaults = tomllib.loads(EMBEDDED)["frontends"]
    for name in place.section("frontends"):
        table = place.section("frontends", name)
        for configured in (
            table.get("endpoint", defaults.get(name, {}).get("endpoint", [])),
            table.get("monitoring_endpoint", []),
        ):
            for endpoint in [configured] if isinstance(configured, str) else configured:
                yield name, str(endpoint)


def _address(endpoint: str) -> tuple[int, Sequence[object] | str] | None:
    """The family and address to connect to; ``None`` where that cannot be told (systemd's, port 0)."""
    if match := _UNIX.match(endpoint):
        return socket.AF_UNIX, match[1].replace("\\:", ":")
    match = _TCP.match(endpoint)
    if match is None or match[1] == "0":
        return None
    six = endpoint.removeprefix("haproxy:").startswith("tcp6")
    interface = _INTERFACE.search(match[2])
    host = interface[1].replace("\\:", ":") if interface else ""
    six = six or ":" in host
    host = {"": "::1" if six else "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return (socket.AF_INET6 if six else socket.AF_INET), (host, int(match[1]))


def _answers(family: int, address: Sequence[object] | str) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT)
        try:
            probe.connect(address)  # type: ignore[arg-type]  # a pair, or a path
        except OSError:
            return False
        return True

"""The configuration: found, read and checked before anything starts. What every part shares is typed here; the tables of
plugins are handed to them as written."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, PrivateAttr, ValidationError, field_validator
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from twisted.internet.endpoints import serverFromString

from vfgateway.alert_settings import AlertSettings
from vfgateway.audit_settings import AuditSettings
from vfgateway.errors import ConfigurationError
from vfgateway.log_settings import LogSettings
from vfgateway.scan_settings import ScanSettings
from vfgateway.section import ConfigPath, SecondsOrNone, Secret, Section, locate, mistake
from vfgateway.tomlfile import NotToml, line_of, read
from vfgateway.whereabouts import EMBEDDED, SYSTEM_FILE, find

__all__ = [
    "EMBEDDED",
    "SYSTEM_FILE",
    "EventsSettings",
    "GatewaySettings",
    "RedisSettings",
    "Settings",
    "VolumeSettings",
    "find",
    "load",
    "parse",
    "placed",
]

_VOLUME_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_RELATIVE_SOCKET = re.compile(r"(?:haproxy:)?unix:(?:address=)?(?!/|address=)")
#: More processes than any machine has use for.
MOST_WORKERS = 256
_EXAMPLE = '"tcp:6021:interface=127.0.0.1"'


class GatewaySettings(Section):
    """``[gateway]``.

    :ivar data_dir: database, keys and generated secrets; made with mode 0700 at start
    :ivar workers: processes to run, ``"auto"`` for one per core. With one there is nothing else; with more a supervisor starts them
        over the same sockets
    :ivar supervised: run one process under a supervisor, too: it is started again if it dies, and can be reloaded
    :ivar grace: seconds that transfers under way get to end when a process stops
    :ivar database: an SQLAlchemy URL; empty stands for SQLite in ``data_dir`` (see :attr:`Settings.database_url`)
    :ivar trusted_proxies: addresses and networks whose forwarding headers are believed; ``unix`` is whoever comes through a
        Unix socket
    :ivar job_folders: directories in which the containers of jobs mount vfolders by their names: absolute links into them are followed
    :ivar trash_retention: how long a deleted vfolder, and what people delete over the HTTP API, can be restored; ``"0s"`` for not at all
    """

    data_dir: ConfigPath = Path("var")
    workers: int = 1
    supervised: bool = False
    grace: float = Field(default=10.0, ge=0, le=3600)
    database: Secret = Secret()
    trusted_proxies: tuple[str, ...] = ()
    job_folders: tuple[str, ...] = ("/home/work",)
    trash_retention: SecondsOrNone = 7 * 24 * 3600.0

    @property
    def reloads(self) -> bool:
        """Whether there is a supervisor, which can go over to another configuration while it runs."""
        return self.supervised or self.workers > 1

    @field_validator("workers", mode="before")
    @classmethod
    def _number(cls, value: Any) -> int:
        if value == "auto":
            return len(os.sched_getaffinity(0))
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_WORKERS:
            raise ValueError(f'should be a number of processes, at most {MOST_WORKERS}, or "auto"')
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            try:
                entry == "unix" or ipaddress.ip_network(entry)
            except ValueError:
                raise ValueError(
                    f'{entry!r} should be an address or a network such as "10.0.0.0/8", or "unix"'
                ) from None
        return value

    @field_validator("job_folders")
    @classmethod
    def _absolute(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for place in value:
            if not place.startswith("/") or ".." in place.split("/"):
                raise ValueError(f'{place!r} should be an absolute path such as "/home/work"')
        return value

    @field_validator("database")
    @classmethod
    def _readable_url(cls, value: Secret) -> Secret:
        if len(value.values) > 1:
            raise ValueError("should be one URL")
        for url in value.values:
            try:
                make_url(url)
            except ArgumentError:
                raise ValueError("should be a URL such as sqlite:///var/vfgateway.db or postgresql://...") from None
        return value


class VolumeSettings(Section):
    """``[volumes.NAME]``: what all kinds have in common; the rest is for the backend.

    :ivar backend: the kind of storage, which says what other keys there are
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    backend: str = Field(min_length=1)

    @property
    def options(self) -> dict[str, Any]:
        """The table without ``backend``, as written."""
        return dict(self.model_extra or {})


class RedisSettings(Section):
    """``[events.redis]``: where a manager listens for the end of clones and deletions.

    :ivar url: ``redis://[[user]:password@]host[:port][/db]``, ``rediss://`` for TLS, ``unix:///path`` for a socket; managers
        listen on database 4, which is the default
    :ivar format: ``current`` for managers since 25.15, ``23.09`` for that line and 24.x
    :ivar stream: the stream that takes events for one listener; in the older format, for all
    :ivar channel: the channel that takes events for all listeners
    """

    url: Secret
    format: Literal["current", "23.09"] = "current"
    stream: str = "events"
    channel: str = "events_all"


class EventsSettings(Section):
    """``[events]``."""

    redis: RedisSettings | None = None


class Settings(Section):
    """A whole configuration, checked as far as that can be done without the plugins.

    Frozen; relative paths are absolute by now. The tables of plugins still hold what was written.
    """

    gateway: GatewaySettings
    frontends: dict[str, dict[str, Any]] = Field(default_factory=dict)
    volumes: dict[str, VolumeSettings] = Field(default_factory=dict)
    authenticators: dict[str, dict[str, Any]] = Field(default_factory=dict)
    events: EventsSettings = EventsSettings()
    alerts: AlertSettings = AlertSettings()
    scans: ScanSettings = ScanSettings()
    audit: AuditSettings = AuditSettings()
    log: LogSettings = LogSettings()

    _source: Path | None = PrivateAttr(default=None)
    _folder: Path = PrivateAttr(default_factory=Path.cwd)
    _text: str = PrivateAttr(default="")

    @property
    def text(self) -> str:
        """What was written, for :func:`parse`."""
        return self._text

    @property
    def source(self) -> Path | None:
        """The file; ``None`` for the embedded default."""
        return self._source

    @property
    def folder(self) -> Path:
        """The folder from which relative paths count."""
        return self._folder

    @property
    def database_url(self) -> str:
        """The database as an absolute SQLAlchemy URL. Reads ``database_file`` where that is given. Raises ``ConfigurationError``."""
        if not self.gateway.database:
            return f"sqlite:///{self.gateway.data_dir / 'vfgateway.db'}"
        url = make_url(self.gateway.database.load()[0])
        if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
            url = url.set(database=str(self.folder / url.database))
        return url.render_as_string(hide_password=False)


def load(
    path: str | Path | None, environ: Mapping[str, str], system_file: Path = SYSTEM_FILE, listens: bool = True
) -> Settings:
    """Find, read and check the configuration.

    :param path: the file to read, if the caller named one. Otherwise the first of ``$VFGATEWAY_CONFIG``, ``./vfgateway.toml``
        and ``system_file``; with none of them, the embedded default under the working directory
    :param environ: the environment
    :param listens: whether endpoints are to be checked: those of systemd exist only where it passes its sockets
    :raises ConfigurationError: with the dotted key, the value and what was meant
    """
    source = find(path, environ, system_file)
    if source is None:
        return parse(EMBEDDED, Path.cwd(), listens=listens)
    try:
        text = source.read_text("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError("", "it is not UTF-8", f"{source}:{line}") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        reason = getattr(error, "strerror", error)
        raise ConfigurationError("", f"cannot read the configuration {source}: {reason}") from None
    return parse(text, source.parent, source, listens)


def parse(text: str, folder: Path, source: Path | None = None, listens: bool = True) -> Settings:
    """Check a configuration given as TOML; relative paths count from ``folder``. ``listens``, and what is raised, as of :func:`load`."""
    try:
        table = read(text)
    except NotToml as error:
        place = f"{source}:{error.line}" if source else ""
        raise ConfigurationError("", f"it is not TOML: {error}", place) from None
    with placed(text, source):
        settings = _checked(table, folder, listens)
    settings._source, settings._folder, settings._text = source, folder, text
    return settings


@contextmanager
def placed(text: str, source: Path | None) -> Iterator[None]:
    """Errors about a key say on which line of which file it is written; ``source`` is ``None`` where there is no file."""
    try:
        yield
    except ConfigurationError as error:
        if error.place or source is None:
            raise
        line = line_of(text, error.key)
        raise ConfigurationError(error.key, error.message, f"{source}:{line}" if line else str(source)) from None


def _checked(table: dict[str, Any], folder: Path, listens: bool) -> Settings:
    if isinstance(table.setdefault("gateway", {}), dict):
        table["gateway"].setdefault("data_dir", "var")
    located = locate(table, folder)
    try:
        settings = Settings.model_validate(located)
    except ValidationError as error:
        raise mistake(error, "", located) from None
    for name in settings.volumes:
        if not _VOLUME_NAME.fullmatch(name):
            raise ConfigurationError(f"volumes.{name}", "volumes are named by letters, digits, '-', '_' and '.' only")
    for name, frontend in settings.frontends.items():
        for key in ("endpoint", "monitoring_endpoint"):
            if key in frontend and listens:
                _check_endpoints(f"frontends.{name}.{key}", frontend[key])
    return settings


def _check_endpoints(key: str, value: Any) -> None:
    endpoints = [value] if isinstance(value, str) else value
    if not isinstance(endpoints, list) or not endpoints or not all(isinstance(item, str) for item in endpoints):
        raise ConfigurationError(key, f"should be an endpoint such as {_EXAMPLE}, or a list of them, got {value!r}")
    for endpoint in endpoints:
        if _RELATIVE_SOCKET.match(endpoint):
            raise ConfigurationError(key, f"give the socket's absolute path, got {str(endpoint)!r}")
        try:
            serverFromString(None, str(endpoint))
        except Exception as error:  # each endpoint parser raises what it likes
            reason = str(error) or type(error).__name__
            if endpoint.startswith("systemd:"):
                reason = "systemd passed no such socket; is vfgateway.socket enabled?"
            raise ConfigurationError(key, f"should be like {_EXAMPLE}, got {str(endpoint)!r} ({reason})") from None

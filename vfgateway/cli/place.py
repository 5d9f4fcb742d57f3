"""Where the gateway of this machine lies: the configuration is read as far as that takes, and no further.

What the daemon checks (plugins, endpoints, sockets that systemd hands over) is none of the command's business: it has to work beside a gateway
that refuses to start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from vfgateway import tomlfile, whereabouts
from vfgateway.cli.failures import CommandFailed, Exit

#: The longest path that a Unix socket can have (``sun_path`` of ``unix(7)``, less its end).
LONGEST_SOCKET = 107
#: Backends whose ``path`` is a directory of this machine.
DIRECTORIES = frozenset({"vfs", "nfs", "xfs", "ext4", "btrfs", "cephfs"})


@attrs.frozen
class Place:
    """What the configuration says of where things are.

    :ivar source: the file; ``None`` for the embedded default
    :ivar folder: from which relative paths count
    :ivar table: the configuration as written
    """

    source: Path | None
    folder: Path
    table: Mapping[str, Any]

    @property
    def data_dir(self) -> Path:
        """Where database and secrets lie."""
        return self.absolute(self.section("gateway").get("data_dir", "var"))

    @property
    def socket(self) -> Path | None:
        """Where the gateway listens for this command; ``None`` if it is configured not to."""
        configured = self.section("frontends", "manager").get("socket", True)
        if configured is False or "manager" not in self.section("frontends"):
            return None
        return self.data_dir / "manager.sock" if configured is True else self.absolute(configured)

    @property
    def database_url(self) -> str:
        """The database as configured; empty for SQLite in ``data_dir``. ``OSError`` if the file that holds the URL cannot be read."""
        gateway = self.section("gateway")
        if file := gateway.get("database_file"):
            return self.absolute(file).read_text().strip().partition("\n")[0].strip()
        return str(gateway.get("database") or "")

    @property
    def sqlite_file(self) -> Path | None:
        """The database, where it is a file. Raises as :attr:`database_url`."""
        url = self.database_url
        if not url:
            return self.data_dir / "vfgateway.db"
        if not url.startswith("sqlite:///"):
            return None
        return self.absolute(url.removeprefix("sqlite:///").partition("?")[0])

    @property
    def directories(self) -> Mapping[str, Path]:
        """Where the volumes lie whose backend keeps them in a directory of this machine, by name."""
        tables = {name: self.section("volumes", name) for name in self.section("volumes")}
        return {
            name: self.absolute(table["path"])
            for name, table in tables.items()
            if table.get("backend") in DIRECTORIES and isinstance(table.get("path"), str)
        }

    def section(self, *keys: str) -> Mapping[str, Any]:
        """A table; empty if it is missing or none."""
        found: Any = self.table
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {}

    def absolute(self, path: object) -> Path:
        """A path as configured, as an absolute one."""
        return self.folder / os.path.expanduser(str(path))  # noqa: PTH111 (Path raises for a user that there is not)


def find(named: Path | None) -> Place:
    """Find the configuration as the daemon does. Raises :class:`CommandFailed` if it cannot be read.

    :param named: the file that the caller named
    """
    source = whereabouts.find(named, os.environ)
    if source is None:
        return Place(None, Path.cwd(), tomlfile.read(whereabouts.EMBEDDED))
    try:
        return Place(source, source.parent, tomlfile.read(source.read_text("utf-8")))
    except PermissionError:
        message = f"you may not read the configuration {source}: run this as root or as the gateway's account"
        raise CommandFailed(message, Exit.REFUSED) from None
    except OSError as error:
        raise CommandFailed(f"cannot read the configuration {source}: {error.strerror}") from None
    except tomlfile.NotToml as error:
        raise CommandFailed(f"{source}:{error.line}: it is not TOML: {error}") from None
    except UnicodeDecodeError:
        raise CommandFailed(f"{source}: it is not TOML: it is not UTF-8") from None


def texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text of the configuration, with its dotted key."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from texts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner, key)
    elif isinstance(value, str):
        yield key, value

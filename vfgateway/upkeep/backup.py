"""Saves the database, as it is at one moment, with the secrets and host keys beside it; while the gateway runs or not."""

from __future__ import annotations

import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from vfgateway import __version__
from vfgateway.config import Settings
from vfgateway.errors import AlreadyExists, NotFound, StorageFailure
from vfgateway.upkeep import archive
from vfgateway.upkeep.archive import DATA_DIR, DATABASE, Manifest
from vfgateway.upkeep.store import sqlite_file

#: A secret is smaller than this; a larger file at the top of ``data_dir`` is something else.
LARGEST_SECRET = 1 << 20
#: Seconds to wait for a database that somebody has locked.
PATIENCE = 30.0
#: The only directory below ``data_dir`` with something that cannot be made again.
HOST_KEYS = "hostkeys"

INSTEAD = "save it with `pg_dump --format=custom`, bring it back with `pg_restore`, and copy the secrets of data_dir"


def save(settings: Settings, target: Path) -> Manifest:
    """Write a backup to ``target``. Whoever writes to the database meanwhile is not held up. ``AlreadyExists``, ``NotFound``,
    ``Unsupported``, ``StorageFailure``."""
    database = sqlite_file(settings, INSTEAD)
    if not database.exists():
        raise NotFound(database, f"there is no database {database} yet")
    if target.exists():
        raise AlreadyExists(target, f"{target} is there already: name another file")
    try:
        with tempfile.TemporaryDirectory(prefix=".vfgateway-backup-", dir=target.parent) as folder:
            copy = Path(folder) / DATABASE
            schema = _copy(database, copy)
            data_dir = settings.gateway.data_dir
            secrets = {f"{DATA_DIR}{path.relative_to(data_dir)}": path for path in kept(data_dir, database)}
            sources = {DATABASE: copy, **secrets}
            manifest = Manifest(
                version=__version__,
                schema=schema,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                files={name: archive.digest(path) for name, path in sources.items()},
            )
            archive.write(target, manifest, sources)
            return manifest
    except sqlite3.Error as error:
        raise StorageFailure(f"cannot save {database}: {error}") from error
    except OSError as error:
        raise StorageFailure(f"cannot save to {target}: {error.filename or ''} {error.strerror}") from error


def _copy(source: Path, target: Path) -> str:
    """Copy a database that others write to; its schema. One read transaction: readers hold nobody up in WAL mode, and see one moment."""
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as there,
        closing(sqlite3.connect(target)) as here,
    ):
        target.chmod(0o600)
        there.backup(here, pages=-1)
        here.execute("PRAGMA journal_mode=DELETE")
        found = here.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(f"{found}; see `vfgateway db check`")
        return str(here.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def kept(data_dir: Path, database: Path) -> Iterator[Path]:
    """The files of ``data_dir`` that belong into a backup: secrets and host keys."""
    for folder in (data_dir, data_dir / HOST_KEYS):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            facts = path.lstat()
            small = stat.S_ISREG(facts.st_mode) and facts.st_size <= LARGEST_SECRET
            if small and not path.name.startswith((".", database.name)):
                yield path

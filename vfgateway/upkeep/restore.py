"""Brings a backup back: on the same machine in the place of what is there, or on an empty one."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs
from sqlalchemy import Connection, insert, select, update

from vfgateway.config import Settings
from vfgateway.datadir import alone
from vfgateway.errors import ConfigurationError, Conflict, InvalidArgument, NotFound, StorageFailure
from vfgateway.services.description_tables import descriptions
from vfgateway.services.migrations import pending, upgrade
from vfgateway.services.schema import dirty, tasks, vfolders
from vfgateway.upkeep import archive, checking
from vfgateway.upkeep.archive import DATA_DIR, DATABASE, Manifest
from vfgateway.upkeep.backup import INSTEAD
from vfgateway.upkeep.store import engine_of, sqlite_file

#: What SQLite keeps beside a database.
BESIDE = ("-wal", "-shm", "-journal")
#: Who the figures are told to have been left by: nobody alive, so that they are counted anew.
NOBODY = "restore"


@attrs.frozen
class Restored:
    """What was done.

    :ivar kept: where what had been there was moved; ``None`` if nothing was
    :ivar vfolders: how many the registry has; each is counted anew when the gateway starts
    """

    manifest: Manifest
    kept: Path | None
    vfolders: int


def restore(settings: Settings, source: Path) -> Restored:
    """Put the backup in the place of database and secrets. All that can be refused is refused before anything is touched. ``Conflict`` while
    a gateway runs, or if the backup was made by a newer version; ``InvalidArgument``, ``NotFound``, ``Unsupported``, ``StorageFailure``."""
    database = sqlite_file(settings, INSTEAD)
    data_dir = settings.gateway.data_dir
    if not source.is_file():
        raise NotFound(source, f"there is no file {source}")
    try:
        _make(data_dir)
        _make(database.parent)
        with alone(data_dir), tempfile.TemporaryDirectory(prefix=".restore-", dir=database.parent) as aside:
            with archive.reading(source) as (manifest, content):
                files = archive.unpack(manifest, content, Path(aside))
            if DATABASE not in files:
                raise InvalidArgument("backup", "holds no database")
            count = _prepare(files[DATABASE])
            places = {name: _place(name, data_dir, database) for name in files}
            stamp = time.strftime("before-restore-%Y%m%dT%H%M%SZ", time.gmtime())
            kept = _exchange(files, places, stamp)
            return Restored(manifest, kept, count)
    except OSError as error:
        raise StorageFailure(f"cannot restore: {error.filename or ''} {error.strerror}") from error


def _make(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True)
        _give(folder, folder.parent)


def _place(name: str, data_dir: Path, database: Path) -> Path:
    return database if name == DATABASE else data_dir / name.removeprefix(DATA_DIR)


def _prepare(file: Path) -> int:
    """Check the copy, bring it to this version's schema, and mark as uncertain what has changed since; how many vfolders it has."""
    with engine_of(f"sqlite:///{file}") as engine:
        with engine.connect() as connection:
            if wrong := [finding for finding in checking.sqlite(connection) if not finding.ok]:
                raise InvalidArgument("backup", f"its database is damaged: {wrong[0].detail}")
            try:
                pending(connection)
            except ConfigurationError as error:
                raise Conflict(f"the database in the backup {error.message}") from None
        upgrade(engine)
        with engine.begin() as connection:
            count = _mark(connection)
    for suffix in BESIDE:
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    return count


def _mark(connection: Connection) -> int:
    """What lies on the volumes is younger than the backup: figures are counted anew, and work that was under way is not done a second time."""
    keys = list(connection.execute(select(vfolders.c.key)).scalars())
    connection.execute(dirty.delete())
    connection.execute(descriptions.delete())  # what lies beside the vfolders is written anew: the registry is right
    if keys:
        connection.execute(insert(dirty), [{"process": NOBODY, "vfolder": key, "recount": False} for key in keys])
    said = {"state": "cancelled", "message": "the database was restored from a backup", "finished": time.time()}
    connection.execute(update(tasks).where(tasks.c.state.in_(("queued", "running"))).values(said))
    return len(keys)


def _exchange(files: Mapping[str, Path], places: Mapping[str, Path], stamp: str) -> Path | None:
    """Move aside what is there, and the new files in, the database last; where the old ones are."""
    kept = None
    for place in (each for name in places for each in _all_of(name, places[name])):
        if os.path.lexists(place):
            aside = _beside(place, places[DATABASE], stamp)
            place.rename(aside)
            kept = aside.parent
    for name in sorted(files, key=lambda each: each == DATABASE):
        place = places[name]
        _make(place.parent)
        with _moved(files[name], place.parent) as here:
            _give(here, place.parent)
            here.rename(place)
    return kept


def _all_of(name: str, place: Path) -> Iterator[Path]:
    yield place
    if name == DATABASE:
        yield from (place.with_name(place.name + suffix) for suffix in BESIDE)


def _beside(place: Path, database: Path, stamp: str) -> Path:
    """Where an old file goes: into one folder beside the database, or beside itself if that is another file system."""
    near = place.parent.stat().st_dev == database.parent.stat().st_dev
    folder = (database.parent if near else place.parent) / stamp
    if not folder.is_dir():
        folder.mkdir(mode=0o700)
        _give(folder, folder.parent)
    aside = folder / place.name
    return aside if not aside.exists() else folder / f"{place.parent.name}-{place.name}"


@contextmanager
def _moved(file: Path, folder: Path) -> Iterator[Path]:
    """The file on the file system of ``folder``."""
    if file.stat().st_dev == folder.stat().st_dev:
        yield file
        return
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=folder) as near:
        here = Path(near) / file.name
        here.touch(mode=0o600)
        with here.open("r+b") as target:
            target.write(file.read_bytes())
            os.fsync(target.fileno())
        yield here


def _give(path: Path, like: Path) -> None:
    """Root works for the account that the folder belongs to."""
    if os.geteuid() == 0:
        facts = like.stat()
        os.chown(path, facts.st_uid, facts.st_gid)

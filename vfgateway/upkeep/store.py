"""The configured database, opened without a gateway."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from vfgateway import config
from vfgateway.config import Settings
from vfgateway.errors import Conflict, NotFound, StorageFailure, Unsupported
from vfgateway.services.database import driven, make_engine


def settings(named: Path | None) -> Settings:
    """The configuration as the daemon reads it, wherever its sockets come from. Raises ``ConfigurationError``."""
    return config.load(named, os.environ, listens=False)


def sqlite_file(settings: Settings, instead: str = "") -> Path:
    """Where the database lies. ``Unsupported`` if it is PostgreSQL's affair.

    :param instead: what to use there
    """
    url = driven(settings.database_url)
    if url.get_backend_name() != "sqlite":
        raise Unsupported(f"the database is PostgreSQL's ({url.render_as_string(hide_password=True)}): {instead}")
    if not url.database or url.database == ":memory:":
        raise Conflict("the database is kept in memory: there is nothing on disk")
    return Path(url.database)


@contextmanager
def opened(settings: Settings) -> Iterator[Engine]:
    """The database, which has to be there. ``NotFound``, ``StorageFailure``."""
    url = driven(settings.database_url)
    if url.get_backend_name() == "sqlite":
        file = sqlite_file(settings)
        if not file.exists():
            raise NotFound(file, f"there is no database {file}: the gateway makes it when it first starts")
    with engine_of(str(url.render_as_string(hide_password=False))) as engine:
        yield engine


@contextmanager
def engine_of(url: str) -> Iterator[Engine]:
    """An engine, closed at the end. What the database says is a ``StorageFailure``."""
    engine = make_engine(driven(url))
    try:
        yield engine
    except (DBAPIError, sqlite3.Error) as error:
        cause = getattr(error, "orig", None) or error
        raise StorageFailure(f"the database: {str(cause).strip().splitlines()[0]}") from error
    finally:
        engine.dispose()

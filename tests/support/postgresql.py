"""A real PostgreSQL, and tests of services on it: each of their databases is one of its own there, instead of a file.

In a module that imports :func:`on_postgresql` and :func:`postgresql` that is so for all tests; ``pytest -p tests.support.postgresql tests/services``
does it for whatever is run.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import psycopg
import pytest
from sqlalchemy import create_engine

from tests.support import databases
from tests.support.process import eventually
from vfgateway import config
from vfgateway.services.migrations import upgrade

#: Nothing of a test has to outlive its machine.
_QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")


class Postgresql:
    """A server behind a Unix socket, as the user that Debian's package makes for it: it does not run as root. Ends with the ``with`` block."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="vfgateway-postgresql-")  # the user has to come there
        self._names: dict[Path, str] = {}
        self._numbers = count()

    def __enter__(self) -> Self:
        place, programs = Path(self._folder.name), _programs()
        as_whom = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(place, user.pw_uid, user.pw_gid)
            as_whom = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        data = place / "data"
        making = [
            "--no-sync",
            "--no-instructions",
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ]
        subprocess.run([*as_whom, programs / "initdb", "-D", data, *making], check=True, stdout=subprocess.DEVNULL)
        options = [*_QUICK, "listen_addresses=", f"unix_socket_directories={place}", "max_connections=300"]
        settings = [word for option in options for word in ("-c", option)]
        self._process = subprocess.Popen(
            [*as_whom, programs / "postgres", "-D", data, *settings], stderr=subprocess.DEVNULL
        )
        eventually(self._answers, "PostgreSQL answers")
        self._do("CREATE DATABASE empty")
        engine = create_engine(self._url("empty").replace("postgresql:", "postgresql+psycopg:"))
        upgrade(engine)
        engine.dispose()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()
        self._folder.cleanup()

    def address(self, path: Path) -> str:
        """The URL of the database that stands for the file at ``path``; made if it is new, with this version's schema."""
        if path not in self._names:
            name = f"test{next(self._numbers)}"
            self._do(f"CREATE DATABASE {name} TEMPLATE empty")
            self._names[path] = name
        return self._url(self._names[path])

    def forget(self) -> None:
        """Remove all that :meth:`address` has made: each takes some MiB."""
        for name in self._names.values():
            self._do(f"DROP DATABASE {name} WITH (FORCE)")
        self._names.clear()

    def _url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self._folder.name}"

    def _answers(self) -> bool:
        assert self._process.poll() is None, "PostgreSQL ended"
        try:
            self._do("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _do(self, statement: str) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode("ascii"))


def _programs() -> Path:
    """Where Debian has those of the newest version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda program: float(program.parts[4]))
    assert found, "PostgreSQL is not installed (Debian's postgresql)"
    return found[-1].parent


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """One server for all tests."""
    with Postgresql() as server:
        yield server


@pytest.fixture(autouse=True)
def on_postgresql(postgresql: Postgresql, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Databases of tests, and of whole gateways in them, are there."""

    def of_gateway(settings: config.Settings) -> Any:
        return postgresql.address(settings.gateway.data_dir / "vfgateway.db")

    monkeypatch.setattr(databases, "address", postgresql.address)
    monkeypatch.setattr(config.Settings, "database_url", property(of_gateway))
    yield
    postgresql.forget()

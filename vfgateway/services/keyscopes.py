"""What keys permit, in the database; each function runs within one read or write."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection, Row, select

from vfgateway.errors import InvalidArgument
from vfgateway.model import Permission
from vfgateway.principals import KeyScope
from vfgateway.services.login_tables import key_scopes

#: Protocols that people come by, as of :attr:`vfgateway.principals.Origin.protocol`.
PROTOCOLS = frozenset({"client", "webdav", "sftp"})


def checked_scope(scope: KeyScope) -> KeyScope | None:
    """``scope`` itself if it can be one; ``None`` if it narrows nothing. ``InvalidArgument``."""
    if scope.protocols is not None and not scope.protocols:
        raise InvalidArgument("protocols", "name at least one")
    if unknown := (scope.protocols or frozenset()) - PROTOCOLS:
        raise InvalidArgument("protocols", f"expected some of {', '.join(sorted(PROTOCOLS))}, got {min(unknown)!r}")
    if scope.vfolders is not None and not scope.vfolders:
        raise InvalidArgument("vfolders", "name at least one")
    if scope.permission is Permission.NONE:
        raise InvalidArgument("permission", "expected ro, rw or rwd")
    return None if scope == KeyScope() else scope


def keep(connection: Connection, credential: str, scope: KeyScope) -> None:
    """Write down what a new key permits."""
    connection.execute(
        key_scopes.insert().values(
            credential=credential,
            protocols=None if scope.protocols is None else json.dumps(sorted(scope.protocols)),
            vfolders=None if scope.vfolders is None else json.dumps(sorted(scope.vfolders)),
            permission=str(scope.permission),
        )
    )


def of_key(connection: Connection, credential: str) -> KeyScope | None:
    """What a key permits; ``None`` for all that its user may do."""
    row = connection.execute(select(key_scopes).where(key_scopes.c.credential == credential)).first()
    return None if row is None else _scope(row)


def of_keys(connection: Connection, credentials: list[str]) -> Mapping[str, KeyScope]:
    """The same of several; those that permit all are left out."""
    rows = connection.execute(select(key_scopes).where(key_scopes.c.credential.in_(credentials)))
    return {row.credential: _scope(row) for row in rows}


def _scope(row: Row[tuple[str, str | None, str | None, str]]) -> KeyScope:
    return KeyScope(
        None if row.protocols is None else frozenset(json.loads(row.protocols)),
        None if row.vfolders is None else frozenset(json.loads(row.vfolders)),
        Permission.parse(row.permission),
    )

"""Brings the database to this version's schema before the gateway would do it at its start."""

from __future__ import annotations

from collections.abc import Sequence

from vfgateway.config import Settings
from vfgateway.datadir import alone
from vfgateway.services import migrations
from vfgateway.services.migrations import Revision
from vfgateway.upkeep.store import opened


def pending(settings: Settings) -> Sequence[Revision]:
    """The steps that are to be taken, oldest first. Changes nothing. ``ConfigurationError`` if a newer version wrote the database, or something else
    did; raises as :func:`vfgateway.upkeep.store.opened`."""
    with opened(settings) as engine, engine.connect().execution_options(vfgateway_read=True) as connection:
        return migrations.pending(connection)


def upgrade(settings: Settings) -> Sequence[Revision]:
    """Take them, all or none; ``Conflict`` while a gateway runs on this machine."""
    steps = pending(settings)
    if steps:
        with alone(settings.gateway.data_dir), opened(settings) as engine:
            migrations.upgrade(engine)
    return steps

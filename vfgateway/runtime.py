"""What the gateway hands to a plugin: the outside world, so that no plugin reaches for it by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import attrs

from vfgateway.blocking import Pool


class State(Protocol):
    """A small durable map with compare-and-set, shared by all processes of the gateway (project identifiers, cursors)."""

    def get(self, key: str) -> Awaitable[bytes | None]:
        """The value, or ``None``."""

    def compare_and_set(self, key: str, old: bytes | None, new: bytes | None) -> Awaitable[bool]:
        """Replace ``old`` by ``new`` (``None`` is absent); ``False`` if something else is there. Durable on return."""


@attrs.frozen
class Runtime:
    """The outside world for one plugin instance.

    :ivar reactor: time, network and ``callFromThread``
    :ivar pool: makes a bounded pool of that many threads: ``pool(size, inline=False)``; started and stopped by the plugin
    :ivar agent: an HTTP agent (``twisted.web.iweb.IAgent``) with connection pool and TLS verification
    :ivar spool: a directory for temporary files, made when first used
    :ivar state: see :class:`State`; keys are private to the plugin instance
    """

    reactor: Any
    pool: Callable[..., Pool]
    agent: Any
    spool: Path
    state: State

"""What Conch logs by itself: of every channel and every exchange of keys, at several levels. Our events tell of those; what goes wrong is let through."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger, LogLevel, globalLogPublisher


def _if_important(event: dict[str, Any]) -> None:
    if event["log_level"] >= LogLevel.warn:
        globalLogPublisher(event)


#: For the attribute ``_log`` of Conch's classes.
CONCH_LOG = Logger(observer=_if_important)  # type: ignore[arg-type]

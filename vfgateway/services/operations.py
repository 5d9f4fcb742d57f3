"""What people did, as events: logins, and operations on files through protocols that keep a connection."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
from twisted.logger import LogLevel

from vfgateway.services.events import Event


@attrs.frozen(kw_only=True)
class LoginSucceeded(Event):
    """Somebody came in. ``method`` is the protocol's word."""

    name: ClassVar[str] = "login"

    user: str
    address: str
    protocol: str
    method: str


@attrs.frozen(kw_only=True)
class LoginFailed(Event):
    """Somebody did not. ``user`` is the name that was tried, whether it exists or not."""

    name: ClassVar[str] = "login_failed"
    level: ClassVar[Any] = LogLevel.warn

    user: str
    address: str
    protocol: str
    method: str


@attrs.frozen(kw_only=True)
class LoginsLocked(Event):
    """After too many wrong ones, logins under a name (``user``), from an ``address``, or both together are not judged for ``seconds``."""

    name: ClassVar[str] = "logins_locked"
    level: ClassVar[Any] = LogLevel.warn

    user: str
    address: str
    failures: int
    seconds: float


@attrs.frozen(kw_only=True)
class FileOperation(Event):
    """One operation has ended.

    :ivar action: ``read``, ``write``, ``list``, ``remove``, ``rename`` and so on
    :ivar path: with the vfolder's shown name in front, as the user sees it; ``target`` likewise, where there are two
    :ivar read_bytes: delivered
    :ivar written_bytes: taken in
    :ivar seconds: from its beginning to its end; for a file that was open, as long as it was
    :ivar error: why it failed, in one sentence
    """

    name: ClassVar[str] = "file_operation"
    frequent: ClassVar[bool] = True

    user: str
    address: str
    protocol: str
    action: str
    path: str
    target: str = ""
    read_bytes: int = 0
    written_bytes: int = 0
    seconds: float = 0.0
    error: str = ""

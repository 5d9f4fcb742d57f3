"""What is being done, and for whom: goes along with a request or a task through everything that it waits for, so that whoever writes a line
of the log, or an entry of the audit, can tell without being told.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar
from uuid import UUID

import attrs

from vfgateway.model import VFolder
from vfgateway.principals import INTERNAL, CredentialKind, Origin, Principal, PrincipalKind

T = TypeVar("T")


@attrs.define(eq=False)
class RequestContext:
    """One request, connection or task. Filled in as it becomes known.

    :ivar who: the name of whoever asks, or tries to log in
    :ivar operation: the verb, as the protocol has it
    :ivar target: what it is about, as whoever asks named it
    :ivar vfolder: the vfolder that was entered last
    """

    origin: Origin = INTERNAL
    who: str = ""
    user_id: UUID | None = None
    operation: str = ""
    target: str = ""
    vfolder: VFolder | None = None

    def identify(self, principal: Principal) -> None:
        """Whoever asks has proved to be ``principal``."""
        self.who, self.user_id = principal.name, principal.user_id
        if principal.kind is PrincipalKind.TOKEN and principal.token is not None:
            self.who = f"token for {principal.token.operation}"
        if principal.credential is not None and principal.credential.kind is CredentialKind.LINK:
            self.who, self.user_id = f"link of {principal.name}", None

    def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call ``function``; all that it does, and begins, has this context."""
        return copy_context().run(_within, self, function, *args)

    @property
    def log_fields(self) -> dict[str, str]:
        """What a line of the log says of it."""
        fields = {"request_id": self.origin.request_id, "operation": self.operation, "user": self.who}
        if self.vfolder is not None:
            fields |= {"vfolder_id": str(self.vfolder.id), "volume": self.vfolder.volume}
        return {name: value for name, value in fields.items() if value}


_current: ContextVar[RequestContext | None] = ContextVar("vfgateway_request", default=None)


def _within(context: RequestContext, function: Callable[..., T], *args: Any) -> T:
    _current.set(context)
    return function(*args)


def current() -> RequestContext | None:
    """The context in which this runs, if there is one."""
    return _current.get()


def identify(principal: Principal, origin: Origin) -> None:
    """Somebody has proved to be ``principal``. What the gateway does by itself meanwhile changes nothing."""
    context = _current.get()
    if context is not None and origin is not INTERNAL:
        context.identify(principal)


def enter(vfolder: VFolder) -> None:
    """It goes on in ``vfolder``."""
    context = _current.get()
    if context is not None:
        context.vfolder = vfolder

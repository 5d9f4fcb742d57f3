"""Bodies about logging in: second factors, who has to wait, and who is asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vfgateway.protocols.web.fields import Answer, Closed, Name


class LockoutInfo(Answer):
    """Who has to wait: a name from an address (``login``), a name from wherever it has not been before (``name``), or an ``address``. Times in
    epoch seconds."""

    kind: Literal["login", "name", "address"]
    name: str | None
    address: str | None
    failures: int
    last: float
    until: float


class LockoutList(Answer):
    """Who has to wait now, the longest first."""

    lockouts: list[LockoutInfo]


class Lifting(Closed):
    """For whom logins are judged again: a name, an address, both together; neither for everybody."""

    name: Name | None = None
    address: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class Lifted(Answer):
    """How many figures were forgotten."""

    lifted: int


class AuthenticatorInfo(Answer):
    """One of those who are asked who somebody is, in the order in which they are. ``state`` is ``null`` where nothing can be down; ``info`` says
    what to do about it. ``source``: its people have accounts here that follow what it says."""

    name: str
    source: bool
    state: Literal["healthy", "degraded", "offline", "unavailable"] | None
    info: str | None


class AuthenticatorList(Answer):
    """All of them."""

    authenticators: list[AuthenticatorInfo]


class Invalidation(Closed):
    """Of whom to forget what was answered: names or identifiers, theirs there or here; everybody without."""

    people: Annotated[list[Name], Field(max_length=1000)] | None = None


class Invalidated(Answer):
    """How many accounts will be asked about anew."""

    accounts: int

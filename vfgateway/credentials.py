"""Credentials that front ends take from their clients, beyond those of ``twisted.cred.credentials``."""

from __future__ import annotations

import attrs
from twisted.cred.credentials import ICredentials
from zope.interface import Attribute, Interface, implementer


class IBearer(ICredentials, Interface):
    """A key that says by itself who comes with it (``Authorization: Bearer``, RFC 6750)."""

    token: str = Attribute("the key, as the client sent it")


@implementer(IBearer)
@attrs.frozen
class Bearer:
    """See :class:`IBearer`. Its representation does not show the key."""

    token: str = attrs.field(repr=False)

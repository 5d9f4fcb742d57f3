"""Credentials that front ends take from their clients, beyond those of ``twisted.cred.credentials``."""

from __future__ import annotations

import hmac

import attrs
from twisted.cred.credentials import ICredentials, IUsernamePassword
from zope.interface import Attribute, Interface, implementer

from vfgateway.errors import AuthenticationFailed


class IBearer(ICredentials, Interface):
    """A key that says by itself who comes with it (``Authorization: Bearer``, RFC 6750)."""

    token: str = Attribute("the key, as the client sent it")


@implementer(IBearer)
@attrs.frozen
class Bearer:
    """See :class:`IBearer`. Its representation does not show the key."""

    token: str = attrs.field(repr=False)


@implementer(IUsernamePassword)
@attrs.frozen
class PasswordAndCode:
    """A name and password with the code of the second factor, or one of the recovery codes. Its representation shows neither."""

    username: bytes
    password: bytes = attrs.field(repr=False)
    code: str = attrs.field(repr=False)

    def checkPassword(self, password: bytes) -> bool:
        """See ``IUsernamePassword``."""
        return hmac.compare_digest(self.password, password)


class IProvenKey(ICredentials, Interface):
    """A name with a public key whose private half the client has proved to have, or would have to (SSH asks first)."""

    username: str = Attribute("the name, as the client gave it")
    blob: bytes = Attribute("the public key as SSH encodes it (RFC 4253 section 6.6)")
    address: str = Attribute("where the client is, as an IP address; empty where that is not known")
    proved: bool = Attribute("whether the proof was given; else the question is only whether it would do")


def text_of(value: str | bytes) -> str:
    """A name or password as front ends hand it in: UTF-8 on every wire (RFC 7617 section 2.1, RFC 4252 section 8).
    ``AuthenticationFailed`` for what is not."""
    try:
        return value.decode("utf-8") if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        raise AuthenticationFailed from None


@implementer(IProvenKey)
@attrs.frozen
class ProvenKey:
    """See :class:`IProvenKey`. Made by a front end that has verified the proof itself."""

    username: str
    blob: bytes
    address: str = ""
    proved: bool = True

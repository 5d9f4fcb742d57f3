"""People of a directory that speaks LDAP: OpenLDAP, FreeIPA, Active Directory and the like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from vfgateway.authenticators.ldap.authenticator import LdapAuthenticator
from vfgateway.authenticators.ldap.settings import LdapSettings
from vfgateway.interfaces import IAuthenticatorFactory

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

__all__ = ["LdapAuthenticator", "LdapFactory", "LdapSettings"]


@implementer(IAuthenticatorFactory)
class LdapFactory:
    """The plugin."""

    name = "ldap"
    summary = "people and groups of a directory (OpenLDAP, FreeIPA, Active Directory)"

    def configure(self, name: str, settings: Mapping[str, Any], gateway: Gateway) -> LdapAuthenticator:
        """See ``IAuthenticatorFactory.configure``."""
        return LdapAuthenticator(name, LdapSettings.model_validate(settings), gateway)

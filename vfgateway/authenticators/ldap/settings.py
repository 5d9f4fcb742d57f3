"""``[authenticators.ldap]``: which directory, how it is reached, and where in it people and groups are."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import re
from typing import Self
from urllib.parse import urlsplit

from ldap3.core.exceptions import LDAPException
from ldap3.operation.search import parse_filter
from pydantic import Field, field_validator, model_validator

from vfgateway.authenticators.urls import is_private
from vfgateway.section import ConfigPath, Seconds, Secret, Section

#: What stands for the name of whoever logs in.
NAME = "{name}"


class LdapSettings(Section):
    """``[authenticators.ldap]``.

    :ivar servers: ``ldaps://host[:port]``, ``ldap://host[:port]`` or ``ldapi://%2Fpath``: the same directory, tried in this order
    :ivar start_tls: begin TLS on ``ldap://``
    :ivar ca_file: certificates of the authorities that the servers' certificates must come from; by default those of the system
    :ivar verify: whether a server has to show such a certificate, for its name
    :ivar allow_plain: send passwords over unencrypted connections to other machines
    :ivar user_dn: whom to bind as, with ``{name}``; empty: whoever a search finds
    :ivar bind_dn: account that searches; empty: anonymously, or with ``user_dn`` as the user
    :ivar bind_password: of that account
    :ivar user_base: below which people are
    :ivar user_filter: which entry is the one of ``{name}``
    :ivar name_attribute: of a person: what it is called here
    :ivar email_attribute: of a person: the address
    :ivar uid_attribute: of a person: number of the owner of new files, where the volume asks for it
    :ivar gid_attribute: the same of their group
    :ivar id_attribute: of a person or group: what never changes and is never given twice
    :ivar key_attribute: of a person: public keys as OpenSSH writes them, for SFTP; empty: none are taken from here
    :ivar group_base: below which groups are; empty: groups are left to people here
    :ivar group_filter: which entries there are groups
    :ivar group_name_attribute: of a group: what it is called here
    :ivar member_attributes: of a group: its members, by DN; in ``memberUid`` by name
    :ivar member_of_attribute: of a person or group: DNs of its groups
    :ivar nested_groups: levels of groups in groups that are followed
    :ivar required_groups: only members of one of them may log in
    :ivar administrator_groups: their members are administrators of the gateway, and nobody else from here is
    :ivar timeout: seconds for a connection, and for each answer
    :ivar patience: seconds for everything about one login
    :ivar connections: used at once
    :ivar cache_life: seconds for which an answer holds
    :ivar grace: seconds for which keys and open connections of people are still good when the directory cannot be asked about them
    """

    servers: tuple[str, ...] = Field(min_length=1)
    start_tls: bool = False
    ca_file: ConfigPath | None = None
    verify: bool = True
    allow_plain: bool = False
    user_dn: str = ""
    bind_dn: str = ""
    bind_password: Secret = Secret()
    user_base: str = ""
    user_filter: str = "(uid={name})"
    name_attribute: str = "uid"
    email_attribute: str = "mail"
    id_attribute: str = "entryUUID"
    uid_attribute: str = "uidNumber"
    gid_attribute: str = "gidNumber"
    key_attribute: str = ""
    group_base: str = ""
    group_filter: str = "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))"
    group_name_attribute: str = "cn"
    member_attributes: tuple[str, ...] = ("member", "uniqueMember", "memberUid")
    member_of_attribute: str = "memberOf"
    nested_groups: int = Field(default=5, ge=0, le=20)
    required_groups: tuple[str, ...] = ()
    administrator_groups: tuple[str, ...] = ()
    timeout: Seconds = 5.0
    patience: Seconds = 15.0
    connections: int = Field(default=8, ge=1, le=64)
    cache_life: Seconds = 300.0
    grace: Seconds = 3600.0

    @property
    def can_search(self) -> bool:
        """Whether people can be found without their password."""
        return bool(self.bind_dn or not self.user_dn)

    @field_validator("servers")
    @classmethod
    def _urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            try:
                parts = urlsplit(url)
                usable = parts.scheme in ("ldap", "ldaps") and bool(parts.hostname) and parts.port != 0
            except ValueError:
                usable = False
            if not usable and not re.fullmatch(r"ldapi://%2F[^/]+", url, re.IGNORECASE):
                raise ValueError(f"{url!r} should be ldaps://host, ldap://host or ldapi://%2Fpath")
        return value

    @field_validator("user_filter", "group_filter")
    @classmethod
    def _filters(cls, value: str) -> str:
        try:
            parse_filter(value.replace(NAME, "x"), None, False, False, None, False)
        except LDAPException:
            raise ValueError(f"{value!r} is not a filter (RFC 4515), such as (uid={NAME})") from None
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.user_dn and NAME not in self.user_dn:
            raise ValueError(f"user_dn should hold {NAME}, such as uid={NAME},ou=people,dc=example,dc=org")
        if not self.user_dn and not self.user_base:
            raise ValueError("give user_base, below which people are searched, or user_dn, whom to bind as")
        if self.user_base and NAME not in self.user_filter:
            raise ValueError(f"user_filter should hold {NAME}, such as (uid={NAME})")
        if bool(self.bind_dn) != bool(self.bind_password):
            raise ValueError("bind_dn and bind_password belong together")
        if self.key_attribute and not self.can_search:
            raise ValueError("key_attribute needs bind_dn: people who come with a key cannot be bound as")
        if (self.required_groups or self.administrator_groups) and not self.group_base:
            raise ValueError("required_groups and administrator_groups need group_base")
        readable = [url for url in self.servers if not (self.start_tls or self.allow_plain or is_private(url))]
        if readable:
            raise ValueError(
                f"passwords to {readable[0]} could be read on the way: use ldaps://, start_tls = true, or allow_plain = true"
            )
        return self

"""People and groups of a directory. Everything here blocks; see :mod:`vfgateway.authenticators.ldap.servers`."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from uuid import UUID

import attrs
from ldap3.core.exceptions import LDAPInvalidDnError
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn, parse_dn
from twisted.logger import Logger

from vfgateway.authenticators.ldap.link import Entry, Link
from vfgateway.authenticators.ldap.servers import Servers
from vfgateway.authenticators.ldap.settings import NAME, LdapSettings
from vfgateway.identity import Identity, OutsideGroup
from vfgateway.model import Actor
from vfgateway.services.provisioning import MOST_GROUPS

#: Groups whose members are asked for in one search.
AT_ONCE = 20
#: The one that holds names rather than DNs (RFC 2307).
_BY_NAME = "memberuid"
#: Binary, in the byte order of its time (MS-DTYP section 2.3.4.2).
_GUID = "objectguid"
_ANY = "(objectClass=*)"

log = Logger()


class Verdict(enum.Enum):
    """Why somebody is not found."""

    UNKNOWN = enum.auto()
    WRONG = enum.auto()


@attrs.frozen
class Found:
    """Somebody whom the directory knows.

    :ivar keys: lines of public keys, as the directory has them
    :ivar welcome: whether its groups let it log in
    """

    identity: Identity
    keys: Sequence[str]
    welcome: bool


class People:
    """Finds people, checks their passwords, and gathers their groups.

    :param source: the name of the authenticator
    """

    def __init__(self, source: str, settings: LdapSettings, servers: Servers) -> None:
        self._source = source
        self._settings = settings
        self._servers = servers
        self._attributes = [
            settings.name_attribute,
            settings.email_attribute,
            settings.id_attribute,
            settings.uid_attribute,
            settings.gid_attribute,
            settings.key_attribute,
            settings.member_of_attribute,
        ]

    # --- one connection's work ---

    def log_in(self, link: Link, name: str, password: bytes) -> Found | Verdict:
        """Who comes with this name and password."""
        if not self._settings.can_search:
            if not link.bind(self._user_dn(name), password):
                return Verdict.UNKNOWN  # or wrong: there is no telling
            entry = self._entry(link, name)
            return Verdict.UNKNOWN if entry is None else self._found(link, entry)
        entry = self._entry(link, name)
        # A name that nobody has is bound as all the same, so that it takes as long.
        known = link.bind(entry.dn if entry is not None else self._nobody(name), password)
        self._servers.enter(link)
        if entry is None:
            return Verdict.UNKNOWN
        return self._found(link, entry) if known else Verdict.WRONG

    def find(self, link: Link, name: str) -> Found | Verdict:
        """Who has this name."""
        entry = self._entry(link, name)
        return Verdict.UNKNOWN if entry is None else self._found(link, entry)

    def check(self, link: Link) -> str | None:
        """What is wrong with the configuration, as far as can be seen from here; ``None`` if nothing is."""
        if not self._settings.can_search:
            return None
        for key in ("user_base", "group_base"):
            base = getattr(self._settings, key)
            if base and not link.search(base, _ANY, ["1.1"], most=1, here=True):
                return f"there is no {base}, or it may not be read: check {key}, and the rights of bind_dn"
        return None

    # --- people ---

    def _user_dn(self, name: str) -> str:
        return self._settings.user_dn.replace(NAME, escape_rdn(name))

    def _nobody(self, name: str) -> str:
        if self._settings.user_dn:
            return self._user_dn(name)
        return f"{self._settings.name_attribute or 'uid'}={escape_rdn(name)},{self._settings.user_base}"

    def _entry(self, link: Link, name: str) -> Entry | None:
        if self._settings.user_base:
            wanted = self._settings.user_filter.replace(NAME, escape_filter_chars(name))
            found = link.search(self._settings.user_base, wanted, self._attributes, most=2)
        else:
            found = link.search(self._user_dn(name), _ANY, self._attributes, most=1, here=True)
        if len(found) > 1:
            log.warn("several entries are found for {name}: make user_filter or user_base narrower", name=ascii(name))
            return None
        return found[0] if found else None

    def _found(self, link: Link, entry: Entry) -> Found:
        settings = self._settings
        groups = self._groups(link, entry) if settings.group_base else None
        names = {group.name for group in groups or ()}
        identity = Identity(
            source=self._source,
            subject=self._subject(entry) or "",
            name=entry.text(settings.name_attribute) or "",
            email=entry.text(settings.email_attribute),
            actor=Actor(_number(entry, settings.uid_attribute), _number(entry, settings.gid_attribute)),
            administrator=bool(names & set(settings.administrator_groups)) if settings.administrator_groups else None,
            groups=groups,
        )
        welcome = not settings.required_groups or bool(names & set(settings.required_groups))
        return Found(identity, entry.texts(settings.key_attribute), welcome)

    def _subject(self, entry: Entry) -> str | None:
        attribute = self._settings.id_attribute
        raw = next(iter(entry.all(attribute)), None)
        if raw is None:
            log.warn("{dn} has no {attribute}: set id_attribute to one that it has", dn=entry.dn, attribute=attribute)
            return None
        if attribute.lower() == _GUID and len(raw) == 16:
            return str(UUID(bytes_le=raw))
        return entry.text(attribute)

    # --- groups ---

    def _groups(self, link: Link, person: Entry) -> frozenset[OutsideGroup]:
        """All groups of somebody, those that they are in by way of others included. Circles end where they began."""
        found: dict[str, Entry] = {}
        wave = self._add(found, [*self._listing(link, self._direct(person)), *self._listed(link, [person], found)])
        for _ in range(self._settings.nested_groups):
            if not wave or len(found) >= MOST_GROUPS:
                break
            above = [entry for some in _pieces(wave, AT_ONCE) for entry in self._listing(link, self._of_groups(some))]
            wave = self._add(found, [*above, *self._listed(link, wave, found)])
        if len(found) >= MOST_GROUPS:
            log.warn(
                "{dn} is in too many groups; {most} count: make group_filter narrower", dn=person.dn, most=MOST_GROUPS
            )
        made = (self._group(entry) for entry in list(found.values())[:MOST_GROUPS])
        return frozenset(group for group in made if group is not None)

    def _group(self, entry: Entry) -> OutsideGroup | None:
        name, subject = entry.text(self._settings.group_name_attribute), self._subject(entry)
        return OutsideGroup(subject, name) if name and subject else None

    @staticmethod
    def _add(found: dict[str, Entry], entries: Iterable[Entry]) -> list[Entry]:
        """Those that are new."""
        new = []
        for entry in entries:
            if (key := dn_key(entry.dn)) not in found:
                found[key] = entry
                new.append(entry)
        return new

    def _direct(self, person: Entry) -> list[str]:
        """Conditions under which a group has this member."""
        conditions = self._of_groups([person])
        for attribute in self._settings.member_attributes:
            if attribute.lower() != _BY_NAME:
                continue
            if name := person.text(self._settings.name_attribute):
                conditions.append(f"({attribute}={escape_filter_chars(name)})")
            if (gid := _number(person, self._settings.gid_attribute)) is not None:
                conditions.append(f"(&(objectClass=posixGroup)(gidNumber={gid}))")
        return conditions

    def _of_groups(self, members: Sequence[Entry]) -> list[str]:
        return [
            f"({attribute}={escape_filter_chars(member.dn)})"
            for member in members
            for attribute in self._settings.member_attributes
            if attribute.lower() != _BY_NAME
        ]

    def _listing(self, link: Link, conditions: Sequence[str]) -> list[Entry]:
        """Groups that list somebody."""
        if not conditions:
            return []
        wanted = f"(&{self._settings.group_filter}(|{''.join(conditions)}))"
        return link.search(self._settings.group_base, wanted, self._group_attributes, most=MOST_GROUPS)

    def _listed(self, link: Link, members: Sequence[Entry], found: dict[str, Entry]) -> list[Entry]:
        """Groups that are listed by their members, and not found yet."""
        base = dn_key(self._settings.group_base)
        told = {dn_key(dn): dn for member in members for dn in member.texts(self._settings.member_of_attribute)}
        new = [dn for key, dn in told.items() if key not in found and key.endswith(f",{base}")][:MOST_GROUPS]
        entries = (
            link.search(dn, self._settings.group_filter, self._group_attributes, most=1, here=True) for dn in new
        )
        return [entry for some in entries for entry in some]

    @property
    def _group_attributes(self) -> list[str]:
        settings = self._settings
        return [settings.group_name_attribute, settings.id_attribute, settings.member_of_attribute]


def dn_key(dn: str) -> str:
    """What is the same for two ways to write one DN, near enough to notice that an entry was seen already."""
    try:
        return ",".join(f"{kind}={value}".lower() for kind, value, _ in parse_dn(dn, strip=True))
    except LDAPInvalidDnError:
        return dn.lower()


def _number(entry: Entry, attribute: str) -> int | None:
    text = entry.text(attribute)
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 12 else None


def _pieces(entries: Sequence[Entry], size: int) -> Iterable[Sequence[Entry]]:
    return (entries[at : at + size] for at in range(0, len(entries), size))

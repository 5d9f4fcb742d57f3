"""What a token says of somebody, read as the configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vfgateway.authenticators.jwt.settings import JwtSettings
from vfgateway.errors import IdentityRefused
from vfgateway.identity import Identity, OutsideGroup
from vfgateway.model import Actor


def identity_of(source: str, settings: JwtSettings, claims: Mapping[str, Any]) -> Identity:
    """Who it is. ``IdentityRefused`` for somebody who may not log in here."""
    for wanted, value in settings.require.items():
        if not _holds(_claim(claims, wanted), value):
            raise IdentityRefused(f"the token does not have what is required: {wanted}")
    subject = _claim(claims, settings.subject_claim)
    name = _claim(claims, settings.name_claim)
    if not isinstance(subject, str) or not isinstance(name, str):
        raise IdentityRefused(f"the token has no {settings.subject_claim}, or no {settings.name_claim}")
    groups = _groups(claims, settings.groups_claim) if settings.groups_claim else frozenset()
    if settings.required_groups and not groups & set(settings.required_groups):
        raise IdentityRefused(f"{name} is in none of the groups that may log in; ask an administrator")
    email = _claim(claims, settings.email_claim)
    return Identity(
        source=source,
        subject=subject,
        name=name,
        email=email if isinstance(email, str) else None,
        actor=Actor(_number(claims, settings.uid_claim), _number(claims, settings.gid_claim)),
        administrator=bool(groups & set(settings.administrator_groups)) if settings.administrator_groups else None,
        groups=frozenset(OutsideGroup(group, group) for group in groups) if settings.groups_claim else None,
    )


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name; or, where there is none of the whole name, by way of its dots."""
    if not name:
        return None
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


def _holds(found: Any, wanted: Any) -> bool:
    if isinstance(found, list) and not isinstance(wanted, list):
        return wanted in found
    return type(found) is type(wanted) and bool(found == wanted)


def _groups(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    """Keycloak writes groups as paths (``/staff``)."""
    found = _claim(claims, name)
    told = found if isinstance(found, list) else [found]
    return frozenset(group.removeprefix("/") for group in told if isinstance(group, str) and group)


def _number(claims: Mapping[str, Any], name: str) -> int | None:
    found = _claim(claims, name)
    if isinstance(found, str) and found.isascii() and found.isdecimal() and len(found) < 12:
        return int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) else None

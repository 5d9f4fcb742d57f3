"""Which names people may give to users, groups and vfolders."""

from __future__ import annotations

import enum
import unicodedata

from vfgateway.errors import InvalidArgument, InvalidPath
from vfgateway.paths import LONGEST_NAME, RESERVED_NAMES, checked_name


class Unset(enum.Enum):
    """The mark of a parameter that was not given, where ``None`` is a value."""

    UNSET = enum.auto()


UNSET = Unset.UNSET

#: Names that mean somebody else here: who acts without an account.
RESERVED = RESERVED_NAMES | {"manager", "orchestrator", "internal", "anonymous", "anybody"}


def checked_vfolder_name(name: str) -> str:
    """``name`` itself if a vfolder can be called so: one entry of a directory, and text that can be shown. Raises
    :class:`InvalidArgument`."""
    return _checked("name", name, "")


def checked_account_name(field: str, name: str) -> str:
    """``name`` itself if a user or group can be called so; no colon, since Basic authentication ends the name there. Raises
    :class:`InvalidArgument`."""
    if name.casefold() in RESERVED:
        raise InvalidArgument(field, f"{name} means somebody else here")
    return _checked(field, name, ":")


def _checked(field: str, name: str, forbidden: str) -> str:
    try:
        checked_name(name)
        name.encode("utf-8")
    except (InvalidPath, UnicodeEncodeError):
        raise InvalidArgument(
            field, f"expected 1 to {LONGEST_NAME} bytes of text, no '/', not '.' or '..', got {ascii(name)[:80]}"
        ) from None
    if name != name.strip():
        raise InvalidArgument(field, f"must not begin or end with a space, got {name!r}")
    # Cc: control characters; Cf: invisible ones that reverse or join what is shown; Zl, Zp: line ends.
    if any(unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") for character in name):
        raise InvalidArgument(field, f"must not hold invisible characters, got {ascii(name)[:80]}")
    if found := [character for character in forbidden if character in name]:
        raise InvalidArgument(field, f"must not hold {found[0]!r}, got {name!r}")
    return name

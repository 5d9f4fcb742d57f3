"""What may be shown to somebody outside at all: names that could be names here, and passwords that are not keys of ours."""

from __future__ import annotations

import unicodedata
from typing import Any

from vfgateway.credentials import text_of
from vfgateway.errors import InvalidArgument, NotMine
from vfgateway.services.names import checked_account_name
from vfgateway.services.passwords import KEY_PREFIX, LONGEST_PASSWORD


def outside_name(credentials: Any) -> str:
    """The name that somebody comes with, in the form in which it would be kept. ``NotMine`` if nobody can have it."""
    try:
        return checked_account_name("name", unicodedata.normalize("NFC", text_of(credentials.username)))
    except InvalidArgument:
        raise NotMine from None


def outside_password(credentials: Any) -> str:
    """The password. ``NotMine`` for an empty one, with which some let anybody in as nobody; for one that is a key of ours; and for one that
    is too long."""
    password = text_of(credentials.password)
    if not password or password.startswith(KEY_PREFIX) or len(password.encode("utf-8", "replace")) > LONGEST_PASSWORD:
        raise NotMine
    return password

"""Passwords and API keys: what may be one, how they are kept, and how they are compared."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from contextlib import suppress

import attrs
import bcrypt
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError

from vfgateway.errors import InvalidArgument

#: Longest password in bytes, lest hashing be made a burden.
LONGEST_PASSWORD = 1024
#: What an API key begins with, so that people and secret scanners know one when they see it.
KEY_PREFIX = "vfg_"

#: Hashes of bcrypt, with their cost; and what of a password goes into them (their makers cut it off).
_BCRYPT, _BCRYPT_LENGTH = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}"), 72
#: What a hash that was brought along may cost: each login pays it until the password has been given once.
_MOST_BCRYPT, _MOST_MEMORY, _MOST_TIME = 13, 256 * 1024, 16
_FOREIGN = {
    "$apr1$": "apr1 (MD5)",
    "{SHA}": "SHA-1",
    "{SSHA": "SHA-1",
    "$1$": "crypt's MD5",
    "$5$": "crypt's SHA-256",
    "$6$": "crypt's SHA-512",
    "$md5": "MD5",
    "$pbkdf2": "PBKDF2",
}


def argon2id() -> PasswordHasher:
    """The hasher of the gateway. RFC 9106 asks for what the machine can bear; this is the least that OWASP recommends, so that a
    burst of logins takes neither memory (19 MiB each) nor processors from the transfers."""
    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def new_api_key() -> str:
    """A key with 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def api_key_digest(key: str) -> str:
    """What is stored of a key. It is random through and through, so a plain digest gives nothing away."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


@attrs.frozen
class PasswordPolicy:
    """What a new password has to be. Length is what counts; which characters it is made of does not (NIST SP 800-63B, section 5.1.1.2).
    Passwords that were set before go on being good.

    :ivar shortest: characters
    """

    shortest: int = 8

    def checked(self, password: str, *names: str | None) -> str:
        """``password`` itself if it can be one. Raises :class:`InvalidArgument`, which does not repeat it.

        :param names: what the account is called, which guessers try first
        """
        if not password:
            raise InvalidArgument("password", "must not be empty")
        if "\0" in password or len(password.encode("utf-8", "surrogatepass")) > LONGEST_PASSWORD:
            raise InvalidArgument("password", f"expected at most {LONGEST_PASSWORD} bytes without NUL")
        if password.startswith(KEY_PREFIX):
            raise InvalidArgument("password", f"must not begin with {KEY_PREFIX}, like an API key")
        if len(password) < self.shortest:
            raise InvalidArgument("password", f"too short: it needs at least {self.shortest} characters")
        if password.casefold() in {name.casefold() for name in names if name}:
            raise InvalidArgument("password", "must not be the name or address of the account")
        if len(set(password)) == 1 and self.shortest > 1:
            raise InvalidArgument("password", "must not be one character again and again")
        return password


def fits(hasher: PasswordHasher, stored: str, password: str) -> bool:
    """Whether ``password`` is the one behind the stored hash. Blocks for as long as the hash was made to take."""
    if _BCRYPT.fullmatch(stored):  # brought along from another program
        with suppress(ValueError):  # a NUL in it
            return bcrypt.checkpw(password.encode("utf-8", "surrogatepass")[:_BCRYPT_LENGTH], stored.encode())
        return False
    try:
        return hasher.verify(stored, password.encode("utf-8", "surrogatepass")[: LONGEST_PASSWORD + 1])
    except (Argon2Error, InvalidHashError):
        return False


def is_outdated(hasher: PasswordHasher, stored: str) -> bool:
    """Whether the hash of a password that was right is to be made anew, since hashes are better now."""
    return _BCRYPT.fullmatch(stored) is not None or hasher.check_needs_rehash(stored)


def unusable(stored: str) -> str:
    """Why a hash that another program made cannot be taken over; empty if it can."""
    if found := _BCRYPT.fullmatch(stored):
        return "" if int(found[1]) <= _MOST_BCRYPT else "its bcrypt takes too long to compare"
    try:
        parameters = extract_parameters(stored)
    except (InvalidHashError, ValueError):
        for beginning, form in _FOREIGN.items():
            if stored.startswith(beginning):
                return f"it is kept as {form}, which is not compared with any more"
        return "it is kept in a form that is not known"
    is_small = parameters.memory_cost <= _MOST_MEMORY and parameters.time_cost <= _MOST_TIME
    return "" if is_small else "its Argon2 takes too much to compare"


def impossible_hash(hasher: PasswordHasher) -> str:
    """A hash that no password fits and that costs as much as any to compare with."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (hasher.salt_len, hasher.hash_len)
    )
    return f"$argon2id$v=19$m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}${salt}${digest}"

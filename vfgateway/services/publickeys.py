"""Public keys as lines of OpenSSH's ``authorized_keys``: what comes before a key, and whether it lets somebody in.

Of the options, those are kept that say when and from where a key is good. Those that forbid what the gateway does not offer anyway
(a shell, forwarding) are dropped; those that would allow or demand something else are refused, so that nobody relies on them in vain.
"""

from __future__ import annotations

import base64
import binascii
import calendar
import fnmatch
import ipaddress
import re
import time

import attrs

from vfgateway.errors import InvalidArgument
from vfgateway.services.people import checked_public_key

_OPTION = re.compile(r'([A-Za-z0-9-]+)(?:="((?:[^"\\\\]|\\\\.)*)")?(?:,|(?=\s)|$)')
_HARMLESS = frozenset(
    {
        "restrict", "no-pty", "no-port-forwarding", "no-agent-forwarding", "no-x11-forwarding", "no-user-rc", "pty",
        "port-forwarding", "agent-forwarding", "x11-forwarding", "user-rc", "no-touch-required",
    }
)  # fmt: skip
_PATTERN = re.compile(r"!?[0-9A-Fa-f.:*?]+(/[0-9]{1,3})?")
_TIMES = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


@attrs.frozen
class KeyLine:
    """A line that was checked.

    :ivar data: as it is stored: ``from="..."`` if there is one, type, key
    :ivar expires: epoch seconds, from ``expiry-time``
    """

    data: str
    comment: str
    expires: float | None


def parse(line: str) -> KeyLine:
    """Read a line of ``authorized_keys``. ``InvalidArgument``."""
    rest = line.strip()
    sources, expires = "", None
    if not rest.startswith(("ssh-", "ecdsa-", "sk-", "-")):
        while match := _OPTION.match(rest):
            name, value = match[1].lower(), re.sub(r"\\(.)", r"\1", match[2] or "")
            if name == "from":
                sources = _checked_sources(value)
            elif name == "expiry-time":
                expires = _time(value)
            elif name not in _HARMLESS and (name, value) != ("command", "internal-sftp"):
                raise InvalidArgument("public_key", f"the option {name} is not supported")
            rest = rest[match.end() :]
            if rest[:1].isspace() or not rest:
                break
    data, comment = checked_public_key(rest.strip())
    return KeyLine(f'from="{sources}" {data}' if sources else data, comment, expires)


def _checked_sources(value: str) -> str:
    patterns = [pattern.strip() for pattern in value.split(",")]
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise InvalidArgument("public_key", f"from= takes addresses and networks, not {pattern!r}")
        if "/" in pattern:
            try:
                ipaddress.ip_network(pattern.lstrip("!"), strict=False)
            except ValueError:
                raise InvalidArgument("public_key", f"not a network: {pattern!r}") from None
    return ",".join(patterns)


def _time(value: str) -> float:
    """``YYYYMMDD[HHMM[SS]]``, taken as UTC with or without the ``Z``: a server has no time zone of its own."""
    digits = value.removesuffix("Z")
    try:
        return float(calendar.timegm(time.strptime(digits, _TIMES[len(digits)])))
    except (KeyError, ValueError):
        raise InvalidArgument("public_key", f"not a time: {value!r}") from None


def is_key(data: str, blob: bytes) -> bool:
    """Whether the stored line holds the key ``blob``."""
    try:
        return base64.b64decode(data.split()[-1], validate=True) == blob
    except binascii.Error:
        return False


def is_good_from(data: str, address: str) -> bool:
    """Whether the stored line lets somebody in who comes from ``address``. Patterns as in sshd(8): one has to match, and none of
    those that begin with ``!``."""
    if not data.startswith('from="'):
        return True
    good = False
    for pattern in data[6:].partition('"')[0].split(","):
        if _matches(pattern.lstrip("!"), address):
            if pattern.startswith("!"):
                return False
            good = True
    return good


def _matches(pattern: str, address: str) -> bool:
    if "/" not in pattern:
        return fnmatch.fnmatchcase(address.lower(), pattern.lower())
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return False

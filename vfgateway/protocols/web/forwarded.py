"""Who really asks, when proxies stand between: ``Forwarded`` (RFC 7239) and ``X-Forwarded-*``, believed from configured addresses
only."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import attrs
from twisted.internet.address import UNIXAddress
from twisted.web.http_headers import Headers

#: What stands for whoever comes through a Unix socket.
UNIX = "unix"

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PORT = re.compile(r"[0-9]{1,5}")
_SCHEMES = frozenset({"http", "https"})
_PAIR = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",;\s]*))\s*')


@attrs.frozen
class Caller:
    """The far end of a request.

    :ivar address: an IP address, ``unix``, or ``""`` where nothing is known
    :ivar scheme: ``http`` or ``https``, as the caller sees it
    :ivar host: ``host[:port]`` by which the caller asked, checked to be one; ``""`` if it named none that can be used
    """

    address: str
    scheme: str
    host: str


@attrs.frozen
class Hop:
    """What one proxy says of the request as it received it; empty where it says nothing."""

    address: str = ""
    scheme: str = ""
    host: str = ""


class TrustedProxies:
    """Resolves callers.

    :param trusted: addresses and networks, and ``unix`` for whoever comes through a Unix socket
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        entries = list(trusted)
        self._unix = UNIX in entries
        self._networks = [ipaddress.ip_network(entry) for entry in entries if entry != UNIX]

    def trusts(self, address: str) -> bool:
        """Whether ``address`` is that of a proxy of ours."""
        if address == UNIX:
            return self._unix
        parsed = _parse(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def resolve(self, peer: Any, secure: bool, headers: Headers) -> Caller:
        """The caller, found by walking from the connection's peer outwards for as long as each hop is trusted.

        What the outermost trusted proxy says of scheme and host holds; nothing is read that an untrusted hop could have
        written.
        """
        address = address_of(peer)
        scheme = "https" if secure else "http"
        host = good_host(_last(headers, b"host"))
        if not self.trusts(address):
            return Caller(_canonical(address), scheme, host)
        for hop in reversed(_hops(headers)):
            scheme = hop.scheme or scheme
            host = hop.host or host
            if not hop.address:
                break
            address = hop.address
            if not self.trusts(address):
                break
        return Caller(_canonical(address), scheme, host)


def address_of(peer: Any) -> str:
    """The far end of a connection as :meth:`TrustedProxies.trusts` takes it."""
    return UNIX if isinstance(peer, UNIXAddress) else str(getattr(peer, "host", ""))


def _hops(headers: Headers) -> Sequence[Hop]:
    """What the proxies wrote, the nearest last."""
    fields = _listed(headers, b"forwarded")
    if fields:
        return [_forwarded(element) for element in fields]
    addresses = _listed(headers, b"x-forwarded-for")
    schemes = [scheme.lower() for scheme in _listed(headers, b"x-forwarded-proto")]
    hosts = _listed(headers, b"x-forwarded-host")
    ports = _listed(headers, b"x-forwarded-port")
    count = max(len(addresses), 1)
    hops = []
    for index in range(count):
        # Proxies append to X-Forwarded-For; the others most of them overwrite, so that one value speaks for all.
        scheme = _of(schemes, index, count)
        host = _of(hosts, index, count)
        port = _of(ports, index, count)
        hops.append(
            Hop(
                _node(addresses[index]) if addresses else "",
                scheme if scheme in _SCHEMES else "",
                good_host(_with_port(host, port)),
            )
        )
    return hops


def _of(values: Sequence[str], index: int, count: int) -> str:
    """The value of one hop: its own if there is one for each, else the last proxy's."""
    if not values:
        return ""
    return values[index] if len(values) == count else values[-1]


def _with_port(host: str, port: str) -> str:
    if host and _PORT.fullmatch(port) and not re.search(r":[0-9]+$", host) and port not in ("80", "443"):
        return f"{host}:{port}"
    return host


def _forwarded(element: str) -> Hop:
    pairs: dict[str, str] = {}
    at = 0
    while match := _PAIR.match(element, at):
        value = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        pairs.setdefault(match[1].lower(), value)
        at = match.end()
        if element[at : at + 1] != ";":
            break
        at += 1
    if at != len(element):
        return Hop()  # not readable: nothing it says is believed
    scheme = pairs.get("proto", "").lower()
    return Hop(_node(pairs.get("for", "")), scheme if scheme in _SCHEMES else "", good_host(pairs.get("host", "")))


def _node(text: str) -> str:
    """The address in ``192.0.2.1``, ``192.0.2.1:80``, ``[2001:db8::1]:80`` or ``2001:db8::1``; else ``""`` (``unknown``, ``_hidden``)."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return _canonical(text) if _parse(text) is not None else ""


def _listed(headers: Headers, name: bytes) -> list[str]:
    """The elements of a list field, commas within quotes left alone; bounded, as nobody has a hundred proxies."""
    joined = ",".join(value.decode("latin-1") for value in headers.getRawHeaders(name) or ())
    found = re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^",])+', joined)
    return [element for element in (part.strip() for part in found) if element][-100:]


def _last(headers: Headers, name: bytes) -> str:
    values = headers.getRawHeaders(name)
    return values[-1].decode("latin-1") if values else ""


def good_host(text: str) -> str:
    """``text`` if it can be a ``Host``; else ``""``."""
    return text if len(text) <= 261 and _HOST.fullmatch(text) else ""


@lru_cache(maxsize=1024)
def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


@lru_cache(maxsize=1024)
def _canonical(text: str) -> str:
    parsed = _parse(text)
    return text if parsed is None else str(parsed)

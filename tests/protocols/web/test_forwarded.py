"""Callers behind proxies: believed where a trusted proxy speaks, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.web.http_headers import Headers

from tests.support.site import Client, answer_ok, listening
from tests.support.uploading import head
from vfgateway.protocols.web.forwarded import Caller, TrustedProxies
from vfgateway.protocols.web.request import StreamingRequest

PROXIES = TrustedProxies(["10.0.0.0/8", "fd00::/8", "unix"])
PROXY = IPv4Address("TCP", "10.0.0.1", 1000)
STRANGER = IPv4Address("TCP", "203.0.113.9", 1000)


def resolve(peer: Any, *, proxies: TrustedProxies = PROXIES, secure: bool = False, **fields: str) -> Caller:
    """Who asks; underscores in field names are hyphens."""
    headers = Headers({"host": ["inside:6021"]})
    for name, value in fields.items():
        headers.setRawHeaders(name.replace("_", "-"), [value])
    return proxies.resolve(peer, secure, headers)


def test_nobody_else_is_believed() -> None:
    """What a client writes about itself counts for nothing."""
    forged: dict[str, Any] = {
        "X_Forwarded_For": "1.2.3.4",
        "X_Forwarded_Proto": "https",
        "X_Forwarded_Host": "evil.example",
        "Forwarded": "for=1.2.3.4;proto=https;host=evil.example",
    }
    assert resolve(STRANGER, **forged) == Caller("203.0.113.9", "http", "inside:6021")


def test_one_proxy() -> None:
    """The usual headers of a reverse proxy."""
    caller = resolve(PROXY, X_Forwarded_For="198.51.100.7", X_Forwarded_Proto="https", X_Forwarded_Host="s.example")
    assert caller == Caller("198.51.100.7", "https", "s.example")


def test_forged_beginning_of_the_chain() -> None:
    """The address is the last that no trusted proxy has; what the client put before it is ignored."""
    caller = resolve(PROXY, X_Forwarded_For="127.0.0.1, 10.9.9.9, 198.51.100.7, 10.0.0.2")
    assert caller.address == "198.51.100.7"


def test_forwarded_rfc7239() -> None:
    """The standard header, quoted addresses and ports included, wins over the others."""
    caller = resolve(
        PROXY,
        Forwarded='for=1.2.3.4;host=evil.example, For="[2001:db8::17]:4711";proto=https;host="s.example:8443", for=10.0.0.2',
        X_Forwarded_For="192.0.2.1",
    )
    assert caller == Caller("2001:db8::17", "https", "s.example:8443")


def test_port() -> None:
    """A port is added where the host has none and it is not the scheme's own."""
    fields: dict[str, Any] = {
        "X_Forwarded_For": "198.51.100.7",
        "X_Forwarded_Proto": "https",
        "X_Forwarded_Host": "s.example",
    }
    assert resolve(PROXY, X_Forwarded_Port="8443", **fields).host == "s.example:8443"
    assert resolve(PROXY, X_Forwarded_Port="443", **fields).host == "s.example"


@pytest.mark.parametrize(
    "fields",
    [
        {"X_Forwarded_Host": "evil.example/path"},
        {"X_Forwarded_Host": "user@evil.example"},
        {"X_Forwarded_Host": "a b"},
        {"X_Forwarded_Host": "x" * 300},
        {"X_Forwarded_Proto": "javascript"},
        {"Forwarded": 'for=198.51.100.7;host="a"b;proto=https'},
        {"Forwarded": "for=198.51.100.7;host=evil.example/;proto=gopher"},
    ],
)
def test_nonsense_from_a_proxy(fields: dict[str, Any]) -> None:
    """What is no host and no scheme is left out, even if a trusted proxy passes it on."""
    caller = resolve(PROXY, **fields)
    assert (caller.scheme, caller.host) == ("http", "inside:6021")


def test_unknown_client() -> None:
    """A proxy that hides its client leaves the proxy's own address."""
    assert resolve(PROXY, Forwarded="for=_hidden;proto=https") == Caller("10.0.0.1", "https", "inside:6021")


def test_unix_socket() -> None:
    """A proxy behind a Unix socket is trusted if ``unix`` is."""
    peer = UNIXAddress(b"/run/s")
    assert resolve(peer, X_Forwarded_For="198.51.100.7").address == "198.51.100.7"
    assert resolve(peer, proxies=TrustedProxies([]), X_Forwarded_For="198.51.100.7").address == "unix"


def test_mapped_addresses() -> None:
    """An IPv4 address in IPv6's clothes is the same address."""
    peer = IPv4Address("TCP", "::ffff:10.0.0.1", 1)
    assert resolve(peer, X_Forwarded_For="::ffff:198.51.100.7").address == "198.51.100.7"


def test_secure_without_proxy() -> None:
    """TLS that ends here is https."""
    assert resolve(STRANGER, secure=True).scheme == "https"


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text(forwarded: str, host: str) -> None:
    """Whatever is written there, the outcome can be put into a URL and a log."""
    headers = Headers()
    headers.setRawHeaders(b"forwarded", [forwarded.encode("utf-8").replace(b"\r", b"").replace(b"\n", b"")])
    headers.setRawHeaders(b"host", [host.encode("utf-8").replace(b"\r", b"").replace(b"\n", b"")])
    caller = PROXIES.resolve(PROXY, False, headers)
    assert caller.scheme in ("http", "https")
    assert caller.host.isascii()
    assert not set(caller.host + caller.address) & set(" /@\\?#\"'<>")


@pytest.mark.parametrize(("trusted", "status"), [(("127.0.0.1",), b" 200 OK"), ((), b"")])
async def test_proxy_protocol(trusted: tuple[str, ...], status: bytes) -> None:
    """A PROXY header is believed from a trusted address; from any other the connection is not served at all."""
    callers: list[Caller] = []

    async def handler(request: StreamingRequest) -> None:
        callers.append(request.caller)
        await answer_ok(request)

    async with listening(handler, proxied=True, trusted=trusted) as port:
        client = await Client.open(port)
        client.send(b"PROXY TCP4 198.51.100.7 10.0.0.1 1000 80\r\n" + head("GET", "/", Connection="close"))
        await client.lost
    assert status in client.received
    assert [caller.address for caller in callers] == ["198.51.100.7"] * len(trusted)

"""Sockets of front ends: taken early, served late, and a clear word when one cannot be had."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactor

from vfgateway.errors import ConfigurationError
from vfgateway.listening import Listener


def busy(port: int) -> Any:
    """A reactor of a machine on which ``port`` is taken."""
    reactor: Any = MemoryReactor()
    listen = reactor.listenTCP

    def listen_tcp(wanted: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if wanted == port:
            raise CannotListenError(interface, wanted, OSError(98, "Address already in use"))
        return listen(wanted, factory, backlog, interface)

    reactor.listenTCP = listen_tcp
    return reactor


def listener(*endpoints: str, reactor: Any = None, **how: Any) -> Listener:
    """A front end called ``client``."""
    factory = Factory.forProtocol(Protocol)
    return Listener("client", endpoints, factory, reactor or MemoryReactor(), **how)


def test_every_endpoint_is_bound_before_privileges_are_dropped() -> None:
    """Low ports need it."""
    reactor = MemoryReactor()
    listener("tcp:443", "tcp:80:interface=127.0.0.1", reactor=reactor).privilegedStartService()
    assert [(port, interface) for port, _, _, interface in reactor.tcpServers] == [(443, ""), (80, "127.0.0.1")]


def test_starting_without_the_early_step_binds_too() -> None:
    """Not everybody runs under ``twistd``."""
    reactor = MemoryReactor()
    listener("tcp:443", reactor=reactor).startService()
    assert len(reactor.tcpServers) == 1


def test_a_socket_that_is_taken_names_front_end_endpoint_and_reason() -> None:
    """Two gateways on one machine are a common mistake."""
    with pytest.raises(ConfigurationError) as caught:
        listener("tcp:6021", "tcp:6022", reactor=busy(6022)).privilegedStartService()
    assert str(caught.value) == "frontends.client.endpoint: cannot listen on tcp:6022: Address already in use"


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("tcp:8080", "http://localhost:8080"),
        ("unix:/run/vfgateway/client.sock", "http+unix:/run/vfgateway/client.sock"),
    ],
)
def test_the_url_is_one_that_can_be_opened(endpoint: str, url: str) -> None:
    """It is printed for people to paste."""
    service = listener(endpoint)
    service.startService()
    assert service.urls == [url]


def test_first_steps_are_made_from_the_first_url() -> None:
    """With the port that was really bound."""
    service = listener("unix:/run/s", "tcp:8080", first_steps=lambda url: [f"curl {url}/status"])
    service.startService()
    assert [step.startswith("curl http://") for step in service.first_steps()] == [True]


def test_a_front_end_on_unix_sockets_alone_has_no_first_steps() -> None:
    """No command would work as it stands."""
    service = listener("unix:/run/s", first_steps=lambda url: [f"curl {url}/status"])
    service.startService()
    assert service.first_steps() == []

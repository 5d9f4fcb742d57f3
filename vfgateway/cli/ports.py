"""Where the front ends are to listen, and whether they do, or could. Changes nothing."""

from __future__ import annotations

import re
import socket
import tomllib
from collections.abc import Iterator

import attrs

from vfgateway.cli.mistakes import Mistake, wrong
from vfgateway.cli.place import Place
from vfgateway.findings import Finding
from vfgateway.whereabouts import EMBEDDED

#: Seconds for a connection.
CONNECT = 3.0

_TCP = re.compile(r"(?:haproxy:)?(?:tcp6?|ssl):(?:port=)?(\d+)(.*)")
_INTERFACE = re.compile(r":interface=((?:\\:|[^:])*)")
_UNIX = re.compile(r"(?:haproxy:)?unix:(?:address=)?((?:\\:|[^:])*)")
#: Where to knock if it listens everywhere.
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


@attrs.frozen
class Address:
    """Of a socket.

    :ivar host: empty for all, and for a Unix socket
    :ivar place: the port, or the path
    """

    family: socket.AddressFamily
    host: str
    place: int | str

    def connects(self) -> bool:
        """Whether somebody answers."""
        with socket.socket(self.family, socket.SOCK_STREAM) as probe:
            probe.settimeout(CONNECT)
            everywhere = "::1" if self.family == socket.AF_INET6 and not self.host else _EVERYWHERE.get(self.host)
            try:
                probe.connect(self.place if isinstance(self.place, str) else (everywhere or self.host, self.place))
            except OSError:
                return False
            return True

    def binds(self, port: int | str) -> bool:
        """Whether we could listen at this host on ``port``. ``PermissionError``."""
        try:
            with socket.socket(self.family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the daemon does
                probe.bind((self.host, port))
        except PermissionError:
            raise
        except OSError:
            return False
        return True


def front_ends(place: Place, running: bool) -> Iterator[Finding]:
    """Whether each endpoint answers; or, while the gateway does not run, whether it is free."""
    taken: dict[Address, str] = {}
    for name, endpoint in endpoints(place):
        what, address = f"front end {name}", address_of(endpoint)
        if address is None:
            yield Finding(what, True, f"{endpoint}: not looked at")
        elif address in taken:
            detail = f"{endpoint} is also where front end {taken[address]} listens: give one of them another port"
            yield wrong(Mistake.PORT_TAKEN, what, detail)
        elif running:
            yield _answering(what, endpoint, address)
        else:
            yield _free(what, endpoint, address)
        if address is not None:
            taken.setdefault(address, name)


def _answering(what: str, endpoint: str, address: Address) -> Finding:
    if address.connects():
        return Finding(what, True, endpoint)
    detail = f"nothing answers on {endpoint}: see the gateway's log; after a change of the configuration, restart it"
    return wrong(Mistake.PORT_SILENT, what, detail)


def _free(what: str, endpoint: str, address: Address) -> Finding:
    taken = wrong(
        Mistake.PORT_TAKEN, what, f"another program listens on {endpoint}: end it (ss -ltnp), or take another"
    )
    if address.connects():
        return taken
    if address.family != socket.AF_UNIX:
        try:
            if not address.binds(0):
                detail = f"no interface of this machine has the address {address.host}: correct {endpoint}"
                return wrong(Mistake.ADDRESS_UNKNOWN, what, detail)
            if not address.binds(address.place):
                return taken
        except PermissionError:
            detail = (
                f"ports below 1024 are root's: {endpoint} takes `twistd --uid`, a socket of systemd (etc/*.socket), or "
                "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit"
            )
            return wrong(Mistake.PORT_FORBIDDEN, what, detail)
    return Finding(what, True, f"{endpoint} is free")


def endpoints(place: Place) -> Iterator[tuple[str, str]]:
    """All, each with its front end."""
    defaults = tomllib.loads(EMBEDDED)["frontends"]
    for name in place.section("frontends"):
        table = place.section("frontends", name)
        for configured in (
            table.get("endpoint", defaults.get(name, {}).get("endpoint", [])),
            table.get("monitoring_endpoint", []),
        ):
            for endpoint in [configured] if isinstance(configured, str) else configured:
                yield name, str(endpoint)


def address_of(endpoint: str) -> Address | None:
    """``None`` where that cannot be told (systemd's, port 0)."""
    if match := _UNIX.match(endpoint):
        return Address(socket.AF_UNIX, "", match[1].replace("\\:", ":"))
    match = _TCP.match(endpoint)
    if match is None or match[1] == "0":
        return None
    interface = _INTERFACE.search(match[2])
    host = interface[1].replace("\\:", ":") if interface else ""
    six = endpoint.removeprefix("haproxy:").startswith("tcp6") or ":" in host
    return Address(socket.AF_INET6 if six else socket.AF_INET, host, int(match[1]))

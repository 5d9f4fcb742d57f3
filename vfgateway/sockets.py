"""Listening sockets that several processes share: one process binds and keeps them, and whatever listens in the others is given them
by what it asks for. Endpoints need to know nothing of it: both sides look like a reactor.

A socket stays open while the keeper lives, so nobody is refused while a process that accepted on it is replaced.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet import tcp, unix
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorSocket
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import Interface, implementer

from vfgateway.shares import MOMENT, Share


class IBindsLate(Interface):
    """What a front end's service may provide beside ``IService``."""

    def bind_late() -> None:
        """Make the sockets that ``startService`` would make, since they need what is there only after privileges were dropped. Called
        in place of ``startService``, in the process that keeps the sockets. Not a coroutine. Raises ``ConfigurationError``."""


@attrs.frozen
class Kept:
    """A socket that others are to be given.

    :ivar key: what it was asked for by
    :ivar number: its descriptor in this process
    :ivar wanted: the number that it must have in the others; ``None`` for any
    """

    key: str
    number: int
    family: int
    wanted: int | None = None


class _Listening:
    """The part of a reactor that endpoints listen through, with every socket known by a key. The rest is the real reactor's."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> Any:
        """As the reactor's."""
        return self.listenTCP(port, TLSMemoryBIOFactory(contextFactory, False, factory), backlog, interface)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """As the reactor's."""
        raise NotImplementedError

    def key_of(self, *asked: object) -> str:
        """The same at every run for the same configuration, whose endpoints are asked for in one order."""
        key = " ".join(str(part) for part in asked)
        self._asked[key] += 1
        return f"{key} #{self._asked[key]}"


@implementer(IReactorSocket)
class SocketKeeper(_Listening):
    """Binds and keeps. Nothing is accepted in this process.

    :param earlier: what an earlier keeper holds: a socket that is asked for again is the same one
    """

    def __init__(self, reactor: Any, earlier: SocketKeeper | None = None) -> None:
        super().__init__(reactor)
        self._ports: dict[str, tuple[Any, int | None]] = {}
        self._earlier = dict(earlier._ports) if earlier is not None else {}

    def __iter__(self) -> Iterator[Kept]:
        for key, (port, wanted) in self._ports.items():
            yield Kept(key, port.fileno(), port.socket.family, wanted)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        """As the reactor's."""
        key = self.key_of("tcp", interface, port)
        return self._keep(key, lambda: self._reactor.listenTCP(port, Factory(), backlog, interface))

    def listenUNIX(
        self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> IListeningPort:
        """As the reactor's."""
        key = self.key_of("unix", os.fsdecode(address))
        return self._keep(key, lambda: self._reactor.listenUNIX(address, Factory(), backlog, mode, wantPID))

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> IListeningPort:
        """As the reactor's: a socket that a service manager opened has the same number in every process."""
        key = self.key_of("adopted", fileDescriptor)
        # It would close the number, which is asked for again at the next reload.
        AdoptedStreamServerEndpoint._close = staticmethod(_leave_open)
        adopt = self._reactor.adoptStreamPort
        return self._keep(key, lambda: adopt(fileDescriptor, addressFamily, Factory()), fileDescriptor)

    def _keep(self, key: str, listen: Any, wanted: int | None = None) -> IListeningPort:
        port, wanted = self._earlier.pop(key) if key in self._earlier else (listen(), wanted)
        port.stopReading()
        self._ports[key] = (port, wanted)
        return port  # type: ignore[no-any-return]

    def release(self, later: SocketKeeper | None = None) -> Sequence[IListeningPort]:
        """Give up what ``later`` does not hold; the ports that are to be closed."""
        kept = later._ports if later is not None else {}
        ports, self._ports = self._ports, {}
        return [port for key, (port, _) in ports.items() if key not in kept]


@implementer(IReactorSocket)
class InheritedSockets(_Listening):
    """Gives out the sockets that another process keeps, and sees to it that this process takes its share of connections.

    :param sockets: descriptor and address family by key
    """

    def __init__(self, reactor: Any, sockets: Mapping[str, tuple[int, int]], share: Share) -> None:
        super().__init__(reactor)
        self._sockets = dict(sockets)
        self._share = share

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        """As the reactor's."""
        number, family = self._take(self.key_of("tcp", interface, port))
        made = self._reactor.adoptStreamPort(number, family, factory)
        os.close(number)
        return self._shared(made)

    def listenUNIX(
        self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> IListeningPort:
        """As the reactor's; file and mode are the keeper's."""
        number, _ = self._take(self.key_of("unix", os.fsdecode(address)))
        made = _SharedUnixPort(os.fsencode(address), factory, backlog, mode, self._reactor)
        made.use(socket.socket(fileno=number))
        return made

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> IListeningPort:
        """As the reactor's."""
        return self._shared(self._reactor.adoptStreamPort(fileDescriptor, addressFamily, factory))

    def _shared(self, port: Any) -> IListeningPort:
        """Accept one connection at a time, and leave it to who has fewer."""
        if isinstance(port, unix.Port):
            return port
        accept, share, reactor = port.doRead, self._share, self._reactor

        class Counted(port.transport):  # type: ignore[misc]
            def connectionLost(self, reason: Any) -> None:
                super().connectionLost(reason)
                share.closed()

        def make(*arguments: Any) -> Any:
            share.opened()
            return Counted(*arguments)

        def accept_one() -> None:
            port.numberAccepts = 1
            accept()

        def accept_or_leave() -> None:
            if not share.is_largest():
                accept_one()
                return
            port.stopReading()
            reactor.callLater(MOMENT, look_again)

        def look_again() -> None:
            if port.connected and not port.disconnecting:
                accept_one()
                port.startReading()

        port.transport, port.doRead = make, accept_or_leave
        return port  # type: ignore[no-any-return]

    def _take(self, key: str) -> tuple[int, int]:
        if key not in self._sockets:
            raise CannotListenError(None, None, OSError(f"no socket was handed over for {key}"))
        return self._sockets.pop(key)


class _SharedUnixPort(unix.Port):
    """Listens on a socket whose file belongs to somebody else. (Twisted's way to adopt one gives the file a mode, and removes it at the
    end.)"""

    _shouldShutdown = False

    def use(self, listening: socket.socket) -> None:
        """Begin to listen."""
        listening.setblocking(False)
        factory: Any = self.factory
        factory.doStart()
        self.connected = True
        self.socket = listening
        self.fileno = listening.fileno  # type: ignore[method-assign]
        self.numberAccepts = 1
        self.startReading()

    def connectionLost(self, reason: Any) -> None:
        """Close our end alone."""
        tcp.Port.connectionLost(self, reason)


def _leave_open(fd: int) -> None:
    """See :meth:`SocketKeeper.adoptStreamPort`."""

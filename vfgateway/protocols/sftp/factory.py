# mypy: disallow-untyped-calls=False
"""All connections of the SFTP front end: who may connect, how long a wrong login costs, and who has fallen silent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from itertools import chain
from typing import Any

import attrs
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper

from vfgateway.protocols.sftp.certificates import Authorities
from vfgateway.protocols.sftp.connection import SftpConnection
from vfgateway.protocols.sftp.direct import Direct
from vfgateway.protocols.sftp.login import Login
from vfgateway.protocols.sftp.longname import Owners
from vfgateway.protocols.sftp.settings import Limits
from vfgateway.protocols.sftp.transport import SftpTransport
from vfgateway.protocols.web.forwarded import TrustedProxies
from vfgateway.services.gateway import Gateway

#: Seconds between looks at all connections.
LOOK = 5.0
#: Seconds of the longest delay after a wrong login.
LONGEST_DELAY = 16.0
#: Seconds after which wrong logins are forgotten, and how many addresses and names are remembered.
MEMORY, MOST_REMEMBERED = 600.0, 20_000
#: Seconds that a connection gets to take our last words; less where all is being stopped.
LAST_WORDS, LAST_WORDS_OF_ALL = 10.0, 2.0
#: In the time of grace of a stop: seconds between looks, for which the client of an open file may be silent, and for which a session may go on
#: after its last request (a rename, a time), before it is ended.
SHORT_LOOK, QUIET, LINGER = 0.05, 3.0, 1.0


@attrs.define
class _Failures:
    count: int
    last: float


class Attempts:
    """Wrong logins by address and by name: each makes the next one wait longer.

    :param first: seconds of the first delay
    """

    def __init__(self, clock: Any, first: float) -> None:
        self._clock = clock
        self._first = first
        self._known: dict[str, _Failures] = {}

    def failed(self, *keys: str) -> float:
        """Note a wrong login; the seconds for which its answer shall wait."""
        now = self._clock.seconds()
        most = 0
        for key in keys:
            known = self._known.pop(key, None)
            count = 1 if known is None or now - known.last >= MEMORY else known.count + 1
            self._known[key] = _Failures(count, now)
            most = max(most, count)
        while len(self._known) > MOST_REMEMBERED:  # the one that failed longest ago comes first
            del self._known[next(iter(self._known))]
        return float(min(self._first * 2 ** min(most - 1, 20), LONGEST_DELAY))

    def succeeded(self, *keys: str) -> None:
        """Forget."""
        for key in keys:
            self._known.pop(key, None)


class SftpFactory(SSHFactory):
    """See the module.

    :ivar stopping: no further file is opened
    """

    protocol = SftpTransport
    noisy = False
    primes = None

    def __init__(self, gateway: Gateway, limits: Limits, authorities: Authorities, banner: str = "") -> None:
        self.gateway = gateway
        self.limits = limits
        self.authorities = authorities
        self.banner = banner
        self.reactor = gateway.reactor
        self.attempts = Attempts(self.reactor, limits.delay)
        self.owners = Owners(gateway.accounts, self.reactor)
        self.direct = Direct()
        self.connections: set[SftpTransport] = set()
        self.users: Counter[str] = Counter()
        self.stopping = False
        self._finishing: set[Deferred[None]] = set()
        self.privateKeys: Mapping[bytes, Key] = {}
        self.all_keys: Sequence[Key] = ()
        self._proxies = TrustedProxies(gateway.settings.gateway.trusted_proxies)
        self._look = LoopingCall(self.look)
        self._look.clock = self.reactor

    def use(self, keys: Mapping[bytes, Key], coming: Sequence[Key] = ()) -> None:
        """Take in the host keys, and begin to look after connections.

        :param coming: keys that are told to clients, and not used yet
        """
        self.privateKeys = dict(keys)
        self.all_keys = [*keys.values(), *coming]
        self.publicKeys = {name: key.public() for name, key in keys.items()}
        self._look.start(LOOK, now=False)

    def startFactory(self) -> None:
        """The keys come later, when privileges have been dropped."""

    def buildProtocol(self, addr: Any) -> SftpTransport:
        """One connection, which names the algorithms of our keys; never SHA-1 (``ssh-rsa``)."""
        made = SftpTransport()
        made.factory = self
        names = chain.from_iterable(key.supportedSignatureAlgorithms() for key in self.privateKeys.values())
        made.supportedPublicKeys = [name for name in names if name != b"ssh-rsa"]
        return made

    def getService(self, transport: SftpTransport, service: bytes) -> Any:
        """Whoever connects logs in first; what comes after, the login starts itself. Some clients (paramiko) ask again before each method, and
        go on with the same login."""
        login = transport.service
        if service != b"ssh-userauth" or not isinstance(login, Login | None):
            return None
        return Login if login is None else lambda: login

    # --- connections ---

    def admit(self, transport: SftpTransport) -> bool:
        """Whether a new connection may stay."""
        wrapper: Any = transport.transport
        if isinstance(wrapper, HAProxyProtocolWrapper):
            under: Any = wrapper.transport
            peer = under.getPeer()
            if not self._proxies.trusts(str(getattr(peer, "host", "unix"))):
                return False
        if not self.gateway.running or len(self.connections) >= self.limits.connections:
            return False
        self.connections.add(transport)
        self._thin_out()
        return True

    def _thin_out(self) -> None:
        """Keep those few who have not logged in. Whoever fills the room loses their own, and others still get in."""
        strangers = [each for each in self.connections if each.user is None and not each.ended]
        if len(strangers) > self.limits.unauthenticated:
            crowds = Counter(each.address for each in strangers)
            oldest = min(strangers, key=lambda each: (-crowds[each.address], each.began))
            oldest.disconnect(12, "too many connections that do not log in")

    def crowded(self, transport: SftpTransport) -> bool:
        """Whether too many come from the same address, as far as it is known now."""
        address = transport.address
        same = sum(other.address == address for other in self.connections)
        return same > self.limits.per_address

    def forget(self, transport: SftpTransport) -> None:
        """A connection has ended."""
        self.connections.discard(transport)
        user, transport.user = transport.user, None
        if user is not None:
            self.users[user] -= 1
            if not self.users[user]:
                del self.users[user]

    def enter(self, transport: SftpTransport, user: str) -> bool:
        """Count a login; ``False`` if the user has too many connections."""
        if self.users[user] >= self.limits.per_user:
            return False
        self.users[user] += 1
        transport.user = user
        return True

    def look(self) -> None:
        """End connections that do not log in, that were ended and do not go, and that have fallen silent; ask the others if they live."""
        now = self.reactor.seconds()
        for transport in list(self.connections):
            silent = now - transport.heard
            if transport.connection is not None:
                transport.connection.look()
            if transport.ended:
                if silent > LAST_WORDS:
                    transport.transport.abortConnection()
            elif transport.user is None:
                if now - transport.began > self.limits.login:
                    transport.disconnect(2, "the login took too long")
            elif transport.is_idle(now, self.limits.idle):
                transport.disconnect(11, "idle for too long")
            elif silent > 3 * self.limits.silence:
                transport.transport.abortConnection()
            elif silent > self.limits.silence:
                transport.ask_for_life()

    def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what is left to do for a client that has gone."""
        running: Deferred[None] = Deferred.fromCoroutine(work)
        self._finishing.add(running)
        running.addBoth(lambda _: self._finishing.discard(running))

    async def close(self, grace: float = 0.0) -> None:
        """End all connections, and return when what they had open is closed. Transfers that are under way get ``grace`` seconds to end; each
        connection without one is ended at once. Where others have taken our place, who is at work may also begin something new, as long as
        that goes on: whoever connects again is with the others."""
        succeeded = self.gateway.succeeded
        self.stopping = not succeeded
        if self._look.running:
            self._look.stop()
        over = self.reactor.seconds() + grace
        while self.connections and (now := self.reactor.seconds()) < over:
            for transport in list(self.connections):
                if not (_works(transport, now) if succeeded else _transfers(transport, now)):
                    transport.disconnect(11, "the gateway stops")
            await deferLater(self.reactor, SHORT_LOOK)
        for transport in list(self.connections):
            transport.disconnect(11, "the gateway stops")
        deadline = self.reactor.seconds() + LAST_WORDS_OF_ALL
        while self.connections and self.reactor.seconds() < deadline:
            await deferLater(self.reactor, 0.02)
        for transport in list(self.connections):
            transport.transport.abortConnection()
        for running in list(self._finishing):
            await running


def _works(transport: SftpTransport, now: float) -> bool:
    """Whether somebody is logging in, or has just asked for something."""
    return not transport.ended and (_transfers(transport, now) or now - transport.heard < QUIET)


def _transfers(transport: SftpTransport, now: float) -> bool:
    """Whether something is under way that will come to its end, or was a moment ago."""
    service = transport.service
    if transport.ended or not isinstance(service, SftpConnection):
        return False
    if service.busy or now - transport.active < LINGER:
        return True
    return service.transfers and now - transport.heard < QUIET

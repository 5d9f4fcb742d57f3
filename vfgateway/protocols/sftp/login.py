# mypy: disallow-untyped-calls=False
"""Logging in (RFC 4252, RFC 4256): public key, certificate, password, and a password asked for by prompt."""

from __future__ import annotations

import struct
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.keys import BadKeyError, Key
from twisted.conch.ssh.service import SSHService
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from vfgateway.credentials import PasswordAndCode, ProvenKey
from vfgateway.errors import AuthenticationFailed, GatewayError, SecondFactorRequired
from vfgateway.principals import Origin, Principal
from vfgateway.protocols.sftp import securitykeys
from vfgateway.protocols.sftp.connection import SftpConnection
from vfgateway.services.operations import LoginFailed, LoginSucceeded

if TYPE_CHECKING:
    from vfgateway.protocols.sftp.transport import SftpTransport

REQUEST, FAILURE, SUCCESS, BANNER, INFO_REQUEST, INFO_RESPONSE = 50, 51, 52, 53, 60, 61
PK_OK = 60
METHODS = b"publickey,password,keyboard-interactive"
#: Requests that wait for the one that is judged, at most.
_MOST_WAITING = 8
#: Keys that a client may offer.
_MOST_KEYS = 40
#: Algorithms of signatures by what the key is; never SHA-1.
_SIGNATURES = {b"ssh-rsa": (b"rsa-sha2-256", b"rsa-sha2-512")}


class Login(SSHService):
    """Judges one request after the other until one succeeds."""

    name = b"ssh-userauth"
    log = Logger(namespace="vfgateway.sftp")
    transport: SftpTransport
    protocolMessages = {REQUEST: "MSG_USERAUTH_REQUEST", INFO_RESPONSE: "MSG_USERAUTH_INFO_RESPONSE"}  # noqa: RUF012

    def __init__(self) -> None:
        self._failures = 0
        self._offers = 0
        self._begun = False

    def serviceStarted(self) -> None:
        """Begin, or go on for a client that asks anew: what was wrong still counts."""
        self._waiting: list[tuple[int, bytes]] = []
        self._busy = False
        self._stopped = False
        self._prompted = ""
        self._typed: bytes | None = None
        if self._begun:
            return
        self._begun = True
        if self.transport.factory.crowded(self.transport):
            self.transport.disconnect(12, "too many connections from this address")
        elif banner := self.transport.factory.banner:
            self.transport.sendPacket(BANNER, NS(banner.encode("utf-8")) + NS(b""))

    def serviceStopped(self) -> None:
        """The connection has ended, or the login succeeded."""
        self._stopped = True

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """Judge now, or after what is being judged."""
        if messageNum not in self.protocolMessages:
            self.transport.sendUnimplemented()
            return
        if len(self._waiting) >= _MOST_WAITING:
            self.transport.disconnect(2, "too many login requests at once")
            return
        self._waiting.append((messageNum, packet))
        self._next()

    def _next(self) -> None:
        if self._busy or not self._waiting or self._stopped:
            return
        self._busy = True
        number, packet = self._waiting.pop(0)
        work = self._request(packet) if number == REQUEST else self._answered(packet)
        Deferred.fromCoroutine(work).addBoth(self._judged)

    def _judged(self, result: Any) -> None:
        self._busy = False
        if result is not None and not self._stopped:
            self.log.failure("a login from {address} failed", result, address=self.transport.address)
            self.transport.disconnect(2, "the login could not be judged")
        self._next()

    # --- methods ---

    async def _request(self, packet: bytes) -> None:
        name, service, method, rest = getNS(packet, 3)
        if service != b"ssh-connection":
            self.transport.disconnect(7, "no such service")
            return
        methods: dict[bytes, Callable[[bytes, bytes], Coroutine[Any, Any, None]]] = {
            b"publickey": self._public_key,
            b"password": self._password,
            b"keyboard-interactive": self._prompt,
        }
        self._prompted, self._typed = "", None
        try:
            judge = methods.get(method)
            if judge is None:
                self._refuse()
                return
            await judge(name, rest)
        except AuthenticationFailed:
            await self._fail(_text(name), method)

    async def _password(self, name: bytes, rest: bytes) -> None:
        password = getNS(rest[1:])[0]
        try:
            principal = await self._ask(UsernamePassword(name, password))
        except SecondFactorRequired as error:  # this method cannot ask; the next one can
            self.transport.sendPacket(BANNER, NS(f"{error}\n".encode()) + NS(b""))
            raise
        await self._accept(principal, "password")

    async def _prompt(self, name: bytes, rest: bytes) -> None:
        self._prompt_for(_text(name), b"Password: ")

    def _prompt_for(self, name: str, what: bytes, typed: bytes | None = None) -> None:
        self._prompted, self._typed = name, typed
        prompt = NS(b"") + NS(b"") + NS(b"") + struct.pack(">I", 1) + NS(what) + b"\0"
        self.transport.sendPacket(INFO_REQUEST, prompt)

    async def _answered(self, packet: bytes) -> None:
        name, typed = self._prompted, self._typed
        self._prompted, self._typed = "", None
        (count,) = struct.unpack(">I", packet[:4])
        if not name or count != 1:
            await self._fail(name, b"keyboard-interactive")
            return
        answer, raw = getNS(packet[4:])[0], name.encode("utf-8")
        try:
            if typed is None:
                principal = await self._ask(UsernamePassword(raw, answer))
            else:
                principal = await self._ask(PasswordAndCode(raw, typed, answer.decode("utf-8", "replace")))
            await self._accept(principal, "keyboard-interactive")
        except SecondFactorRequired:
            self._prompt_for(name, b"Code of the second factor: ", answer)
        except AuthenticationFailed:
            await self._fail(name, b"keyboard-interactive")

    async def _public_key(self, name: bytes, rest: bytes) -> None:
        signed = rest[:1] != b"\0"
        algorithm, blob, rest = getNS(rest[1:], 2)
        self._offers += 1
        if self._offers > _MOST_KEYS:
            self.transport.disconnect(14, "too many keys offered")
            return
        certificate = self.transport.factory.authorities.read(algorithm, blob)
        key_blob = blob if certificate is None else certificate.key_blob
        key, algorithm_used = _key_of(key_blob, algorithm if certificate is None else certificate.algorithm)
        if signed:
            session = self.transport.sessionID
            assert session is not None
            head = NS(session) + bytes((REQUEST,)) + NS(name) + NS(b"ssh-connection") + NS(b"publickey") + b"\1"
            message, signature = head + NS(algorithm) + NS(blob), getNS(rest)[0]
            if algorithm_used in securitykeys.ALGORITHMS:
                good = securitykeys.verifies(key_blob, signature, message)
            else:
                good = _verifies(key, algorithm_used, signature, message)
            if not good:
                raise AuthenticationFailed
        if certificate is not None:
            now = self.transport.factory.reactor.seconds()
            certificate.check(_text(name), self.transport.address, now)
            principal = await self.transport.factory.gateway.principal_named(_text(name))
        else:
            proof = ProvenKey(_text(name), key_blob, self.transport.address, signed)
            try:
                principal = await self._ask(proof)
            except AuthenticationFailed:
                if signed:
                    raise
                self._refuse()
                return
        if signed:
            await self._accept(principal, "certificate" if certificate is not None else "publickey")
        else:
            self.transport.sendPacket(PK_OK, NS(algorithm) + NS(blob))

    async def _ask(self, credentials: Any) -> Principal:
        try:
            return await self.transport.factory.gateway.authenticate(credentials, self._origin)
        except AuthenticationFailed:
            raise
        except GatewayError as error:  # the judge is not there; that is no failure of the client's
            self.log.warn("a login cannot be judged: {error}", error=error)
            raise AuthenticationFailed from None

    @property
    def _origin(self) -> Origin:
        return Origin("sftp", self.transport.address)

    # --- answers ---

    async def _accept(self, principal: Principal, method: str) -> None:
        transport = self.transport
        if self._stopped or transport.ended:
            return
        origin = self._origin
        if not transport.factory.enter(transport, principal.name):
            transport.disconnect(12, f"too many connections of {principal.name}")
            return
        transport.factory.attempts.succeeded(f"name {principal.name}")
        gateway = transport.factory.gateway
        gateway.events.publish(
            LoginSucceeded(user=principal.name, address=origin.address, protocol="sftp", method=method)
        )
        transport.sendPacket(SUCCESS, b"")
        transport.setService(SftpConnection(gateway.session(principal, origin)))

    async def _fail(self, name: str, method: bytes) -> None:
        """Answer a wrong login after a while that grows with each, for the address and for the name."""
        transport = self.transport
        self._failures += 1
        address = transport.address
        decision = transport.factory.gateway.audit.login_refused(name[:64], address, "sftp")
        transport.factory.gateway.events.publish(
            LoginFailed(user=name[:64], address=address, protocol="sftp", method=method.decode("ascii", "replace")[:32])
        )
        delay = transport.factory.attempts.failed(f"address {address}", f"name {name[:255]}")
        await deferLater(transport.factory.reactor, delay)
        if self._stopped or transport.ended:
            return
        if self._failures >= transport.factory.limits.attempts:
            transport.disconnect(14, f"too many wrong logins [{decision}]")
        else:
            self._refuse()

    def _refuse(self) -> None:
        self.transport.sendPacket(FAILURE, NS(METHODS) + b"\0")


def _text(raw: bytes) -> str:
    """Names are UTF-8 (RFC 4252 section 5). ``AuthenticationFailed``."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise AuthenticationFailed from None


def _key_of(blob: bytes, algorithm: bytes) -> tuple[Key, bytes]:
    """The key, and the algorithm that its signature must have. ``AuthenticationFailed``."""
    try:
        key = Key.fromString(blob, type="blob")
    except (BadKeyError, ValueError, struct.error, IndexError):
        raise AuthenticationFailed from None
    if algorithm not in _SIGNATURES.get(key.sshType(), (key.sshType(),)):
        raise AuthenticationFailed
    return key, algorithm


def _verifies(key: Key, algorithm: bytes, signature: bytes, data: bytes) -> bool:
    try:
        return getNS(signature)[0] == algorithm and bool(key.verify(signature, data))
    except Exception:  # the library raises what it likes for signatures that are none
        return False

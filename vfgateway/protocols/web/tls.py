# mypy: disallow-untyped-calls=False
"""TLS with a certificate from a file that may be renewed at any time: new connections get the new one, without a restart; and large writes whole.

Twisted gives OpenSSL one record of 16 KiB after the other, takes each out again, and puts all together before the socket is asked. Here OpenSSL gets :data:`PIECE`
at once, and the socket what comes out. ``tests/protocols/web/test_tls.py`` pins what the private names used here mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from OpenSSL.crypto import Error as CryptoError
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import Certificate as SslCertificate
from twisted.internet.ssl import CertificateOptions, KeyPair, PrivateCertificate, trustRootFromCertificates
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from vfgateway.errors import ConfigurationError
from vfgateway.protocols.web.receiving import at_rest

#: Seconds between looks at the files.
LOOK = 5.0
#: Bytes that are encrypted in one call, and what records add to them at most.
PIECE, OVERHEAD = 128 << 10, 4 << 10
#: Bytes that the socket is offered at once.
OFFERED = 1 << 20
#: ``SSL_write`` returns after each record (SSL_CTX_set_mode(3)); in memory there is no reason to.
_PARTIAL_WRITE = 1

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"

type_state = tuple[tuple[int, int, int], ...]


@implementer(IOpenSSLServerConnectionCreator)
class ReloadingCertificate:
    """Makes the server's side of TLS connections.

    :param certificate: a PEM file: the server's certificate, then those between it and its root
    :param key: a PEM file with its key; may be the same file
    :param client_ca: a PEM file of authorities: only who shows a certificate of theirs gets through
    """

    log = Logger()

    def __init__(self, certificate: Path, key: Path | None, clock: Any, client_ca: Path | None = None) -> None:
        self._certificate = certificate
        self._key = key or certificate
        self._client_ca = client_ca
        self._clock = clock
        self._context: SSL.Context | None = None
        self._state: type_state = ()
        self._looked = 0.0

    def load(self) -> None:
        """Read the files. Raises ``ConfigurationError``."""
        try:
            state = self._now()
            self._context = self._read()
        except (OSError, ValueError, SSL.Error, CryptoError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "no certificate and key that fit each other"
            files = " and ".join(map(str, self._files))
            raise ConfigurationError("certificate", f"cannot use {files}: {reason}") from None
        self._state = state

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Called for each connection."""
        self._renew()
        assert self._context is not None
        return SSL.Connection(self._context, None)

    def _renew(self) -> None:
        now = self._clock.seconds()
        if now - self._looked < LOOK:
            return
        self._looked = now
        try:
            if self._now() != self._state:
                self.load()
                self.log.info("the certificate was read anew")
        except (OSError, ConfigurationError) as error:  # half-way through a renewal, perhaps: the old one still serves
            self.log.warn("the certificate cannot be read anew: {error}", error=str(error))

    @property
    def _files(self) -> Sequence[Path]:
        files = (self._certificate, self._key)
        return files if self._client_ca is None else (*files, self._client_ca)

    def _now(self) -> type_state:
        found = (path.stat() for path in self._files)
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in found)

    def _read(self) -> SSL.Context:
        chain = _certificates(self._certificate)
        callers = None if self._client_ca is None else trustRootFromCertificates(_certificates(self._client_ca))
        key = KeyPair.load(self._key.read_bytes(), 1)  # 1: PEM
        own = PrivateCertificate.fromCertificateAndKeyPair(chain[0], key)
        options = CertificateOptions(
            privateKey=own.privateKey.original,
            certificate=own.original,
            extraCertChain=[each.original for each in chain[1:]],
            acceptableProtocols=[b"http/1.1"],
            trustRoot=callers,
        )
        context = options.getContext()
        context.clear_mode(_PARTIAL_WRITE)
        return context


def _certificates(file: Path) -> list[Any]:
    """All in a PEM file. ``ValueError`` if there is none."""
    blocks = [block + _END for block in file.read_bytes().split(_END) if _BEGIN in block]
    if not blocks:
        raise ValueError(f"there is no certificate in {file}")
    return [SslCertificate.loadPEM(block[block.index(_BEGIN) :]) for block in blocks]


def speaking_tls(creator: ReloadingCertificate, factory: Any) -> TLSMemoryBIOFactory:
    """``factory`` behind TLS."""
    made = TLSMemoryBIOFactory(creator, False, factory)
    made.protocol = LargeWrites
    return made


class LargeWrites(BufferingTLSTransport):
    """See the module."""

    _tlsConnection: Any
    transport: Any

    def _write(self, data: Any) -> None:
        if len(data) < PIECE or self._lostTLSConnection:
            super()._write(data)
            return
        view, at = memoryview(data), 0
        while at < len(view):
            try:
                at += self._tlsConnection.send(view[at : at + PIECE])
            except SSL.WantReadError:  # the client wants new keys first
                self._bufferedWrite(bytes(view[at:]))
                return
            except SSL.Error:
                self._tlsShutdownFinished(Failure())
                return
            self._flush_large()

    def _flush_large(self) -> None:
        """Send what OpenSSL has made of the last piece, and what may have been there before."""
        transport = self.transport
        while True:
            try:
                data = self._tlsConnection.bio_read(PIECE + OVERHEAD)
            except SSL.WantReadError:
                return
            sent = 0
            if isinstance(transport, Connection):
                transport.SEND_LIMIT = OFFERED
                if at_rest(transport):
                    with suppress(OSError):  # nothing goes now; the transport finds out why
                        sent = transport.getHandle().send(data)
            if sent < len(data):
                transport.write(data[sent:])
            if len(data) < PIECE + OVERHEAD:
                return

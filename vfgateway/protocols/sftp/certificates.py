"""User certificates of OpenSSH's kind, signed by an authority that the site trusts."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterable

import attrs
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)

from vfgateway.errors import AuthenticationFailed, ConfigurationError

_SUFFIX = b"-cert-v01@openssh.com"
#: What a client names when it signs with the key of an RSA certificate, and the format that the certificate itself has.
_RSA = {b"rsa-sha2-256" + _SUFFIX: b"rsa-sha2-256", b"rsa-sha2-512" + _SUFFIX: b"rsa-sha2-512"}


def _blob(key: object) -> bytes:
    line: bytes = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)  # type: ignore[attr-defined]
    return base64.b64decode(line.split()[1])


@attrs.frozen
class Certificate:
    """A certificate whose signature is good and whose authority is ours.

    :ivar key_blob: the certified key
    :ivar algorithm: what the client has to sign with
    """

    key_blob: bytes
    algorithm: bytes
    _certificate: SSHCertificate

    def check(self, name: str, address: str, now: float) -> None:
        """``AuthenticationFailed`` unless it is good for ``name``, from ``address``, at ``now`` (epoch seconds)."""
        certificate = self._certificate
        if name.encode("utf-8") not in certificate.valid_principals:
            raise AuthenticationFailed
        if not certificate.valid_after <= now < certificate.valid_before:
            raise AuthenticationFailed
        for option, value in certificate.critical_options.items():
            if option != b"source-address" or not _within(address, value):
                raise AuthenticationFailed


def _within(address: str, networks: bytes) -> bool:
    try:
        # The value is itself a string within a string in some tools and plain in the library.
        parsed = ipaddress.ip_address(address)
        return any(parsed in ipaddress.ip_network(text.strip(), strict=False) for text in networks.decode().split(","))
    except ValueError:
        return False


class Authorities:
    """The authorities that the site trusts.

    :param lines: their public keys, as OpenSSH writes them
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._blobs: set[bytes] = set()
        for line in lines:
            try:
                key = load_ssh_public_identity(" ".join(line.split()[:2]).encode())
                self._blobs.add(_blob(key))
            except (ValueError, AttributeError, UnsupportedAlgorithm):
                message = "should be lines of public keys as ssh-keygen writes them"
                raise ConfigurationError("frontends.sftp.trusted_user_ca_keys", message) from None

    def read(self, algorithm: bytes, blob: bytes) -> Certificate | None:
        """The certificate in ``blob``; ``None`` if it is a plain key. ``AuthenticationFailed`` if it is of no authority of ours."""
        if not algorithm.endswith(_SUFFIX):
            return None
        plain = b"ssh-rsa" if algorithm in _RSA else algorithm.removesuffix(_SUFFIX)
        try:
            certificate = load_ssh_public_identity(plain + _SUFFIX + b" " + base64.b64encode(blob))
            if not isinstance(certificate, SSHCertificate) or certificate.type is not SSHCertificateType.USER:
                raise AuthenticationFailed
            if _blob(certificate.signature_key()) not in self._blobs:
                raise AuthenticationFailed
            certificate.verify_cert_signature()
            return Certificate(_blob(certificate.public_key()), _RSA.get(algorithm, plain), certificate)
        except (ValueError, InvalidSignature, UnsupportedAlgorithm):
            raise AuthenticationFailed from None

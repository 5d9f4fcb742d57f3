# mypy: disallow-untyped-calls=False
"""Keys that never leave a token of FIDO's (``ssh-keygen -t ed25519-sk``): what they sign is not the message itself (OpenSSH's PROTOCOL.u2f)."""

from __future__ import annotations

import struct
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from twisted.conch.ssh.common import getNS

ED25519, ECDSA_P256 = b"sk-ssh-ed25519@openssh.com", b"sk-ecdsa-sha2-nistp256@openssh.com"
ALGORITHMS = (ED25519, ECDSA_P256)
#: The token was touched.
_PRESENT = 1
#: Flags and a counter, after the signature.
_TAIL = struct.Struct(">BI")


def verifies(blob: bytes, signature: bytes, data: bytes) -> bool:
    """Whether ``signature`` is that of the key ``blob`` over ``data``, made by somebody who touched the token."""
    try:
        kind, rest = getNS(blob)
        again, inner, tail = getNS(signature, 2)
        flags, _ = _TAIL.unpack(tail)
        if again != kind or not flags & _PRESENT:
            return False
        if kind == ED25519:
            public, application, _ = getNS(rest, 2)
            Ed25519PublicKey.from_public_bytes(public).verify(inner, _signed(application, tail, data))
        else:
            _, point, application, _ = getNS(rest, 3)
            r, s = (int.from_bytes(number, "big") for number in getNS(inner, 2)[:2])
            key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
            key.verify(encode_dss_signature(r, s), _signed(application, tail, data), ECDSA(SHA256()))
    except (InvalidSignature, ValueError, struct.error, IndexError):
        return False
    return True


def _signed(application: bytes, tail: bytes, data: bytes) -> bytes:
    return sha256(application).digest() + tail + sha256(data).digest()

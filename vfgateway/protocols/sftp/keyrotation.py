# mypy: disallow-untyped-calls=False
"""Telling clients, once they have logged in, all keys that the server has or will have, so that they know the next one before it is used
(``hostkeys-00@openssh.com`` and ``hostkeys-prove-00@openssh.com``, sections 2.5 of OpenSSH's PROTOCOL)."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.keys import Key

ANNOUNCE = b"hostkeys-00@openssh.com"
PROVE = b"hostkeys-prove-00@openssh.com"


def announcement(keys: Sequence[Key]) -> bytes:
    """The global request that tells ``keys``; no answer is wanted."""
    return NS(ANNOUNCE) + b"\0" + b"".join(NS(key.public().blob()) for key in keys)


def proofs(asked: bytes, keys: Sequence[Key], session: bytes | None, negotiated: bytes) -> bytes | None:
    """Signatures that show that ours are the keys that a client asks about. ``None`` if one is not ours, or is asked about twice.

    :param session: the identifier of the connection's first key exchange
    :param negotiated: the algorithm of that exchange's signature; keys of its kind sign with it here, too
    """
    ours = {key.public().blob(): key for key in keys}
    signatures = b""
    while asked:
        try:
            blob, asked = getNS(asked)
        except Exception:  # Conch has no word of its own for what is too short
            return None
        key = ours.pop(blob, None)
        if key is None:
            return None
        algorithms = key.supportedSignatureAlgorithms()
        chosen = negotiated if negotiated in algorithms else b"rsa-sha2-512" if key.sshType() == b"ssh-rsa" else None
        signatures += NS(key.sign(NS(PROVE) + NS(session or b"") + NS(blob), chosen or key.sshType()))
    return signatures

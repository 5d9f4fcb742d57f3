"""What is agreed upon beside ciphers: key exchanges, strict or not, and what clients may sign with."""

from __future__ import annotations

from twisted.conch.ssh._kex import getSupportedKeyExchanges

#: Strict key exchange, the answer to Terrapin, as either side offers it.
STRICT_CLIENT, STRICT_SERVER = b"kex-strict-c-v00@openssh.com", b"kex-strict-s-v00@openssh.com"
_WANTED = (b"mlkem768x25519-sha256", b"curve25519-sha256", b"curve25519-sha256@libssh.org")
#: What clients may sign with (RFC 8308 section 3.1).
SIGNATURES = (
    b"ssh-ed25519,sk-ssh-ed25519@openssh.com,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,"
    b"sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256"
)


def key_exchanges() -> list[bytes]:
    """What this build of the library can do of what we want."""
    present = getSupportedKeyExchanges()
    return [name for name in _WANTED if name in present]

"""How packets are protected: AES-GCM (RFC 5647 as OpenSSH speaks it), or AES-CTR with a MAC, by preference over the ciphertext.

Packets are opened within the buffer that they arrived in; what comes out is a view of a buffer that the next packet overwrites.
"""

from __future__ import annotations

import hmac
import secrets
import struct
from collections.abc import Callable, Iterable
from hashlib import sha256, sha512
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from twisted.conch.ssh.transport import SSHCiphers

#: Bytes of the longest packet that is taken in, without length and tag.
LONGEST_PACKET = 128 << 10

#: Preferred first: these encrypt and authenticate in one go.
GCM_CIPHERS = (b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com")
CTR_CIPHERS = (b"aes256-ctr", b"aes192-ctr", b"aes128-ctr")
_KEY_BYTES = {b"aes128-gcm@openssh.com": 16, b"aes256-gcm@openssh.com": 32} | {
    b"aes256-ctr": 32,
    b"aes192-ctr": 24,
    b"aes128-ctr": 16,
}
MACS = (b"hmac-sha2-256-etm@openssh.com", b"hmac-sha2-512-etm@openssh.com", b"hmac-sha2-256", b"hmac-sha2-512")
_HASHES: dict[bytes, Callable[..., Any]] = {MACS[0]: sha256, MACS[1]: sha512, MACS[2]: sha256, MACS[3]: sha512}
_from_bytes = int.from_bytes
_put_count = struct.Struct(">Q").pack_into
_MOST_COUNT = (1 << 64) - 1


class BadPacket(Exception):
    """The connection cannot go on: what came is no packet, or was changed on its way."""


class Opener(Protocol):
    """Takes packets of one direction out of a buffer."""

    def open(self, serial: int, view: memoryview, start: int, end: int) -> tuple[memoryview, int] | None:
        """The payload of the packet at ``start`` and the bytes it took; ``None`` if it has not all arrived. :class:`BadPacket`."""


class Sealer(Protocol):
    """Makes packets of one direction."""

    def seal(self, serial: int, payload: bytes) -> bytes:
        """The packet for a payload."""


def _pad(length: int, block: int) -> int:
    """Bytes of padding for that many bytes that count: at least 4, up to a multiple of the block."""
    pad = block - length % block
    return pad if pad >= 4 else pad + block


def _checked(length: int) -> int:
    if not 5 <= length <= LONGEST_PACKET:
        raise BadPacket(f"bad packet length {length}")
    return length


def _payload(plain: memoryview) -> memoryview:
    """A packet without its padding."""
    pad = plain[0]
    if pad < 4 or pad + 2 > len(plain):
        raise BadPacket("bad padding")
    return plain[1 : len(plain) - pad]


class Plain:
    """Before the first key exchange: no protection."""

    def open(self, serial: int, view: memoryview, start: int, end: int) -> tuple[memoryview, int] | None:
        if end - start < 5:
            return None
        length = _checked(int.from_bytes(view[start : start + 4], "big"))
        if end - start < 4 + length:
            return None
        return _payload(view[start + 4 : start + 4 + length]), 4 + length

    def seal(self, serial: int, payload: bytes) -> bytes:
        pad = _pad(5 + len(payload), 8)
        return struct.pack(">IB", 1 + len(payload) + pad, pad) + payload + bytes(pad)


#: Where a packet is opened. One does for all connections, since each packet is dealt with before the next one is opened.
_PLAIN = memoryview(bytearray(LONGEST_PACKET))


class Gcm:
    """One direction of AES-GCM: the length in clear, then ciphertext, then 16 bytes of tag. The nonce is the first four bytes of the IV
    and a counter that begins with the other eight (RFC 5647 section 7.1)."""

    def __init__(self, key: bytes, initial: bytes) -> None:
        self._aead = AESGCM(key)
        self._nonce = bytearray(initial[:12])
        self._count = int.from_bytes(initial[4:12], "big")
        # By the bytes of padding: those need not be new each time, since the tag covers them and each packet has its own nonce.
        self._padding = [secrets.token_bytes(count) for count in range(20)]

    def open(self, serial: int, view: memoryview, start: int, end: int) -> tuple[memoryview, int] | None:
        body = start + 4
        if end < body:
            return None
        header = view[start:body]
        length = _from_bytes(header, "big")
        if not 16 <= length <= LONGEST_PACKET or length & 15:
            raise BadPacket(f"bad packet length {length}")
        stop = body + length + 16
        if end < stop:
            return None
        plain, nonce, count = _PLAIN[:length], self._nonce, self._count
        _put_count(nonce, 4, count)
        self._count = (count + 1) & _MOST_COUNT
        try:
            self._aead.decrypt_into(nonce, view[body:stop], header, plain)
        except InvalidTag:
            raise BadPacket("the packet was changed on its way") from None
        pad = plain[0]
        if pad < 4 or pad + 2 > length:
            raise BadPacket("bad padding")
        return plain[1 : length - pad], 20 + length

    def seal(self, serial: int, payload: bytes) -> bytes:
        count = len(payload)
        pad = 15 - count % 16  # up to a multiple of 16, with the byte that tells it
        if pad < 4:
            pad += 16
        header = (1 + count + pad).to_bytes(4, "big")
        body = b"%c%b%b" % (pad, payload, self._padding[pad])
        nonce, counter = self._nonce, self._count
        _put_count(nonce, 4, counter)
        self._count = (counter + 1) & _MOST_COUNT
        return header + self._aead.encrypt(nonce, body, header)

    def seal_into(self, packets: Iterable[tuple[memoryview, memoryview, memoryview]]) -> None:
        """Seal packets that are laid out already, each with its padding: the packet, its header, and where it goes, which follows the header."""
        nonce, counter, encrypt_into = self._nonce, self._count, self._aead.encrypt_into
        for plain, header, target in packets:
            _put_count(nonce, 4, counter)
            counter = (counter + 1) & _MOST_COUNT
            encrypt_into(nonce, plain, header, target)
        self._count = counter


class Ctr:
    """One direction of AES-CTR with an HMAC, over the ciphertext (``-etm``: the length in clear) or over the plain packet."""

    def __init__(self, key: bytes, initial: bytes, mac: bytes, mac_key: bytes, sealing: bool) -> None:
        cipher = Cipher(algorithms.AES(key), modes.CTR(initial[:16]))
        self._crypt = cipher.encryptor() if sealing else cipher.decryptor()
        self._over_ciphertext = mac.endswith(b"-etm@openssh.com")
        make = _HASHES[mac]
        self._tag = make().digest_size
        self._mac = hmac.new(mac_key[: self._tag], digestmod=make)
        self._first: bytes | None = None  # what was decrypted already of a packet that has not all arrived

    def _authenticate(self, serial: int, data: bytes | memoryview) -> bytes:
        mac = self._mac.copy()
        mac.update(serial.to_bytes(4, "big"))
        mac.update(data)
        return mac.digest()

    def open(self, serial: int, view: memoryview, start: int, end: int) -> tuple[memoryview, int] | None:
        return (self._open_sealed if self._over_ciphertext else self._open_plain)(serial, view, start, end)

    def _open_sealed(self, serial: int, view: memoryview, start: int, end: int) -> tuple[memoryview, int] | None:
        if end - start < 4:
            return None
        length = _checked(int.from_bytes(view[start : start + 4], "big"))
        stop = start + 4 + length
        if length % 16:
            raise BadPacket(f"bad packet length {length}")
        if end < stop + self._tag:
            return None
        if not hmac.compare_digest(self._authenticate(serial, view[start:stop]), view[stop : stop + self._tag]):
            raise BadPacket("the packet was changed on its way")
        return _payload(memoryview(self._crypt.update(view[start + 4 : stop]))), 4 + length + self._tag

    def _open_plain(self, serial: int, view: memoryview, start: int, end: int) -> tuple[memoryview, int] | None:
        if self._first is None:
            if end - start < 16:
                return None
            self._first = self._crypt.update(view[start : start + 16])
        length = _checked(int.from_bytes(self._first[:4], "big"))
        if (4 + length) % 16:
            raise BadPacket(f"bad packet length {length}")
        stop = start + 4 + length
        if end < stop + self._tag:
            return None
        packet = self._first + self._crypt.update(view[start + 16 : stop])
        self._first = None
        if not hmac.compare_digest(self._authenticate(serial, packet), view[stop : stop + self._tag]):
            raise BadPacket("the packet was changed on its way")
        return _payload(memoryview(packet)[4:]), 4 + length + self._tag

    def seal(self, serial: int, payload: bytes) -> bytes:
        clear = 4 if self._over_ciphertext else 0
        pad = _pad(5 - clear + len(payload), 16)
        header = struct.pack(">IB", 1 + len(payload) + pad, pad)
        packet = header + payload + secrets.token_bytes(pad)
        sealed = packet[:clear] + self._crypt.update(packet[clear:])
        return sealed + self._authenticate(serial, sealed if clear else packet)


class Protection(SSHCiphers):
    """Both directions, in the place of Conch's own: it keeps names and calls :meth:`setKeys`.

    :ivar opener: for what comes in
    :ivar sealer: for what goes out
    """

    opener: Opener = Plain()
    sealer: Sealer = Plain()

    def setKeys(self, outIV: bytes, outKey: bytes, inIV: bytes, inKey: bytes, outInteg: bytes, inInteg: bytes) -> None:
        """See ``SSHCiphers``."""
        self.sealer = _make(self.outCipType, outKey, outIV, self.outMACType, outInteg, True)
        self.opener = _make(self.inCipType, inKey, inIV, self.inMACType, inInteg, False)


def _make(cipher: bytes, key: bytes, initial: bytes, mac: bytes, mac_key: bytes, sealing: bool) -> Gcm | Ctr:
    key = key[: _KEY_BYTES[cipher]]
    if cipher in GCM_CIPHERS:
        return Gcm(key, initial)
    return Ctr(key, initial, mac, mac_key, sealing)

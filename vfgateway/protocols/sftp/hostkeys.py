"""The server's own keys: Ed25519 and RSA of 3072 bits, made once; ECDSA only if somebody put one there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from twisted.conch.ssh.keys import BadKeyError, EncryptedKeyError, Key

from vfgateway.errors import ConfigurationError

RSA_BITS = 3072
_FILES = {
    "ssh_host_ed25519_key": Ed25519PrivateKey.generate,
    "ssh_host_rsa_key": lambda: generate_private_key(65537, RSA_BITS),
}
_OPTIONAL = "ssh_host_ecdsa_key"


def load(folder: Path) -> dict[bytes, Key]:
    """The private keys by their format, made if they are missing. Blocks; called once, at start. ``ConfigurationError``."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = [_load_or_make(folder / name, make) for name, make in _FILES.items()]
        if (folder / _OPTIONAL).exists():
            keys.append(_load(folder / _OPTIONAL))
    except OSError as error:
        raise ConfigurationError("frontends.sftp.host_keys", f"cannot use {error.filename}: {error.strerror}") from None
    return {key.sshType(): key for key in keys}


def load_coming(folder: Path) -> list[Key]:
    """Those that shall take over one day, ``ssh_host_..._key.next``. As :func:`load`."""
    try:
        return [_load(path) for name in (*_FILES, _OPTIONAL) if (path := folder / f"{name}.next").exists()]
    except OSError as error:
        raise ConfigurationError("frontends.sftp.host_keys", f"cannot use {error.filename}: {error.strerror}") from None


def _load_or_make(path: Path, make: Callable[[], object]) -> Key:
    if not path.exists():
        private = make()
        text = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())  # type: ignore[attr-defined]
        public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)  # type: ignore[attr-defined]
        _publish(path, text, 0o600)
        _publish(path.with_name(path.name + ".pub"), public + b"\n", 0o644)
    return _load(path)


def _publish(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all; of two processes that start at once, one wins."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(number, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _load(path: Path) -> Key:
    try:
        key: Key = Key.fromString(path.read_bytes())
        return key
    except (BadKeyError, EncryptedKeyError, ValueError):
        raise ConfigurationError(
            "frontends.sftp.host_keys", f"{path} is not a private key without a passphrase"
        ) from None

"""Secrets kept in files: made when missing, never left where others can read them."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from pathlib import Path

from vfgateway.errors import ConfigurationError

#: Random bytes in a secret of ours, before it is written as text.
RANDOM_BYTES = 32


def load_or_create(path: Path) -> str:
    """The secret in ``path``, made with random content and mode 0600 if the file is missing. Blocks.

    Processes that start at once all get the one that came first. Raises as :func:`load`.
    """
    if not os.path.lexists(path):
        try:
            _create(path)
        except FileExistsError:
            pass  # another process was faster
        except OSError as error:
            raise ConfigurationError("", f"cannot make the secret {path}: {error.strerror}") from None
    return load(path)


def load(path: Path) -> str:
    """The secret in ``path`` without the white space around it. Blocks.

    :raises ConfigurationError: missing, empty, not a file, not text, or readable by everybody
    """
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise ConfigurationError("", f"the secret {path} must be a regular file")
            if facts.st_mode & stat.S_IRWXO:
                raise ConfigurationError("", f"everybody can read the secret {path}: chmod o= {path}")
            secret = file.read().decode("utf-8").strip()
    except OSError as error:
        raise ConfigurationError("", f"cannot read the secret {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError("", f"the secret {path} must be text in UTF-8") from None
    if not secret:
        raise ConfigurationError("", f"the secret {path} is empty")
    return secret


def _create(path: Path) -> None:
    """Make the file whole or not at all; ``FileExistsError`` if it is there by now."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # O_EXCL, 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_urlsafe(RANDOM_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(aside, path)
    finally:
        Path(aside).unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

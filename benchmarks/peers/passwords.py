"""Who may log in to a peer: Apache's file of passwords, which others read, too."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path


def write_passwords(place: Path, login: tuple[str, str]) -> None:
    """One name with its password, kept as SHA-1: of all that such a file may hold it costs least to check."""
    name, password = login
    digest = base64.b64encode(hashlib.sha1(password.encode(), usedforsecurity=False).digest()).decode()
    place.write_text(f"{name}:{{SHA}}{digest}\n")

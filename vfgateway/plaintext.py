"""Names come as bytes from anywhere; where text is wanted, what is none is shown by escapes."""

from __future__ import annotations


def shown(text: str) -> str:
    """``text``, which may hold bytes that could not be decoded (PEP 383), as every place can hold it."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def storable(text: str) -> str:
    """As :func:`shown`, without the null that PostgreSQL refuses."""
    return shown(text).replace("\0", "\\x00")

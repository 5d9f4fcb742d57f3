"""``Content-Disposition`` for any file name (RFC 6266, RFC 8187)."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote

_UNSAFE = re.compile(r"[^A-Za-z0-9!#$&+.^_`|~' (),:;<=>?@\[\]{}-]")
#: Characters that RFC 8187 lets stand for themselves, beside letters, digits and what ``quote`` never touches.
_PLAIN = "!#$&+^`|"


@lru_cache(maxsize=1024)
def attachment(name: str) -> bytes:
    """The value that makes a client save under ``name``: an ASCII form for old clients, the exact name for all others.

    ``name`` may hold surrogate escapes; bytes that are not UTF-8 are shown as U+FFFD. Control characters, quotes, ``%`` and path
    separators are replaced in the ASCII form.
    """
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    fallback = _UNSAFE.sub("_", text) or "_"
    value = f'attachment; filename="{fallback}"'
    if fallback != text:
        value += f"; filename*=UTF-8''{quote(text, safe=_PLAIN)}"
    return value.encode("ascii")

"""What was found by looking whether something is right."""

from __future__ import annotations

import attrs


@attrs.frozen
class Finding:
    """One thing that was looked at; ``detail`` says what to do if it is not ``ok``.

    :ivar mistake: by which name the manual tells of what is wrong; empty for what it does not list
    """

    what: str
    ok: bool
    detail: str
    mistake: str = ""

"""How what failed is told."""

from __future__ import annotations

#: Bytes that are shown of either side, and those of them that come before the first one that differs.
SHOWN, BEFORE = 48, 16


def difference(left: bytes, right: bytes) -> list[str]:
    """The lengths of two contents that should be the same, and where they part: the first line sums it up."""
    same = next(
        (at for at, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]), min(len(left), len(right))
    )
    start = max(0, same - BEFORE)
    return [
        f"{len(left)} bytes == {len(right)} bytes",
        f"they are the same up to {same}; from {start} on:",
        f"left:  {left[start : start + SHOWN]!r}",
        f"right: {right[start : start + SHOWN]!r}",
    ]

"""The names under which one user sees vfolders: unique, and staying once they were shown (``design.md`` section 3).

Rules, for each user:

- a vfolder is shown by its own name; where that is taken, with its owner in brackets;
- a name once shown belongs to that vfolder until it is deleted, also while the user may not see it, since mounts and scripts hold it and
  must never reach somebody else's files by it;
- a vfolder that was renamed is shown by its new name; the old one still leads to it, until another vfolder *of the same
  owner* is called so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

import attrs

from vfgateway.model import VFolder
from vfgateway.paths import LONGEST_NAME

#: Bytes of an owner's name that fit into the brackets.
_LONGEST_OWNER = 100


@attrs.frozen
class ShownName:
    """A name that one user was shown.

    :ivar base: what the vfolder was called then
    :ivar current: whether the vfolder is still called so (else the name is only an old one that leads to it)
    :ivar owner: the vfolder's owner now
    """

    name: str
    vfolder_key: int
    base: str
    current: bool
    owner: UUID | None


@attrs.frozen
class Candidate:
    """A vfolder to be shown; ``owner_name`` is for the brackets, ``None`` if nobody of that UUID has an account."""

    vfolder: VFolder
    owner_name: str | None = None


def current_names(shown: Iterable[ShownName]) -> dict[int, str]:
    """The name of each vfolder, by key, as far as it has one that is still right."""
    names: dict[int, str] = {}
    for entry in sorted(shown, key=lambda entry: entry.name):
        if entry.current:
            names.setdefault(entry.vfolder_key, entry.name)
    return names


def assign(candidates: Sequence[Candidate], shown: Iterable[ShownName]) -> list[ShownName]:
    """The names for all candidates that have none yet, earlier candidates first. A name in the outcome may have been an
    old one of another vfolder, which thereby loses it."""
    taken = {entry.name: entry for entry in shown}
    named = current_names(taken.values())
    fresh: list[ShownName] = []
    for candidate in candidates:
        vfolder = candidate.vfolder
        if vfolder.key in named:
            continue
        name = next(name for name in _proposals(candidate) if _free(taken.get(name), vfolder))
        entry = ShownName(name, vfolder.key, vfolder.display_name, True, vfolder.owner)
        taken[name] = entry
        fresh.append(entry)
    return fresh


def _free(entry: ShownName | None, vfolder: VFolder) -> bool:
    if entry is None or entry.vfolder_key == vfolder.key:
        return True
    return not entry.current and entry.owner is not None and entry.owner == vfolder.owner


def _proposals(candidate: Candidate) -> Iterator[str]:
    """Names for a vfolder, the nicest first, without end."""
    base, digits = candidate.vfolder.display_name, candidate.vfolder.id.folder.hex
    yield base
    if candidate.owner_name is not None:
        yield _bracketed(base, _cut(candidate.owner_name, _LONGEST_OWNER))
    yield _bracketed(base, digits[:8])
    count = 1
    while True:
        yield _bracketed(base, digits if count == 1 else f"{digits} {count}")
        count += 1


def _bracketed(base: str, what: str) -> str:
    suffix = f" [{what}]"
    return _cut(base, LONGEST_NAME - len(suffix.encode())) + suffix


def _cut(text: str, size: int) -> str:
    """As much of the text as fits into ``size`` bytes of UTF-8."""
    return text.encode()[:size].decode("utf-8", "ignore")

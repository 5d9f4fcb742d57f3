"""The ``If`` header (RFC 4918 section 10.4): read by a grammar, judged by facts that the caller looks up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

#: Conditions that one header may hold; it comes in a head of bounded size anyway.
MOST: Final = 500

_TOKEN = re.compile(
    r"""\s*(?:(?P<open>\()|(?P<close>\))|(?P<not>not)\b|<(?P<url>[^<>]*)>|\[\s*(?P<tag>(?:W/)?"[^"]*")\s*\])""",
    re.IGNORECASE | re.VERBOSE,
)


class BadIf(ValueError):
    """The header does not follow the grammar."""


@attrs.frozen
class Condition:
    """One condition: a state token, or an entity tag (``tag``), which shall hold, or not (``negated``)."""

    value: str
    tag: bool = False
    negated: bool = False


@attrs.frozen
class Group:
    """Conditions that must hold all together. ``resource`` is the URL that they speak of; ``None``: that of the request."""

    resource: str | None
    conditions: tuple[Condition, ...]


@attrs.frozen
class Facts:
    """What is known of one resource: the tokens of the locks over it, and its entity tag with quotes (``None``: it has none)."""

    tokens: frozenset[str]
    etag: str | None

    def meet(self, condition: Condition) -> bool:
        """Whether a condition holds."""
        if condition.tag:
            holds = self.etag is not None and condition.value == self.etag  # strong comparison
        else:
            holds = condition.value in self.tokens
        return holds != condition.negated


def parse(text: str) -> Sequence[Group]:
    """The groups of a header; it is true if one of them is. Raises :class:`BadIf`."""
    words = list(_words(text))
    if not words:
        raise BadIf("it is empty")
    tagged = words[0][0] == "url"
    groups: list[Group] = []
    resource: str | None = None
    at = 0
    fresh = False  # a resource that no group has followed yet
    while at < len(words):
        kind, value = words[at]
        if kind == "url" and tagged and not fresh:
            resource, fresh = value, True
            at += 1
        elif kind == "open":
            conditions, at = _group(words, at + 1)
            groups.append(Group(resource, conditions))
            fresh = False
        else:
            raise BadIf(f"{value or kind} is out of place")
    if fresh:
        raise BadIf("a resource without conditions")
    return groups


def _group(words: Sequence[tuple[str, str]], at: int) -> tuple[tuple[Condition, ...], int]:
    conditions: list[Condition] = []
    negated = False
    while at < len(words):
        kind, value = words[at]
        at += 1
        if kind == "close":
            if negated or not conditions:
                raise BadIf("a group ends too early")
            return tuple(conditions), at
        if kind == "not" and not negated:
            negated = True
        elif kind in ("url", "tag"):
            conditions.append(Condition(value, kind == "tag", negated))
            negated = False
        else:
            raise BadIf(f"{value or kind} is out of place")
    raise BadIf("a group does not end")


def _words(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    text = text.rstrip()
    count = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise BadIf(f"cannot be read from {text[at : at + 20]!r} on")
        count += 1
        if count > MOST:
            raise BadIf("it is too long")
        yield match.lastgroup, match[match.lastgroup]
        at = match.end()


def submitted(groups: Sequence[Group]) -> frozenset[str]:
    """The state tokens that the client shows it has, wherever in the header they stand (section 10.4.1)."""
    return frozenset(condition.value for group in groups for condition in group.conditions if not condition.tag)

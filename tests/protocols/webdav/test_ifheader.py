"""The grammar and meaning of ``If``."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfgateway.protocols.webdav.ifheader import BadIf, Condition, Facts, Group, parse, submitted

tokens = st.from_regex(r"[a-z]{1,8}:[A-Za-z0-9/_.~-]{0,20}", fullmatch=True)
tags = st.from_regex(r'(W/)?"[A-Za-z0-9 <>()-]{0,10}"', fullmatch=True)
conditions = st.one_of(
    st.builds(Condition, tokens, st.just(False), st.booleans()),
    st.builds(Condition, tags, st.just(True), st.booleans()),
)
lists = st.lists(conditions, min_size=1, max_size=4).map(tuple)
untagged = st.lists(st.builds(Group, st.none(), lists), min_size=1, max_size=4)


def written(groups: list[Group]) -> str:
    """A header that says so."""
    parts = []
    for group in groups:
        if group.resource is not None:
            parts.append(f"<{group.resource}>")
        inner = " ".join(
            ("Not " if condition.negated else "")
            + (f"[{condition.value}]" if condition.tag else f"<{condition.value}>")
            for condition in group.conditions
        )
        parts.append(f"({inner})")
    return " ".join(parts)


@given(untagged)
def test_untagged_lists_come_back(groups: list[Group]) -> None:
    """What is written is what is read."""
    assert list(parse(written(groups))) == groups


@given(st.lists(st.builds(Group, tokens, lists), min_size=1, max_size=4))
def test_tagged_lists_come_back(groups: list[Group]) -> None:
    """Each list speaks of the resource before it."""
    assert list(parse(written(groups))) == groups


@given(st.text(max_size=60))
def test_anything_is_read_or_refused(text: str) -> None:
    """No text does anything else."""
    with contextlib.suppress(BadIf):
        assert parse(text)


@given(untagged)
def test_submitted(groups: list[Group]) -> None:
    """Every state token that stands anywhere counts as submitted, and no entity tag."""
    every = [condition for group in groups for condition in group.conditions]
    assert submitted(groups) == {condition.value for condition in every if not condition.tag}


@given(conditions, st.frozensets(tokens), st.none() | tags)
def test_not_turns_round(condition: Condition, held: frozenset[str], etag: str | None) -> None:
    """A condition and its negation never agree."""
    facts = Facts(held, etag)
    turned = Condition(condition.value, condition.tag, not condition.negated)
    assert facts.meet(condition) != facts.meet(turned)


@pytest.mark.parametrize(
    "text", ["", "()", "(<a>", "<a>", "(Not)", "(Not Not <a>)", "<a> <b> (<c>)", "(<a>) <b> (<c>)", "([a])", "(<a>) x"]
)
def test_nonsense(text: str) -> None:
    """What the grammar does not have is refused."""
    with pytest.raises(BadIf):
        parse(text)


def test_one_resource_for_several_lists() -> None:
    """Lists that follow a resource all speak of it."""
    groups = parse('</a> (<t:1> ["x"]) (Not <t:2>) <http://h/b> (<DAV:no-lock>)')
    assert [(group.resource, len(group.conditions)) for group in groups] == [("/a", 2), ("/a", 1), ("http://h/b", 1)]

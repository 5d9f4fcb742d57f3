"""File names in ``Content-Disposition``: exact for those who can read it, harmless for everybody."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

from vfgateway.protocols.web.disposition import attachment

NAMES = st.binary(min_size=1, max_size=255).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@given(NAMES)
def test_any_name(name: str) -> None:
    """One header line of printable ASCII, from which a parser gets the name back; what is not UTF-8 becomes U+FFFD."""
    value = attachment(name).decode("ascii")
    assert value.isprintable()
    kind, parameters = parse_options_header(value)
    assert kind == "attachment"
    assert parameters["filename"] == name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("name", "fallback"),
    [
        ("report.pdf", "report.pdf"),
        ("été.txt", "_t_.txt"),
        ('say "hi".txt', "say _hi_.txt"),
        ("a\r\nSet-Cookie: x", "a__Set-Cookie: x"),
        ("back\\slash%41", "back_slash_41"),
        ("문서", "__"),
        ("semi;colon", "semi;colon"),
    ],
)
def test_old_clients(name: str, fallback: str) -> None:
    """Clients that know only ``filename`` get something they can save under."""
    value = attachment(name).decode("ascii")
    assert value.startswith(f'attachment; filename="{fallback}"')
    if fallback != name:
        assert unquote(value.partition("filename*=UTF-8''")[2]) == name

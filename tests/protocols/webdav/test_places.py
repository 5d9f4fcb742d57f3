"""URLs and what they name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vfgateway.paths import FolderPath
from vfgateway.protocols.webdav.places import BadUrl, href_of, place_of, segment_of

#: Names as bytes on disk, any of them.
raw_names = st.binary(min_size=1, max_size=40).filter(lambda raw: raw not in (b".", b"..") and not {0, 47} & set(raw))
names = raw_names.map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@given(st.lists(names, min_size=1, max_size=5), st.booleans())
def test_hrefs_lead_back(parts: list[str], collection: bool) -> None:
    """Whatever a name holds, its href names it, needs no escaping in XML, and tells a collection by its slash."""
    whole = FolderPath(tuple(parts))
    href = href_of(whole, collection)
    place = place_of(href)
    assert (place.whole, place.slash) == (whole, collection)
    assert href.isascii() and not set(b"&<>\"' ") & set(href)


@given(names)
def test_one_segment(name: str) -> None:
    """The quick way to escape a name is the same as the long one."""
    assert segment_of(name) == href_of(FolderPath((name,)), False)[1:] or place_of(b"/" + segment_of(name)).name == name


@given(st.binary(max_size=60))
def test_anything_is_a_place_or_refused(raw: bytes) -> None:
    """No URL leads above the top."""
    try:
        place = place_of(b"/" + raw)
    except BadUrl:
        return
    assert not {"..", ".", ""} & set(place.whole.parts)
    assert not any("/" in part or "\0" in part for part in place.whole.parts)

"""What becomes of names and paths from clients, the plain and the odd alike."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vfgateway.errors import InvalidPath, NameTooLong
from vfgateway.paths import LONGEST_NAME, LONGEST_PATH, ROOT, FolderPath, parse_bytes, parse_text, parse_url, url_of

#: Names as a disk may hold them.
names = (
    st.binary(min_size=1, max_size=LONGEST_NAME)
    .filter(lambda raw: raw not in (b".", b"..") and b"/" not in raw and b"\0" not in raw)
    .map(lambda raw: raw.decode("utf-8", "surrogateescape"))
)
folder_paths = st.lists(names, max_size=8).map(lambda parts: FolderPath(tuple(parts)))


def escaped(text: str) -> bytes:
    """Every byte but the separators percent-encoded, so that nothing is plain."""
    return b"/".join(b"".join(b"%%%02x" % byte for byte in part) for part in text.encode().split(b"/"))


@given(folder_paths)
def test_there_and_back(path: FolderPath) -> None:
    """A path survives the trip through text, bytes and URLs."""
    assert parse_text(str(path)) == path
    assert parse_bytes(b"/" + bytes(path)) == path
    assert parse_url(url_of(path).encode("ascii")) == path


@given(st.text("ab.%/~\\ \n", max_size=12))
@example("a/./b")
@example("../a")
@example("a/...")
@example("..a/.b")
def test_plain_is_no_other_way(text: str) -> None:
    """What needs no look means what it means with every byte escaped."""

    def outcome(raw: bytes) -> object:
        try:
            return parse_url(raw)
        except InvalidPath:
            return InvalidPath

    assert outcome(text.replace("%", "%25").encode()) == outcome(escaped(text))


@pytest.mark.parametrize("raw", [b"..", b"a/../b", b"%2e%2e/a", b"a%2Fb", b"a%00", b"a/%2e."])
def test_no_way_out(raw: bytes) -> None:
    with pytest.raises(InvalidPath):
        parse_url(raw)


@pytest.mark.parametrize("text", ["/a", "a/../b", "..", "a\0", "a/b\0c"])
def test_refused(text: str) -> None:
    with pytest.raises(InvalidPath):
        parse_text(text)


@pytest.mark.parametrize("longest", ["a" * 255, "ä" * 127, "a b" * 85])
def test_lengths(longest: str) -> None:
    """The longest name and the longest path are taken, in bytes; more is refused."""
    assert parse_text(longest).parts == (longest,)
    with pytest.raises(NameTooLong):
        parse_text(longest + longest[:2])
    deep = "/".join(["a"] * (LONGEST_PATH // 2))
    assert len(parse_text(deep).parts) == LONGEST_PATH // 2
    with pytest.raises(NameTooLong):
        parse_text(deep + "/a")


def test_the_root() -> None:
    for text in ("", ".", "./", ".//."):
        assert parse_text(text) == ROOT
    assert parse_url(b"/") == ROOT

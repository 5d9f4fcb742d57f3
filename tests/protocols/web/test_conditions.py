"""``If-*`` (RFC 9110 section 13): which requests go on, and which state a change then expects."""

from __future__ import annotations

import pytest
from twisted.web.http_headers import Headers

from vfgateway.errors import PreconditionFailed
from vfgateway.model import ABSENT, ANY, Expect, FileStat, FileType
from vfgateway.paths import FolderPath
from vfgateway.protocols.web.conditions import (
    Conditions,
    NotModified,
    expectation,
    http_date,
    parse_date,
    range_applies,
)

PATH = FolderPath(("file",))
MODIFIED = 1_700_000_000
STAT = FileStat(FileType.FILE, 5, 0o644, 0, 0, MODIFIED * 10**9 + 5 * 10**8, 0, "abc-5")
DATE = http_date(MODIFIED).decode()
BEFORE, AFTER = http_date(MODIFIED - 1).decode(), http_date(MODIFIED + 1).decode()


def fields(**values: str) -> Headers:
    """Headers; underscores are hyphens."""
    return Headers({name.replace("_", "-"): [value] for name, value in values.items()})


@pytest.mark.parametrize(
    "headers",
    [
        fields(),
        fields(If_Match="*"),
        fields(If_Match='"abc-5"'),
        fields(If_Match='"x", "abc-5"'),
        fields(If_None_Match='"x"'),
        fields(If_None_Match=""),
        fields(If_None_Match="garbage"),
        fields(If_Modified_Since=BEFORE),
        fields(If_Modified_Since="yesterday"),
        fields(If_Unmodified_Since=DATE),
        fields(If_Unmodified_Since=AFTER),
        fields(If_Match='"abc-5"', If_Unmodified_Since=BEFORE),
        fields(If_None_Match='"x"', If_Modified_Since=AFTER),
    ],
)
def test_reads_that_go_on(headers: Headers) -> None:
    """The condition holds, cannot be read, or is overruled by a better one (section 13.2.2)."""
    Conditions.of(headers).check(PATH, STAT)


@pytest.mark.parametrize(
    "headers",
    [
        fields(If_None_Match="*"),
        fields(If_None_Match='"abc-5"'),
        fields(If_None_Match='W/"abc-5"'),
        fields(If_None_Match='"x","abc-5"'),
        fields(If_Modified_Since=DATE),
        fields(If_Modified_Since=AFTER),
    ],
)
def test_reads_of_what_the_client_has(headers: Headers) -> None:
    """304."""
    with pytest.raises(NotModified):
        Conditions.of(headers).check(PATH, STAT)


@pytest.mark.parametrize(
    "headers",
    [
        fields(If_Match='"x"'),
        fields(If_Match='W/"abc-5"'),
        fields(If_Match=""),
        fields(If_Unmodified_Since=BEFORE),
        fields(If_Match='"x"', If_None_Match='"abc-5"'),
    ],
)
def test_reads_of_something_else(headers: Headers) -> None:
    """412; weak tags never match strongly."""
    with pytest.raises(PreconditionFailed):
        Conditions.of(headers).check(PATH, STAT)


@pytest.mark.parametrize(
    ("value", "applies"),
    [
        ('"abc-5"', True),
        ('"abc-6"', False),
        ('W/"abc-5"', False),
        (DATE, True),
        (BEFORE, False),
        (AFTER, False),
        ("garbage", False),
    ],
)
def test_if_range(value: str, applies: bool) -> None:
    """A range is sent only of the very version that the client has a part of."""
    assert range_applies(fields(If_Range=value), STAT, MODIFIED + 10) is applies


def test_if_range_of_a_fresh_file() -> None:
    """A date that may belong to two versions of the same second is not believed."""
    assert not range_applies(fields(If_Range=DATE), STAT, MODIFIED + 0.9)


@pytest.mark.parametrize(
    ("headers", "present", "expect"),
    [
        (fields(), STAT, ANY),
        (fields(), None, ANY),
        (fields(If_None_Match="*"), None, ABSENT),
        (fields(If_Match="*"), STAT, Expect.same("abc-5")),
        (fields(If_Match='"abc-5"'), STAT, Expect.same("abc-5")),
        (fields(If_None_Match='"old"'), STAT, Expect.same("abc-5")),
        (fields(If_Unmodified_Since=DATE), STAT, Expect.same("abc-5")),
        (fields(If_Unmodified_Since=DATE), None, ANY),
    ],
)
def test_changes_that_go_on(headers: Headers, present: FileStat | None, expect: Expect) -> None:
    """What was checked must still hold when the change happens."""
    assert expectation(headers, PATH, present) == expect


@pytest.mark.parametrize(
    ("headers", "present"),
    [
        (fields(If_None_Match="*"), STAT),
        (fields(If_None_Match='"abc-5"'), STAT),
        (fields(If_Match="*"), None),
        (fields(If_Match='"abc-5"'), None),
        (fields(If_Match='"x"'), STAT),
        (fields(If_Unmodified_Since=BEFORE), STAT),
    ],
)
def test_changes_that_fail(headers: Headers, present: FileStat | None) -> None:
    """412, before anything is read."""
    with pytest.raises(PreconditionFailed):
        expectation(headers, PATH, present)


@pytest.mark.parametrize("seconds", [-(2**40), -1, 0, MODIFIED, 2**50])
def test_dates_of_any_file(seconds: int) -> None:
    """A file may claim to be from any time; a date is made of it all the same, and can be read again."""
    date = http_date(seconds)
    assert parse_date(date) == min(max(seconds, 0), 253402300799)

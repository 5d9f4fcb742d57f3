"""What people type is read as they mean it, and a mistake is told with what may stand there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest
from click.testing import CliRunner

from vfgateway.cli.parameters import COUNT, NULL, SIZE, WHEN, given, owner_and_name


def read(kind: Any, text: str) -> Any:
    """The value of a parameter; ``BadParameter`` where it is none."""
    return kind.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("10", 10),
        ("10GiB", 10 << 30),
        ("10gib", 10 << 30),
        ("10GB", 10 * 10**9),
        ("10G", 10 << 30),
        ("1.5 MiB", 3 << 19),
        ("0.1KB", 100),
        ("7B", 7),
        ("none", NULL),
    ],
)
def test_sizes_are_read(text: str, expected: object) -> None:
    """Binary and decimal units, exactly; a bare letter is binary as in coreutils."""
    assert read(SIZE, text) == expected


@pytest.mark.parametrize("text", ["", "-1", "10XB", "GiB", "1e9", "10 GiB 3", "0x10", "٣"])
def test_what_is_no_size_is_refused_with_examples(text: str) -> None:
    """The message shows how a size is written."""
    with pytest.raises(click.BadParameter, match="10GiB"):
        assert read(SIZE, text) is None


@pytest.mark.parametrize("text", ["-1", "1.5", "many", ""])
def test_what_is_no_count_is_refused(text: str) -> None:
    """Numbers of files are whole."""
    with pytest.raises(click.BadParameter):
        read(COUNT, text)


def test_a_span_counts_from_now() -> None:
    """``7d`` is in a week."""
    wanted = (datetime.now(UTC) + timedelta(days=7)).timestamp()
    assert read(WHEN, "7d") == pytest.approx(wanted, abs=60)


def test_a_time_with_a_zone_is_that_moment() -> None:
    """ISO 8601 as it stands."""
    assert read(WHEN, "2099-01-01T01:00+01:00") == datetime(2099, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "message"), [("2001-01-01", "passed"), ("soon", "7d"), ("7y", "7d"), ("999999w", "7d"), ("", "7d")]
)
def test_what_cannot_be_an_expiry_is_refused(text: str, message: str) -> None:
    """What has passed, and what is no time."""
    with pytest.raises(click.BadParameter, match=message):
        read(WHEN, text)


def test_a_body_holds_what_was_given() -> None:
    """``none`` is null; what was not said is not there."""
    assert given(a=1, b=None, c=NULL, d=False, e=0) == {"a": 1, "c": None, "d": False, "e": 0}


@pytest.mark.parametrize("text", ["data", "/data", "alice/", "a/b/c", ""])
def test_a_new_vfolder_needs_owner_and_name(text: str) -> None:
    """Anything else is a mistake of whoever typed it."""
    with pytest.raises(click.UsageError, match="alice/data"):
        owner_and_name(text)


def test_a_mistake_ends_with_two() -> None:
    """As in any command."""

    @click.command()
    @click.option("--size", type=SIZE)
    def command(size: object) -> None: ...

    assert CliRunner().invoke(command, ["--size", "x"]).exit_code == 2

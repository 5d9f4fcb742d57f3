"""What is printed says what is so, to people and to programs, and does nothing to their terminals."""

from __future__ import annotations

import json

import pytest

from vfgateway.cli.output import Column, exact_size, printable, size, with_times, write_json, write_list


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1KiB"),
        (1536, "1.5KiB"),
        (10 << 30, "10GiB"),
        ((1 << 40) - 1, "1024GiB"),
        (999 << 20, "999MiB"),
        (-1, "-"),
        (1 << 62, "4EiB"),
    ],
)
def test_sizes_are_short(count: int, expected: str) -> None:
    """Three digits are enough for a table."""
    assert size(count) == expected


def test_one_thing_tells_its_size_exactly() -> None:
    """Where there is room for it."""
    assert exact_size(1536) == "1.5KiB (1536 bytes)"
    assert exact_size(7) == "7B"


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\x9b1m", "\x7f", "\u202egpj.exe", "a\tb", "\udcff"])
def test_names_do_nothing_to_the_terminal(text: str) -> None:
    """A file can be called anything; what is shown of it is one line of visible characters."""
    assert printable(text).isprintable()


def test_plain_names_stay_as_they_are() -> None:
    """Letters of every script, and spaces."""
    assert printable("Größe 日本 🙂") == "Größe 日本 🙂"


def test_json_comes_back_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever was escaped for the terminal."""
    value = {"path": "Grüße\x1b\x7f\u202e\n🙂"}
    write_json(value)
    printed = capsys.readouterr().out
    assert json.loads(printed) == value
    assert "Grüße" in printed
    assert "\x1b" not in printed


def test_times_are_iso_8601_in_json() -> None:
    """At any depth, and only times."""
    value = [{"created": 0.25, "expires": None, "size": 5, "inner": {"finished": 1}}]
    assert with_times(value) == [
        {
            "created": "1970-01-01T00:00:00.250Z",
            "expires": None,
            "size": 5,
            "inner": {"finished": "1970-01-01T00:00:01.000Z"},
        }
    ]


def test_lists_in_a_pipe_are_columns_for_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """A tab between them, a line for each row, whatever the names hold; and a header even without rows."""
    columns = [Column("Name", "name"), Column("Size", "size", size)]
    write_list([{"name": "a b\tc\n", "size": 2048}, {"name": "", "size": None}], columns, False, "nothing")
    assert capsys.readouterr().out.splitlines() == ["NAME\tSIZE", "a b\\tc\\n\t2KiB", "-\t-"]
    write_list([], columns, False, "nothing")
    assert capsys.readouterr().out == "NAME\tSIZE\n"

"""Whatever somebody writes into a configuration: it is taken, or refused in one sentence that names the file, the line and the key."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock

from vfgateway import config, tap
from vfgateway.errors import ConfigurationError

SAMPLE = (Path(__file__).parents[1] / "etc/vfgateway.toml").read_text()
#: Keys that the sample shows commented out are as likely to be written wrongly.
LINES = re.sub(r"^# (?=\[|[a-z_]+ = )", "", SAMPLE, flags=re.MULTILINE).splitlines()
STATEMENTS = [number for number, line in enumerate(LINES) if re.match(r"\[|[a-z_]+ = ", line)]
#: What people and programs leave behind; each has been the end of some parser.
VALUES = st.sampled_from(
    [
        *(
            "",
            "0",
            "-1",
            "1e999",
            "nan",
            "-inf",
            "true",
            "0o777",
            "0x7fffffffffffffffffffffff",
            "1979-05-27",
            "07:32:00",
        ),
        *("[]", "{}", "[[]]", "[1]", '[""]', '["\\u0000"]', "{ a = 1 }", "[{}]", '"""', "'''", '"', "[", "#"),
        *(
            f'"{text}"'
            for text in ("", "\\u0000", "/\\u0000", "~nobody-here/x", "::", "\\\\", ":", "a:b", "1000:", "principal:x")
        ),
        *(
            f'"{text}"'
            for text in ("1h", "-1h", "1e9h", f"{'9' * 30}d", "10GiB", "-1B", "1 EiB", "0o9", "9999", "1" * 400)
        ),
        *(f'"{text}"' for text in ("tcp:", "tcp:99999999", "tcp:-1", "tcp:x:interface=", "ssl:1", "unix:", "systemd:")),
        *(
            f'"{text}"'
            for text in ("haproxy:", "tcp:1:interface=\\u0000", "postgresql://", "sqlite", "mysql://x", "http://[")
        ),
        *(f'"{text}"' for text in ("redis://", "ldap://", "ldap://[", "https://a:b@c:d", "http://x:99999999/")),
    ]
) | st.text(max_size=12).map(lambda text: '"' + text.replace("\\", "").replace('"', "") + '"')
NAMES = st.sampled_from(
    ["gateway", "gatway", "volumes", "volumes.a.b", 'volumes."a b"', 'frontends.""', "log", "x", "alerts.mail", "-", ""]
)
Mutation = Callable[[list[str]], None]


@st.composite
def mutations(draw: st.DrawFn) -> Mutation:
    """One mistake."""
    at = draw(st.sampled_from(STATEMENTS))
    kind = draw(st.sampled_from(["value", "value", "value", "value", "key", "remove", "twice", "table", "cut", "move"]))
    value, name, other = draw(VALUES), draw(NAMES), draw(st.sampled_from(STATEMENTS))
    where = draw(st.integers(0, 200))

    def mutate(lines: list[str]) -> None:
        line = lines[at]
        match kind:
            case "value" if " = " in line:
                lines[at] = f"{line.partition(' = ')[0]} = {value}"
            case "key" if " = " in line:
                lines[at] = f"{name} = {line.partition(' = ')[2]}"
            case "remove":
                lines[at] = ""
            case "twice":
                lines[at] = f"{line}\n{line}"
            case "table":
                lines[at] = f"[{name}]"
            case "move":
                lines[at], lines[other] = lines[other], lines[at]
            case _:
                lines[at] = line[: where % (len(line) + 1)]

    return mutate


def told(file: Path) -> ConfigurationError | None:
    """What a start says against it; nothing but that may be raised."""
    try:
        tap._assemble(config.load(file, {}), MemoryReactorClock())
    except ConfigurationError as error:
        return error
    return None


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is written."""
    return tmp_path_factory.mktemp("site") / "vfgateway.toml"


def judge(file: Path, content: bytes) -> None:
    """It is taken, or the sentence leads to the mistake."""
    file.write_bytes(content)
    error = told(file)
    if error is None:
        return
    sentence = str(error)
    place = re.match(rf"{re.escape(str(file))}:(\d+): ", sentence)
    lines = content.count(b"\n") + 1
    if error.key and error.key.split(".")[0] not in content.decode("utf-8", "replace"):
        assert place is None  # a table that is missing has no line
        return
    assert place and 1 <= int(place[1]) <= lines, sentence
    assert error.key or "it is not TOML" in sentence or "it is not UTF-8" in sentence, sentence
    assert "Traceback" not in sentence
    assert len(error.message) < 1500, sentence


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(mutations(), min_size=1, max_size=3))
def test_a_changed_sample_is_taken_or_refused_in_a_sentence(file: Path, changes: list[Mutation]) -> None:
    """Mistakes of those who edit."""
    lines = list(LINES)
    for change in changes:
        change(lines)
    judge(file, "\n".join(lines).encode("utf-8"))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(SAMPLE)), st.binary(max_size=8), st.integers(0, 40))
def test_a_damaged_sample_is_taken_or_refused_in_a_sentence(file: Path, at: int, put: bytes, gone: int) -> None:
    """Mistakes of disks and editors."""
    sample = SAMPLE.encode("utf-8")
    judge(file, sample[:at] + put + sample[at + gone :])

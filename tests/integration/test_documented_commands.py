"""Every command in the documents is run as it stands there, in one folder, against one gateway, page after page.

A block of ``sh``, ``bat`` or ``python`` that cannot be run here has ``<!-- not run: WHY -->`` on the line before it. Blocks of ``python`` in
the pages for authors of plugins are parts of ``docs/examples`` instead, which are tested. No block may be without a language, so that
none is passed over. What only a person can give (a password at a prompt) and the ports are put in.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.integration.test_first_minutes import BIN, Newcomer
from tests.support.process import PATIENCE

ROOT = Path(__file__).parents[2]
EXAMPLES = [path.read_text() for path in sorted((ROOT / "docs/examples").rglob("*.py"))]
#: The README first: what it makes is there for all others. Pages that ``make docs`` makes are not written by anybody.
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in ("start.md", "settings.md")),
]
RUN, SHOWN = {"sh", "python"}, {"text", "toml", "json", "{toctree}", "http", "javascript", "ini", "nginx", "yaml"}
PASSWORD = "right-horse"
_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<why>.+?) -->\n)?```(?P<language>\S*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@attrs.frozen
class Block:
    """What stands between two fences."""

    page: Path
    language: str
    text: str
    why: str

    @property
    def commands(self) -> Iterator[str]:
        """A line each, without what is said about it."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if command := line.partition("  #")[0].strip():
                yield command


def blocks(page: Path) -> list[Block]:
    """All of a page, in order."""
    return [
        Block(page, match["language"], match["text"], match["why"] or "") for match in _FENCE.finditer(page.read_text())
    ]


ALL = {page.name: blocks(page) for page in PAGES}


def test_no_block_is_passed_over() -> None:
    """Each says what it is; and is run, or says why not, or holds no command."""
    odd = [
        (name, block.language, block.text.splitlines()[:1])
        for name, found in ALL.items()
        for block in found
        if block.language not in RUN | SHOWN and not block.why
    ]
    assert odd == []
    command = re.compile(r"^(?:\$ |sudo |vfgateway |curl |rclone |systemctl |make |mount )", re.MULTILINE)
    assert [
        name
        for name, found in ALL.items()
        for block in found
        if block.language == "text" and command.search(block.text)
    ] == []
    fences = {page.name: len(re.findall(r"^ *```", page.read_text(), re.MULTILINE)) for page in PAGES}
    assert fences == {name: 2 * len(found) for name, found in ALL.items()}
    indented = r"^\s*\n {4,}(?:\$ |sudo |vfgateway |curl |rclone |sftp |systemctl |mount |pip |make )"
    assert [page.name for page in PAGES if re.search(indented, page.read_text(), re.MULTILINE)] == []


def test_most_blocks_are_run() -> None:
    """Those that are not are counted, lest there be more and more of them."""
    commands = [block for found in ALL.values() for block in found if block.language not in SHOWN]
    left_out = [f"{block.page.name}: {block.why}" for block in commands if block.why]
    assert len(left_out) <= 18, left_out
    assert len(commands) - len(left_out) >= 12


@pytest.mark.parametrize("name", ["index.md", "plugin-authors.md"])
def test_what_authors_of_plugins_read_is_in_the_example(name: str) -> None:
    """Word for word, and the example is tested."""
    shown = [block.text for block in ALL[name] if block.language == "python" and not block.why]
    assert shown
    assert [text for text in shown if not any(text in example for example in EXAMPLES)] == []


def test_the_example_keeps_every_promise() -> None:
    """The command of the page for authors, in a process of its own as theirs is."""
    example = ROOT / "docs/examples/acme-storage"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.conftest", "test_acme.py"],
        cwd=example,
        env=os.environ | {"PYTHONPATH": f"{example}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 80


class Reader(Newcomer):
    """Somebody who does what the pages say."""

    def prepare(self) -> None:
        """What they have of their own: a file, a key, and programs that know where it lies."""
        (self.folder / "big.iso").write_bytes(os.urandom((3 << 20) + 1))
        keys = self.folder / ".ssh"
        keys.mkdir(mode=0o700)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / "id_ed25519")]
        subprocess.run(command, check=True, timeout=PATIENCE)
        (keys / "config").write_text(
            f"IdentityFile {keys}/id_ed25519\nStrictHostKeyChecking accept-new\nUserKnownHostsFile {keys}/known_hosts\n"
        )
        programs = self.folder / "bin"
        programs.mkdir()
        for name in ("ssh", "sftp", "scp"):  # OpenSSH looks for its configuration where the account lives, not at $HOME
            (programs / name).write_text(f'#!/bin/sh\nexec /usr/bin/{name} -F {keys}/config "$@"\n')
            (programs / name).chmod(0o755)
        (self.folder / ".netrc").write_text(f"machine 127.0.0.1 login alice password {PASSWORD}\n")
        (self.folder / ".netrc").chmod(0o600)

    def here(self, text: str) -> str:
        """With this gateway's ports, and the password."""
        config = (self.folder / "vfgateway.toml").read_text()
        for number, name in zip(("6021", "6022", "6023", "6024"), ("client", "manager", "webdav", "sftp"), strict=True):
            port = re.search(rf"^\[frontends\.{name}\].*\nendpoint = \"tcp:(\d+)", config, re.MULTILINE)
            assert port is not None
            text = text.replace(number, port[1])
        return text.replace("PASSWORD", PASSWORD)

    def do(self, block: Block) -> None:
        """Run it; everything in it has to succeed."""
        if block.language == "python":
            done = self.run(sys.executable, "-c", self.here(block.text))
            assert done.returncode == 0, (block.page.name, block.text, done.stderr)
            return
        for command in block.commands:
            line, stdin = self.here(command), ""
            if re.match(r"vfgateway user (add|passwd) ", line):
                line, stdin = f"{line} --password-stdin", PASSWORD
            if re.match(r"vfgateway (db rebuild|trash purge) (?!--dry-run)", line):
                line = f"{line} --yes"
            line = line.replace(
                "curl -u alice", f"curl --silent --show-error --fail -u {shlex.quote('alice:' + PASSWORD)}"
            )
            path = f"{self.folder / 'bin'}:{BIN}:{os.environ['PATH']}"
            done = self.run("env", f"PATH={path}", "bash", "-e", "-o", "pipefail", "-c", line, stdin=stdin)
            # curl calls it a failure that there is nothing left to fetch.
            nothing_left = "-C -" in line and done.returncode in (22, 33)
            assert done.returncode == 0 or nothing_left, (
                block.page.name,
                line,
                done.stdout[-500:],
                done.stderr[-1500:],
            )


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """One gateway for all pages. The README, which begins with an empty one, is done first."""
    one = Reader(tmp_path_factory.mktemp("reader"))
    one.start()
    try:
        one.prepare()
        for block in ALL["README.md"]:
            if block.language in RUN and not block.why:
                one.do(block)
        one.vfgateway("key add alice .ssh/id_ed25519.pub")
        yield one
    finally:
        subprocess.run(["fusermount3", "-uqz", str(one.folder / "mnt")], check=False)
        one.stop()


def test_the_readme_works_as_it_stands(reader: Reader) -> None:
    """What it promises is there."""
    shown = reader.shown("alice/data")
    assert (shown["name"], shown["used_files"]) == ("data", 1)
    assert (reader.folder / "big.iso").stat().st_size == shown["used_bytes"]


@pytest.mark.parametrize("page", [name for name in ALL if name not in ("README.md", "index.md", "plugin-authors.md")])
def test_every_command_of_a_page_works(reader: Reader, page: str) -> None:
    """In its order; pages need nothing of each other, but the README."""
    for block in ALL[page]:
        if block.language in RUN and not block.why:
            reader.do(block)

"""Secrets are made once, kept private and never guessed at."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vfgateway.errors import ConfigurationError
from vfgateway.secretfile import load, load_or_create


def test_secret_is_made_once(tmp_path: Path) -> None:
    """The first start makes a secret that only the service may read; later ones get the same. No other file is left."""
    path = tmp_path / "keys" / "token.secret"
    secret = load_or_create(path)
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert load_or_create(path) == load(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    """A daemon with a careless umask makes a private file all the same."""
    before = os.umask(0)
    try:
        load_or_create(tmp_path / "secret")
    finally:
        os.umask(before)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_processes_agree_on_one_secret(tmp_path: Path) -> None:
    """Processes that start at once end up with the same secret."""
    script = (
        "import sys, pathlib; from vfgateway.secretfile import load_or_create as f; print(f(pathlib.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "secret")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate(timeout=60)[0] for process in started} - {""}) == 1


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o777])
def test_file_open_to_everybody_is_refused(tmp_path: Path, mode: int) -> None:
    """A secret that others can read or write is not one; the error says how to close it, not what it is."""
    path = tmp_path / "secret"
    path.write_text("hush-hush")
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod o=") as refusal:
        load_or_create(path)
    assert "hush" not in str(refusal.value)


def test_group_may_read(tmp_path: Path) -> None:
    """Deployments hand secrets to a service by group."""
    path = tmp_path / "secret"
    path.write_text("  hush-hush\n")
    path.chmod(0o440)
    assert load(path) == "hush-hush"


def test_unusable_files_are_named(tmp_path: Path) -> None:
    """Missing, empty, a directory, a dangling link, below a file: each is a plain sentence with the path."""
    empty, link, below = tmp_path / "empty", tmp_path / "link", tmp_path / "empty" / "below"
    empty.touch(mode=0o600)
    link.symlink_to(tmp_path / "nowhere")
    for path, function in (
        (tmp_path / "missing", load),
        (empty, load_or_create),
        (tmp_path, load_or_create),
        (link, load_or_create),
        (below, load_or_create),
    ):
        with pytest.raises(ConfigurationError, match=str(path)):
            function(path)

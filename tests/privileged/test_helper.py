"""The helper as a process, as root, on a real XFS: what it does, for whom, and what it never does. This kernel may have no quota: identifiers are
the file system's own, and calls for limits are answered by the kernel's own refusal."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.support.process import eventually
from tests.support.projects import xfs
from vfgateway.privileged import client, projects
from vfgateway.privileged.client import Helper, HelperAway, HelperRefuses
from vfgateway.privileged.powers import USUAL_FIRST

NOBODY = 65534
ROOT = Path(__file__).parents[2]
PROJECT = USUAL_FIRST + 17


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An XFS for all of them."""
    with xfs(tmp_path_factory.mktemp("disk")) as place:
        yield place


@pytest.fixture
def top(disk: Path, request: pytest.FixtureRequest) -> Path:
    """The configured directory of one test."""
    place = disk / str(request.node.name)
    place.mkdir()
    return place


@contextmanager
def running(place: Path, top: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The helper, until the end of the block."""
    socket_file = place / "helper.sock"
    socket_file.unlink(missing_ok=True)
    told = [
        f"--socket={socket_file}",
        f"--below={top}",
        f"--projects={place / 'projects'}",
        f"--projid={place / 'ids'}",
    ]
    process = subprocess.Popen([sys.executable, "-m", "vfgateway.privileged", *told, *options], cwd=ROOT)
    try:
        eventually(socket_file.exists, "the helper listens")
        yield process
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def helper(tmp_path: Path, top: Path) -> Iterator[Helper]:
    """A client of one that acts below ``top``."""
    with running(tmp_path, top), closing(Helper(tmp_path / "helper.sock")) as asked:
        yield asked


@contextmanager
def opened(place: Path) -> Iterator[int]:
    """A descriptor of whatever it is."""
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def project_of(place: Path) -> int:
    """Whose it is."""
    with opened(place) as descriptor:
        return projects.project_of(descriptor)


def test_a_directory_becomes_a_project(helper: Helper, top: Path) -> None:
    """And what is made in it belongs to it."""
    place = top / "folder"
    place.mkdir()
    with opened(place) as descriptor:
        helper.set_project(descriptor, PROJECT)
        assert projects.inherits(descriptor)
    (place / "dir").mkdir()
    (place / "dir/file").write_bytes(b"x")
    assert {project_of(each) for each in (place, place / "dir", place / "dir/file")} == {PROJECT}
    assert project_of(top) == 0


def test_what_was_there_already(helper: Helper, top: Path) -> None:
    """Everything below is taken in, links and pipes passed over, and nothing that a link leads to."""
    place, other = top / "folder", top / "other"
    (place / "a/b/c").mkdir(parents=True)
    other.mkdir()
    for number in range(50):
        (place / f"a/b/file-{number}").write_bytes(b"x")
    (place / "link").symlink_to(other)
    os.mkfifo(place / "a/pipe")
    with opened(place) as descriptor:
        helper.set_project(descriptor, PROJECT, below=True)
    below = [each for each in place.rglob("*") if each.is_file() or (each.is_dir() and not each.is_symlink())]
    assert len(below) == 53
    assert {project_of(each) for each in [place, *below]} == {PROJECT}
    assert project_of(other) == 0


def test_what_is_refused(helper: Helper, top: Path, tmp_path: Path) -> None:
    """Every argument is checked, and a refusal changes nothing; the connection goes on."""
    inside, outside = top / "folder", top.parent / f"{top.name}-beside"
    for each in (inside, outside):
        each.mkdir()
    (inside / "file").touch()
    for place, project in (
        (top, PROJECT),
        (top.parent, PROJECT),
        (outside, PROJECT),
        (tmp_path, PROJECT),
        (Path("/"), PROJECT),
        (inside / "file", PROJECT),
        (inside, 5),
        (inside, 0),
        (inside, -1),
        (inside, 1 << 31),
    ):
        with opened(place) as descriptor, pytest.raises(HelperRefuses):
            helper.set_project(descriptor, project)
    with opened(inside) as descriptor:
        for arguments in ({"project": True}, {"project": "7"}, {"project": None}, {}, {"project": PROJECT, "more": 1}):
            with pytest.raises(HelperRefuses):
                helper.ask("set_project", descriptor, **arguments)
        for verb in ("chown", "__class__", "verbs", ""):
            with pytest.raises(HelperRefuses, match="no such verb"):
                helper.ask(verb, descriptor)
        for size in (-1, 1.5, "1", True, 1 << 63):
            with pytest.raises(HelperRefuses):
                helper.ask("set_limits", descriptor, project=PROJECT, size=size, files=0)
        for name in ("", "a:b", "a\nb", "x" * 500, 7):
            with pytest.raises(HelperRefuses):
                helper.ask("enter", descriptor, project=PROJECT, name=name)
        assert projects.project_of(descriptor) == 0
        helper.set_project(descriptor, PROJECT)
    assert [project_of(each) for each in (top, outside, inside / "file")] == [0, 0, 0]
    assert not (tmp_path / "projects").exists()


def test_a_directory_that_was_moved_out(helper: Helper, top: Path) -> None:
    """What counts is where it is, not where it was opened."""
    place, away = top / "folder", top.parent / f"{top.name}-away"
    place.mkdir()
    with opened(place) as descriptor:
        place.rename(away)
        with pytest.raises(HelperRefuses):
            helper.set_project(descriptor, PROJECT)
        away.rename(place)
        helper.set_project(descriptor, PROJECT)
        place.rmdir()
        with pytest.raises(HelperRefuses):
            helper.set_project(descriptor, PROJECT)


def test_what_the_kernel_refuses(helper: Helper, top: Path) -> None:
    """Its own error arrives."""
    place = top / "folder"
    place.mkdir()
    with opened(place) as descriptor:
        if projects.is_enforced(descriptor):
            pytest.fail("this XFS has quota: the test needs one without")
        with pytest.raises(OSError) as refused:
            helper.set_limits(descriptor, PROJECT, 4096, 0)
    assert refused.value.errno in (errno.ENOSYS, errno.ESRCH, errno.EINVAL)


def raw(place: Path, packets: Sequence[bytes]) -> list[dict[str, Any]]:
    """What it answers to packets, until it closes or all are answered."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(60)
        connection.connect(str(place))
        answers = []
        for packet in packets:
            try:
                connection.send(packet)
                answer = connection.recv(65536)
            except (BrokenPipeError, ConnectionResetError):
                break
            if not answer:
                break
            answers.append(json.loads(answer))
        return answers


def test_garbage(helper: Helper, top: Path) -> None:
    """Who cannot be understood is told so, and the connection ends; others do not notice."""
    check = b'{"verb":"check"}'
    for garbage in (b"\0", b"[]", b"{", b"7", b"\xff" * 100, b"x" * 60000):
        (answer,) = raw(helper.place, [garbage, check])
        assert answer["refused"]
    assert [each["refused"] for each in raw(helper.place, [check, b'{"verb":["check"]}', check])] == [True] * 3
    (top / "folder").mkdir()
    with opened(top / "folder") as descriptor:
        helper.set_project(descriptor, PROJECT)


def as_nobody(function: Callable[[], None]) -> int:
    """Call it as nobody; 0 if nothing is raised."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            function()
        except HelperRefuses:
            os._exit(3)
        except BaseException:
            os._exit(4)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_who_may_ask(top: Path) -> None:
    """Root, and whom it was started for; the kernel says who it is."""
    (top / "folder").mkdir()
    with opened(top / "folder") as descriptor, TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)  # all may come as far as the socket

        def ask() -> None:
            Helper(home / "helper.sock").set_project(descriptor, PROJECT)

        with running(home, top):
            assert as_nobody(ask) == 3
            assert projects.project_of(descriptor) == 0
        with running(home, top, f"--user={NOBODY}"):
            assert as_nobody(ask) == 0
        assert projects.project_of(descriptor) == PROJECT


def test_one_that_is_killed(top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another comes, and who asks does not notice. Without any, that is said; it is found again when it is there."""
    monkeypatch.setattr(client, "PATIENCE", 60.0)
    (top / "folder").mkdir()
    with opened(top / "folder") as descriptor, closing(Helper(tmp_path / "helper.sock")) as helper:
        with running(tmp_path, top) as process:
            helper.set_project(descriptor, PROJECT)
            (answering,) = children(process.pid)
            os.kill(answering, signal.SIGKILL)
            helper.set_project(descriptor, PROJECT + 1)
            assert projects.project_of(descriptor) == PROJECT + 1
            assert children(process.pid) != [answering]
        with pytest.raises(HelperAway, match=str(helper.place)):
            helper.check(descriptor)
        with running(tmp_path, top):
            helper.set_project(descriptor, PROJECT + 2)
        assert projects.project_of(descriptor) == PROJECT + 2


def children(process: int) -> list[int]:
    """Its children."""
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_it_ends_with_whom_it_is_for(top: Path, tmp_path: Path) -> None:
    """However that ended."""
    theirs, ours = os.pipe()
    command = [sys.executable, "-m", "vfgateway.privileged", f"--socket={tmp_path / 's'}", f"--below={top}"]
    process = subprocess.Popen([*command, f"--lifeline={theirs}"], cwd=ROOT, pass_fds=[theirs])
    os.close(theirs)
    try:
        eventually((tmp_path / "s").exists, "the helper listens")
        process.send_signal(signal.SIGINT)  # Ctrl-C on the terminal of both
        eventually(lambda: children(process.pid), "it answers still")
        os.close(ours)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()

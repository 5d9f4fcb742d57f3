"""Volumes are mounted while somebody uses them: noted on disk, whoever dies in between."""

from __future__ import annotations

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.mounting.conftest import Site
from vfgateway.mountinfo import mounted_at
from vfgateway.mounting import kernel
from vfgateway.mounting.errors import MountError, MountFailed, Refused, UnknownMount
from vfgateway.mounting.mounts import Mounts


def test_the_last_user_ends_it(site: Site) -> None:
    """Mounted with the first, kept for each, gone with the last; whoever takes or gives back twice counts once."""
    mounts = Mounts(site.settings, [site.volume("a"), site.volume("b")])
    assert site.mounted() == []
    place = mounts.take("a", "container-1")
    assert place == site.settings.root / "a"
    (place / "file").write_text("content")
    assert mounts.take("a", "container-2") == mounts.take("a", "container-2") == place
    assert site.mounted() == ["a"]
    assert (place / "file").read_text() == "content"
    assert not mounts.give_back("a", "container-1")
    assert not mounts.give_back("a", "container-1")
    assert site.mounted() == ["a"]
    assert mounts.give_back("a", "container-2")
    assert site.mounted() == []
    assert mounts.give_back("a", "container-2")


def test_nothing_in_it_lends_privileges(site: Site) -> None:
    """Whatever the options say."""
    place = Mounts(site.settings, [site.volume("a")]).take("a", "one")
    options = next(line for line in Path("/proc/self/mounts").read_text().splitlines() if str(place) in line).split()[3]
    assert {"nosuid", "nodev"} <= set(options.split(","))


def test_what_is_noted_is_private(site: Site) -> None:
    """Nobody else learns who uses what."""
    Mounts(site.settings, [site.volume("a")]).take("a", "one")
    for folder in (site.settings.state, site.settings.state / "a", site.settings.state / "a/users"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_at_startup(site: Site) -> None:
    """Mounted by the supervisor's first look, and kept without users."""
    mounts = Mounts(site.settings, [site.volume("a", "startup"), site.volume("b")])
    assert mounts.reconcile() == []
    assert site.mounted() == ["a"]
    mounts.take("a", "one")
    assert not mounts.give_back("a", "one")
    assert site.mounted() == ["a"]
    assert [(state.name, state.at, state.mounted, list(state.users)) for state in mounts.states()] == [
        ("a", "startup", True, []),
        ("b", "requested", False, []),
    ]


def test_what_is_configured_no_more(site: Site) -> None:
    """Goes when its last user is gone, not before; nobody new gets it."""
    mounts = Mounts(site.settings, [site.volume("a")])
    mounts.take("a", "one")
    without = Mounts(site.settings, [])
    assert without.reconcile() == []
    assert site.mounted() == ["a"]
    with pytest.raises(UnknownMount):
        without.take("a", "two")
    assert without.give_back("a", "one")
    assert site.mounted() == []


def test_a_mount_that_fails(site: Site) -> None:
    """Says why, notes nobody, and does not keep the others from being mounted."""
    broken = site.volume("broken", "startup", fstype="ext4", path=str(site.folder / "nothing"), options="")
    mounts = Mounts(site.settings, [broken, site.volume("a", "startup")])
    with pytest.raises(MountFailed, match="nothing"):
        mounts.take("broken", "one")
    assert [list(state.users) for state in mounts.states()] == [[], []]
    ((name, sentence),) = mounts.reconcile()
    assert name == "broken"
    assert "nothing" in sentence
    assert site.mounted() == ["a"]


def test_in_use(site: Site) -> None:
    """What somebody still works in stays mounted, with an error, and goes by the supervisor's next look afterwards."""
    mounts = Mounts(site.settings, [site.volume("a")])
    place = mounts.take("a", "one")
    with (place / "open").open("w"), pytest.raises(MountFailed, match="busy"):
        mounts.give_back("a", "one")
    assert site.mounted() == ["a"]
    assert mounts.reconcile() == []
    assert site.mounted() == []


def test_something_else_is_there(site: Site) -> None:
    """Another mount on the same directory is neither used nor taken away; a link there is not followed."""
    place = site.settings.root / "a"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "another", place], check=True)
    mounts = Mounts(site.settings, [site.volume("a"), site.volume("b")])
    with pytest.raises(Refused, match="another"):
        mounts.take("a", "one")
    (site.folder / "elsewhere").mkdir()
    (site.settings.root / "b").symlink_to(site.folder / "elsewhere")
    with pytest.raises(Refused):
        mounts.take("b", "one")
    assert site.mounted() == ["a"]


@pytest.mark.parametrize("user", ["", "..", "a/b", "-x", "x" * 129, "a\0", "ä"])
def test_names_of_users(site: Site, user: str) -> None:
    """Plain ones."""
    with pytest.raises(Refused):
        Mounts(site.settings, [site.volume("a")]).take("a", user)
    assert site.mounted() == []


def test_many_at_once(site: Site) -> None:
    """Each finds it mounted for as long as it has taken it; at the end it is not."""
    mounts = Mounts(site.settings, [site.volume("a")])

    def work(number: int) -> None:
        for _ in range(5):
            place = mounts.take("a", f"user-{number}")
            (place / f"file-{number}").write_text("x")
            assert mounted_at(str(place)) is not None
            (place / f"file-{number}").unlink()
            try:
                mounts.give_back("a", f"user-{number}")
            except MountFailed:
                continue  # another one's file is open just now; whoever comes last tries again

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert mounts.reconcile() == []
    assert site.mounted() == []


_DIES = """
import os, signal, sys
from pathlib import Path
from tests.mounting.conftest import Site
from vfgateway.mounting import kernel
from vfgateway.mounting.mounts import Mounts
site, verb, call, before = Site(Path(sys.argv[1])), sys.argv[2], sys.argv[3], sys.argv[4] == "before"
mounts, real = Mounts(site.settings, [site.volume("a")]), getattr(kernel, call)
def dies(*args):
    if not before:
        real(*args)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(kernel, call, dies)
getattr(mounts, verb)("a", "one")
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("verb", "call"), [("take", "mount"), ("give_back", "unmount")])
def test_killed_half_way(site: Site, verb: str, call: str, when: str) -> None:
    """Whoever comes next finds what was noted, and does what is left; the lock is not held by the dead."""
    mounts = Mounts(site.settings, [site.volume("a")])
    if verb == "give_back":
        mounts.take("a", "one")
    done = subprocess.run([sys.executable, "-c", _DIES, site.folder, verb, call, when], check=False)
    assert done.returncode == -9
    assert mounts.reconcile() == []
    assert site.mounted() == (["a"] if verb == "take" else [])
    assert [list(state.users) for state in mounts.states()] == [["one"] if verb == "take" else []]
    mounts.give_back("a", "one")
    assert site.mounted() == []


def test_secrets_are_in_a_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """That only we can read, for as long as mount runs; never on its command line, nor in an error."""
    program = site.folder / "mount"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {site.folder}/said\nfor f in {site.settings.state}/a/credentials; do\n'
        f'  stat -c %a "$f" >> {site.folder}/said; cat "$f" > {site.folder}/told; done\necho refused >&2; exit 32\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(kernel, "_MOUNT", str(program))
    share = site.volume(
        "a", fstype="cifs", path="//server/share/folder", options="vers=3.0,username=me,password=hush,sec=ntlmssp"
    )
    with pytest.raises(MountFailed) as failed:
        Mounts(site.settings, [share]).take("a", "one")
    command, mode = (site.folder / "said").read_text().splitlines()
    assert (site.folder / "told").read_text() == "username=me\npassword=hush\n"
    assert mode == "600"
    assert command.startswith("-t cifs -o vers=3.0,sec=ntlmssp,nosuid,nodev,credentials=")
    assert command.endswith(f"-- //server/share/folder {site.settings.root}/a")
    for text in (command, str(failed.value), repr(share), str(share)):
        assert "hush" not in text
    assert not (site.settings.state / "a/credentials").exists()


def test_credentials_by_reference(site: Site) -> None:
    """A file that others can read is refused."""
    secret = site.folder / "secret"
    secret.write_text("username=me\npassword=hush\n")
    secret.chmod(0o644)
    share = site.volume("a", fstype="cifs", path="//server/share", options="", credentials_file=str(secret))
    with pytest.raises(MountError, match="everybody can read"):
        Mounts(site.settings, [share]).take("a", "one")


@pytest.mark.parametrize(
    "mount",
    [
        {"fstype": "fuse"},
        {"fstype": "fuse.sshfs"},
        {"fstype": "xfs"},
        {"fstype": "tmpfs,bind"},
        {"options": "suid"},
        {"options": "size=1m,DEV"},
        {"options": "loop=/dev/loop0"},
        {"options": "bind"},
        {"options": "remount"},
        {"options": "x-mount.mkdir"},
        {"options": "X-mount.idmap=u:0:0:1"},
        {"options": "helper=/bin/sh"},
        {"options": "users"},
        {"options": "password=hush"},
        {"options": "credentials=/etc/shadow", "fstype": "cifs", "path": "//a/b"},
        {"options": "size=1m\nsuid"},
        {"path": "-o"},
        {"path": "--bind"},
        {"path": ""},
        {"path": "/dev/sda1", "fstype": "cifs"},
    ],
    ids=str,
)
def test_dangerous(site: Site, mount: dict[str, str]) -> None:
    """What lends privileges, names something else, or runs or shows something, is refused before mount is called."""
    mounts = Mounts(site.settings, [site.volume("a", **mount)])
    with pytest.raises(Refused) as refused:
        mounts.take("a", "one")
    assert "hush" not in str(refused.value)
    assert site.mounted() == []

"""What people rely on, by whichever door they come: one suite, run over each."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.behaviour.doors import DavDoor, Door, EveryDoor, HttpDoor, Refused, SftpDoor
from tests.support.process import VFolderOfAlice, eventually

MIB = 1 << 20
#: Names that have made trouble somewhere.
NAMES = (
    "a b",
    "ünï-cödé",
    "%41",
    "a+b",
    "q?x",
    "h#x",
    "semi;colon",
    "'\"",
    "-rf",
    "x" * 255,
    "日本語.txt",
    "back\\slash",
    "~",
)


def refused(why: str, door: Door) -> pytest.RaisesExc[Refused]:
    """The refusal that is expected, told in words that say it."""
    words = {"permission": "not permitted", "quota": "quota of", "locked": "locked by"}.get(why, "")
    return pytest.RaisesExc(Refused, check=lambda error: error.why == why and words in error.text)


# --- files ---


@pytest.mark.parametrize("size", [0, 1, 4095, 65_537, 5 * MIB + 3])
def test_what_was_put_is_got(door: Door, data: VFolderOfAlice, size: int) -> None:
    """Listed with its size, and charged with it."""
    content = random.Random(size).randbytes(size)
    door.put("f", content)
    assert door.get("f") == content
    assert {name: facts.size for name, facts in door.list().items()} == {"f": size}
    assert data.charged == (size, 1)


def test_a_large_file(door: Door, data: VFolderOfAlice) -> None:
    """Comes back with the same digest."""
    content = random.Random(1).randbytes(MIB) * 48
    door.put("large", content)
    assert hashlib.sha256(door.get("large")).digest() == hashlib.sha256(content).digest()
    assert data.charged == (len(content), 1)


def test_a_file_is_replaced(door: Door, data: VFolderOfAlice) -> None:
    """By a longer one and by a shorter one; only what is there is charged."""
    for size in (1000, 70_000, 10, 0):
        door.put("f", os.urandom(size))
        assert door.list()["f"].size == size
        assert data.charged == (size, 1)


def test_what_was_removed_is_gone(door: Door, data: VFolderOfAlice) -> None:
    """And what is not there can neither be read nor removed."""
    door.put("f", b"x")
    door.remove("f")
    assert door.list() == {}
    for verb in (door.get, door.remove):
        with refused("missing", door):
            verb("f")
    assert data.charged == (0, 0)


def test_names_stay_as_they_are(door: Door, data: VFolderOfAlice) -> None:
    """On the storage, in listings and in requests."""
    for number, name in enumerate(NAMES):
        door.put(name, str(number).encode())
    assert set(door.list()) == set(NAMES) == {path.name for path in data.root.iterdir() if path.name != ".upload"}
    for number, name in enumerate(NAMES):
        assert door.get(name) == str(number).encode()
        door.remove(name)
    assert data.charged == (0, 0)


@pytest.mark.parametrize("name", [".upload", ".uploads/x", ".snapshots/x", "x" * 256])
def test_names_that_cannot_be(door: Door, data: VFolderOfAlice, name: str) -> None:
    """Those that belong to the gateway, and those that no storage has."""
    with pytest.raises(Refused):
        door.put(name, b"x")
    assert data.charged == (0, 0)


def test_nothing_leads_out(door: Door, data: VFolderOfAlice) -> None:
    """Neither by dots nor by a link that a job made."""
    (data.root / "out").symlink_to("/etc")
    (data.root / "file").symlink_to("/etc/hostname")
    for path in ("out/hostname", "file", "../../../../../../../../etc/hostname"):
        with pytest.raises(Refused):
            door.get(path)
        with pytest.raises(Refused):
            door.put(path + ".new" if path != "file" else "out/new", b"x")


def test_a_time_is_told_and_kept(door: Door, data: VFolderOfAlice) -> None:
    """That of the last change, and one that a client sets, where it can."""
    before = int(time.time()) - 2
    door.put("f", b"x")
    assert before <= door.list()["f"].mtime <= time.time() + 2
    if door.sets_times:
        door.set_time("f", 1_500_000_000)
        assert door.list()["f"].mtime == 1_500_000_000
        assert int((data.root / "f").stat().st_mtime) == 1_500_000_000


# --- directories and names ---


def test_directories(file_door: Door, data: VFolderOfAlice) -> None:
    """Are made below what is there, listed, and removed when empty."""
    file_door.make_dir("d")
    file_door.make_dir("d/e")
    file_door.put("d/e/f", b"x")
    assert file_door.list()["d"].is_dir
    assert {name: facts.is_dir for name, facts in file_door.list("d/e").items()} == {"f": False}
    assert data.charged == (1, 3)
    with pytest.raises(Refused):
        file_door.make_dir("d")
    with pytest.raises(Refused):
        file_door.make_dir("none/d")
    file_door.remove("d/e/f")
    file_door.remove("d/e")
    file_door.remove("d")
    assert data.charged == (0, 0)


def test_renaming(file_door: Door, data: VFolderOfAlice) -> None:
    """Moves files and directories, and replaces only if that was asked for."""
    file_door.put("a", b"a")
    file_door.put("b", b"bb")
    file_door.make_dir("d")
    with pytest.raises(Refused):
        file_door.rename("a", "b")
    file_door.rename("a", "b", replace=True)
    assert file_door.get("b") == b"a"
    file_door.rename("b", "d/b")
    file_door.rename("d", "e")
    assert file_door.get("e/b") == b"a"
    assert set(file_door.list()) == {"e"}
    with refused("missing", file_door):
        file_door.rename("none", "x")
    assert data.charged == (1, 2)


# --- rights ---


def test_who_may_only_read(site: EveryDoor, data: VFolderOfAlice, door: Door) -> None:
    """Reads and lists, and changes nothing."""
    door.put("f", b"x")
    site.let_in("bob", data, "ro")
    with door.of("bob") as theirs:
        assert data.name in theirs.folders()
        assert theirs.get("f") == b"x"
        assert set(theirs.list()) == {"f"}
        with refused("permission", door):
            theirs.put("f", b"y")
        with refused("permission", door):
            theirs.put("new", b"y")
        with refused("permission", door):
            theirs.remove("f")
        if door.renames:
            with refused("permission", door):
                theirs.make_dir("d")
            with refused("permission", door):
                theirs.rename("f", "g")
    assert door.get("f") == b"x"
    assert data.charged == (1, 1)


def test_who_may_write_but_not_remove(site: EveryDoor, data: VFolderOfAlice, door: Door) -> None:
    """Makes, replaces and renames, and removes what is their own of today, but nobody else's."""
    door.put("f", b"x")
    site.let_in("bob", data, "rw")
    with door.of("bob") as theirs:
        theirs.put("f", b"y")
        theirs.put("mine", b"z")
        with refused("permission", door):
            theirs.remove("f")
        if door.renames:
            theirs.rename("mine", "still mine")
            theirs.remove("still mine")
        else:
            theirs.remove("mine")
    assert door.get("f") == b"y"
    assert set(door.list()) == {"f"}


def test_who_may_do_all(site: EveryDoor, data: VFolderOfAlice, door: Door) -> None:
    """Removes what others made."""
    door.put("f", b"x")
    site.let_in("bob", data, "rwd")
    with door.of("bob") as theirs:
        theirs.remove("f")
    assert door.list() == {}


def test_who_may_nothing(site: EveryDoor, data: VFolderOfAlice, door: Door) -> None:
    """Is not even told that it is there."""
    door.put("f", b"x")
    site.let_in("eve", site.populate(name=f"other-{data.name}"), "ro")
    with door.of("eve") as theirs:
        assert data.name not in theirs.folders()
        for verb in (lambda: theirs.get("f"), lambda: theirs.remove("f"), lambda: theirs.put("f", b"y")):
            with refused("missing", door):
                verb()


# --- limits ---


def test_a_limit_is_reached_and_not_passed(site: EveryDoor, data: VFolderOfAlice, door: Door) -> None:
    """To the last byte; the refusal names it, and nothing stays reserved."""
    site.limit(data, limit_bytes=300_000)
    door.put("a", bytes(200_000))
    with refused("quota", door):
        door.put("b", bytes(100_001))
    if "b" in door.list():  # what was written in place before the refusal stays, as POSIX has it
        assert door.grows
        door.remove("b")
    assert data.charged == (200_000, 1)
    door.put("b", bytes(100_000))
    assert data.charged == (300_000, 2)
    with refused("quota", door):
        door.put("c", b"x")
    door.remove("a")
    door.put("c", bytes(200_000))


def test_a_limit_of_files(site: EveryDoor, data: VFolderOfAlice, door: Door) -> None:
    """Binds new ones and not those that are replaced."""
    site.limit(data, limit_files=1)
    door.put("a", b"x")
    with refused("quota", door):
        door.put("b", b"x")
    door.put("a", b"xyz")
    assert data.charged == (3, 1)


# --- locks ---


def test_a_lock_is_respected_and_told(site: EveryDoor, data: VFolderOfAlice, door: Door, dav: DavDoor) -> None:
    """Who holds it, and until when; when it is released, all is as before."""
    door.put("f", b"old")
    site.let_in("bob", data, "rwd")
    with dav.of("bob") as theirs:
        token = theirs.lock("f")
        changes: list[Callable[[], None]] = [lambda: door.put("f", b"new"), lambda: door.remove("f")]
        if door.renames:
            changes += [lambda: door.rename("f", "g"), lambda: _over(door, "f")]
        for change in changes:
            with refused("locked", door) as said:
                change()
            assert "bob" in said.value.text
            assert "until" in said.value.text
        assert door.get("f") == b"old"
        theirs.unlock("f", token)
    door.put("f", b"new")
    assert door.get("f") == b"new"


def _over(door: Door, path: str) -> None:
    door.put("beside", b"x")
    door.rename("beside", path, replace=True)


def test_a_locked_directory(site: EveryDoor, data: VFolderOfAlice, door: Door, dav: DavDoor) -> None:
    """Takes no new names."""
    dav.make_dir("d")
    site.let_in("bob", data, "rwd")
    with dav.of("bob") as theirs:
        theirs.lock("d")
        with refused("locked", door):
            door.put("d/new", b"x")
    assert list((data.root / "d").iterdir()) == []


# --- what is on its way ---


def test_what_is_on_its_way(door: Door, data: VFolderOfAlice, dav: DavDoor, site: EveryDoor) -> None:
    """Is not seen before it is whole, nor does it touch what it will replace; or, in place, is seen as it grows."""
    door.put("old", b"old")
    for path in ("old", "new"):
        sending = door.begin(path, 2 * MIB)
        sending.send(b"1" * MIB)
        with HttpDoor(site, data) as http, SftpDoor(site, data) as sftp:
            others: list[Door] = [http, dav, sftp]
            for other in others:
                if door.grows:
                    eventually(partial(_holds, other, path, b"1" * MIB), "it is seen as it grows")
                elif path == "old":
                    assert other.get(path) == b"old"
                else:
                    assert path not in other.list()
            sending.send(b"2" * MIB)
            sending.finish()
            for other in others:
                assert other.get(path) == b"1" * MIB + b"2" * MIB


def _holds(door: Door, path: str, content: bytes) -> bool:
    return door.get(path) == content


def test_what_was_cut(door: Door, data: VFolderOfAlice) -> None:
    """Leaves what arrived where that is what clients go on from, and elsewhere nothing that anybody sees."""
    sending = door.begin("f", 2 * MIB)
    sending.send(b"1" * MIB)
    sending.cut()
    if door.keeps:
        eventually(lambda: data.charged == (MIB, 1), "what arrived is charged")
        assert door.get("f") == b"1" * MIB
        return
    assert door.list() == {}
    if door.name != "tus":  # which keeps it, and its room, to be continued
        eventually(lambda: data.charged == (0, 0), "nothing stays reserved")
        eventually(lambda: not data.stages, "nothing stays aside")
    door.put("f", b"again")
    assert door.get("f") == b"again"

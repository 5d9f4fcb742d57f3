"""What people rely on where their files lie on a share: the promises that storage has a hand in, by every door."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.behaviour.doors import DavDoor, Door, EveryDoor, Refused, SftpDoor
from tests.behaviour.on_storage import *  # noqa: F403
from tests.behaviour.test_crossing import (
    PATCH,
    test_a_lock_taken_during_an_upload_ends_it,
    test_what_tus_lost_reput_brings_to_its_end,
)
from tests.behaviour.test_promises import test_a_locked_directory, test_a_time_is_told_and_kept, test_nothing_leads_out
from tests.support.process import GatewayProcess, VFolderOfAlice
from tests.support.samba import Samba
from tests.support.samba_site import SambaSite

#: Used by name, by pytest.
__all__ = [
    "test_a_lock_taken_during_an_upload_ends_it",
    "test_a_locked_directory",
    "test_a_time_is_told_and_kept",
    "test_nothing_leads_out",
    "test_what_tus_lost_reput_brings_to_its_end",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EveryDoor]:
    """A gateway with all doors open, before a share."""
    folder = tmp_path_factory.mktemp("share")
    with Samba(folder / "server") as samba:
        site = SambaSite(folder / "site", samba)
        with GatewayProcess(site):
            site.populate(name="first")
            site.admit_key()
            yield site


def test_a_file_of_many_commands(door: Door, data: VFolderOfAlice) -> None:
    """Comes back as it was."""
    content = random.Random(9).randbytes(9 << 20)
    door.put("f", content)
    assert door.get("f") == content
    assert data.charged == (len(content), 1)


def test_names_that_windows_has_not(door: Door) -> None:
    """They are refused with the reason, and nothing is left of them."""
    for name in ("a?b", "trailing.", "nul.txt"):
        with pytest.raises(Refused):
            door.put(name, b"x")
    assert door.list() == {}


def test_a_lock_holds_in_any_case(site: EveryDoor, data: VFolderOfAlice, dav: DavDoor) -> None:
    """``File`` and ``FILE`` are one file, and so is their lock."""
    dav.put("File", b"old")
    site.let_in("bob", data, "rwd")
    with dav.of("bob") as theirs, SftpDoor(site, data) as sftp:
        token = theirs.lock("File")
        for name in ("File", "FILE", "file"):
            with pytest.raises(Refused) as caught:
                sftp.put(name, b"new")
            assert caught.value.why == "locked"
        assert dav.get("fILE") == b"old"
        theirs.unlock("FILE", token)
        sftp.put("file", b"new")
    assert dav.get("File") == b"new"


def test_properties_are_there_in_any_case(data: VFolderOfAlice, dav: DavDoor) -> None:
    """They belong to the file, however it is spelled, and go with it."""
    dav.put("File", b"x")
    dav.ask("PROPPATCH", dav.url("FILE"), PATCH)
    for name in ("File", "file", "fILE"):
        assert "kept" in dav.ask("PROPFIND", dav.url(name), Depth="0").text
    dav.rename("file", "Other")
    assert "kept" in dav.ask("PROPFIND", dav.url("OTHER"), Depth="0").text
    dav.remove("oTHER")
    dav.put("Other", b"y")
    assert "kept" not in dav.ask("PROPFIND", dav.url("Other"), Depth="0").text

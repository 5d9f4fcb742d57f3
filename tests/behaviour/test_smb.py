"""What people rely on where their files lie on a share: the promises that storage has a hand in, by every door."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.behaviour.doors import DavDoor, Door, EveryDoor, Refused, SftpDoor
from tests.behaviour.test_crossing import (
    doors,
    test_a_lock_refuses_the_end_of_it,
    test_a_lock_taken_during_an_upload_ends_it,
    test_a_lock_taken_during_an_upload_that_is_not_seen,
    test_it_goes_from_door_to_door,
    test_one_limit_for_all,
    test_removing_it_gives_its_room_back,
    test_what_a_resumable_put_lost_reput_goes_on_with,
    test_what_one_replaces_all_see,
    test_what_one_writes_all_read,
    test_what_tus_lost_reput_brings_to_its_end,
)
from tests.behaviour.test_promises import (
    test_a_file_is_replaced,
    test_a_limit_is_reached_and_not_passed,
    test_a_limit_of_files,
    test_a_lock_is_respected_and_told,
    test_a_locked_directory,
    test_a_time_is_told_and_kept,
    test_directories,
    test_nothing_leads_out,
    test_renaming,
    test_what_is_on_its_way,
    test_what_was_cut,
    test_what_was_put_is_got,
    test_what_was_removed_is_gone,
    test_who_may_write_but_not_remove,
)
from tests.support.process import GatewayProcess, VFolderOfAlice
from tests.support.samba import Samba
from tests.support.samba_site import SambaSite

__all__ = [
    "doors",
    "test_a_file_is_replaced",
    "test_a_limit_is_reached_and_not_passed",
    "test_a_limit_of_files",
    "test_a_lock_is_respected_and_told",
    "test_a_lock_refuses_the_end_of_it",
    "test_a_lock_taken_during_an_upload_ends_it",
    "test_a_lock_taken_during_an_upload_that_is_not_seen",
    "test_a_locked_directory",
    "test_a_time_is_told_and_kept",
    "test_directories",
    "test_it_goes_from_door_to_door",
    "test_nothing_leads_out",
    "test_one_limit_for_all",
    "test_removing_it_gives_its_room_back",
    "test_renaming",
    "test_what_a_resumable_put_lost_reput_goes_on_with",
    "test_what_is_on_its_way",
    "test_what_one_replaces_all_see",
    "test_what_one_writes_all_read",
    "test_what_tus_lost_reput_brings_to_its_end",
    "test_what_was_cut",
    "test_what_was_put_is_got",
    "test_what_was_removed_is_gone",
    "test_who_may_write_but_not_remove",
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

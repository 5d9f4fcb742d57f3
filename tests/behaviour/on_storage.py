"""The promises by every door that storage has a hand in, for the modules that make them on storage other than a disk: ``from ... import *``."""

from __future__ import annotations

from tests.behaviour.conftest import data, dav, door, file_door
from tests.behaviour.test_crossing import (
    doors,
    test_a_lock_refuses_the_end_of_it,
    test_a_lock_taken_during_an_upload_that_is_not_seen,
    test_it_goes_from_door_to_door,
    test_one_limit_for_all,
    test_removing_it_gives_its_room_back,
    test_what_a_resumable_put_lost_reput_goes_on_with,
    test_what_one_replaces_all_see,
    test_what_one_writes_all_read,
)
from tests.behaviour.test_promises import (
    test_a_file_is_replaced,
    test_a_limit_is_reached_and_not_passed,
    test_a_limit_of_files,
    test_a_lock_is_respected_and_told,
    test_directories,
    test_renaming,
    test_what_is_on_its_way,
    test_what_was_cut,
    test_what_was_put_is_got,
    test_what_was_removed_is_gone,
    test_who_may_write_but_not_remove,
)

__all__ = [
    "data",
    "dav",
    "door",
    "doors",
    "file_door",
    "test_a_file_is_replaced",
    "test_a_limit_is_reached_and_not_passed",
    "test_a_limit_of_files",
    "test_a_lock_is_respected_and_told",
    "test_a_lock_refuses_the_end_of_it",
    "test_a_lock_taken_during_an_upload_that_is_not_seen",
    "test_directories",
    "test_it_goes_from_door_to_door",
    "test_one_limit_for_all",
    "test_removing_it_gives_its_room_back",
    "test_renaming",
    "test_what_a_resumable_put_lost_reput_goes_on_with",
    "test_what_is_on_its_way",
    "test_what_one_replaces_all_see",
    "test_what_one_writes_all_read",
    "test_what_was_cut",
    "test_what_was_put_is_got",
    "test_what_was_removed_is_gone",
    "test_who_may_write_but_not_remove",
]

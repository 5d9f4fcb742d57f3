"""How a name changes hands: conditions are checked and names exchanged so that two publishers cannot both win.

``ABSENT`` is decided by the kernel (``RENAME_NOREPLACE``). An identity cannot be: exchanging the two files and looking at
what came out would show a refused file to readers and, after a crash, an old file in the place of a stage. So the
gateway's processes exclude each other while one looks and renames; what remains is a job on the cluster that writes
between two adjacent system calls.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from vfgateway.backends.vfs import syscalls
from vfgateway.backends.vfs.facts import entry_facts
from vfgateway.backends.vfs.faults import faults, is_missing, translate_rename, would_block
from vfgateway.errors import AlreadyExists, InvalidPath, UnsupportedFileType
from vfgateway.model import ANY, Expect, FileStat, NameRules
from vfgateway.paths import FolderPath
from vfgateway.targets import check_expected, check_kind

#: File systems that can exchange two names (``RENAME_EXCHANGE``).
EXCHANGES: Final = frozenset({syscalls.TMPFS, syscalls.EXT4, syscalls.XFS, syscalls.BTRFS})


@attrs.frozen
class Place:
    """Where an entry stands or is to stand: descriptors of the vfolder's root and of the entry's directory, and the
    entry's last name."""

    root: int
    parent: int
    name: bytes


#: Bytes of a file that takes a while to give up: the kernel frees one page after the other, some ten MiB in a millisecond.
LARGE: Final = 4 << 20


class Busy(Exception):
    """Another publisher is at work, or what is done takes a while, and the caller cannot wait where it is."""


def check_lost(there: FileStat | None, wait: bool) -> None:
    """Before ``there`` loses its name. Raises :class:`Busy` where it is large and ``wait`` is false."""
    if not wait and there is not None and there.size > LARGE and there.is_file:
        raise Busy


@attrs.frozen
class Gate:
    """Lets publishers through: any number without a condition, one alone with one.

    ``flock`` on the shard directory, which holds between threads and processes of one machine (and over NFS, between
    machines). Where a file system has no such locks the gate is open.
    """

    shard: Path

    @contextmanager
    def passed(self, expect: Expect, wait: bool) -> Iterator[None]:
        """Hold the gate. Raises :class:`Busy` if it is taken and ``wait`` is false."""
        kind = fcntl.LOCK_SH if expect == ANY else fcntl.LOCK_EX
        descriptor = os.open(self.shard, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
            except OSError as error:
                if would_block(error):
                    raise Busy from None
            yield
        finally:
            os.close(descriptor)


def publish(
    staging: int,
    token: bytes,
    parent: int,
    name: bytes,
    target: FolderPath,
    expect: Expect,
    keep_mode: int | None,
    wait: bool,
) -> FileStat | None:
    """Give the stage the name ``target``, inside the gate; the file or link that lost it. Raises :class:`Busy` where that takes a while
    and ``wait`` is false.

    :param keep_mode: descriptor of the new file if it is to take over the mode of a file that it replaces
    """
    with faults(target):
        there = entry_facts(parent, name)
    check_expected(there, target, expect)
    check_kind(False, None if there is None else there.is_dir, target)
    check_lost(there, wait)
    if keep_mode is not None and there is not None and there.is_file:
        os.fchmod(keep_mode, there.mode)  # an edited script stays executable
    move(staging, token, parent, name, target, expect)
    return there


def replace(
    area: int, token: bytes, parent: int, name: bytes, content: int, target: FolderPath, wait: bool
) -> FileStat | None:
    """Put what has been written to ``content`` in the place of a file, if there is one: it is told. Other processes leave it alone meanwhile.
    ``UnsupportedFileType`` if something else is there; :class:`Busy` where it takes a while and ``wait`` is false."""
    there = _file_at(parent, name, target)
    check_lost(there, wait)
    if there is not None:
        os.fchmod(content, there.mode)  # an edited script stays executable
    os.rename(token, name, src_dir_fd=area, dst_dir_fd=parent)
    return there


def replace_beside_others(
    area: int, token: bytes, parent: int, name: bytes, content: int, target: FolderPath, wait: bool
) -> FileStat | None:
    """As :func:`replace`, where other processes may be doing the same: none of them waits, and what each has replaced it holds in its hands.
    The kernel has to be able to exchange two names."""
    try:
        syscalls.rename_no_replace(area, token, parent, name)
        return None
    except FileExistsError:
        pass
    there = _file_at(parent, name, target)
    if there is None:
        raise Busy
    check_lost(there, wait)
    os.fchmod(content, there.mode)
    syscalls.rename_exchange(area, token, parent, name)
    try:
        replaced = _file_at(area, token, target)
    except UnsupportedFileType:  # a job has just put it there
        syscalls.rename_exchange(area, token, parent, name)
        raise
    return replaced


def _file_at(directory: int, name: bytes, target: FolderPath) -> FileStat | None:
    there = entry_facts(directory, name)
    if there is not None and not there.is_file:
        raise UnsupportedFileType(target)
    return there


def rename(
    old: Place, source: FolderPath, new: Place, target: FolderPath, expect: Expect, names: NameRules, wait: bool
) -> FileStat | None:
    """Give what stands at ``source`` the name ``target``, inside the gate; the file or link that lost it. Raises :class:`Busy` where that takes
    a while and ``wait`` is false."""
    moved = os.stat(old.name, dir_fd=old.parent, follow_symlinks=False)
    is_dir = stat.S_ISDIR(moved.st_mode)
    there = entry_facts(new.parent, new.name)
    if source == target:
        return None
    if is_dir and target.within(source):
        raise InvalidPath(target, f"lies inside of what is moved: {target}")
    same_file = there is not None and os.path.samestat(
        moved, os.stat(new.name, dir_fd=new.parent, follow_symlinks=False)
    )
    same_name = source.parent == target.parent and names.fold(source.name) == names.fold(target.name)
    if same_file and (is_dir or same_name):
        move(old.parent, old.name, new.parent, new.name, target, Expect())  # one name in another case
        return None
    check_expected(there, target, expect)
    check_kind(is_dir, None if there is None else there.is_dir, target)
    if same_file:
        # Two names of one file: rename(2) would do nothing and leave both.
        os.unlink(old.name, dir_fd=old.parent)
    else:
        check_lost(there, wait)
        move(old.parent, old.name, new.parent, new.name, target, expect)
    return None if there is not None and there.is_dir else there


def move(source_dir: int, source: bytes, target_dir: int, name: bytes, target: FolderPath, expect: Expect) -> None:
    """The rename itself, atomic; with ``ABSENT`` it never replaces."""
    try:
        if expect.absent:
            _move_to_free_name(source_dir, source, target_dir, name, target)
        else:
            os.rename(source, name, src_dir_fd=source_dir, dst_dir_fd=target_dir)
    except OSError as error:
        raise translate_rename(error, target) from error


def _move_to_free_name(source_dir: int, source: bytes, target_dir: int, name: bytes, target: FolderPath) -> None:
    try:
        syscalls.rename_no_replace(source_dir, source, target_dir, name)
    except FileExistsError:
        raise AlreadyExists(target) from None
    except OSError as error:
        if not is_missing(error):
            raise
        if _is_directory(source_dir, source):
            os.rename(source, name, src_dir_fd=source_dir, dst_dir_fd=target_dir)
        else:
            _link_to_free_name(source_dir, source, target_dir, name, target)


def _link_to_free_name(source_dir: int, source: bytes, target_dir: int, name: bytes, target: FolderPath) -> None:
    """For file systems whose rename cannot refuse (NFS): a second name refuses, and then the first one goes. A crash between
    the two leaves a stage with two names, which cannot be resumed any more."""
    try:
        os.link(source, name, src_dir_fd=source_dir, dst_dir_fd=target_dir, follow_symlinks=False)
    except FileExistsError:
        raise AlreadyExists(target) from None
    except OSError as error:
        if not is_missing(error):
            raise
        # Neither is to be had (CIFS, some FUSE): the look inside the gate a moment ago has to do.
        os.rename(source, name, src_dir_fd=source_dir, dst_dir_fd=target_dir)
    else:
        os.unlink(source, dir_fd=source_dir)


def _is_directory(directory: int, name: bytes) -> bool:
    there = entry_facts(directory, name)
    return there is not None and there.is_dir

"""Small files stored with one call, durably where the volume is: content that is all there needs no stage that somebody could resume.

Where the kernel knows files without a name (``O_TMPFILE``) the content goes to one of those, in the directory where the file is to be, and then gets its
name: if the process dies before, nothing is left. Elsewhere, and where something has to be replaced, it has a name in the staging area first.
"""

from __future__ import annotations

import os
import secrets
from typing import Final

import attrs

from vfgateway.backends.vfs import syscalls
from vfgateway.backends.vfs.facts import facts
from vfgateway.backends.vfs.faults import translate
from vfgateway.backends.vfs.journals import keeps_order
from vfgateway.backends.vfs.publish import Busy, replace, replace_beside_others
from vfgateway.backends.vfs.resolve import DIRECTORY
from vfgateway.backends.vfs.staging import STAGE_FLAGS, Staging
from vfgateway.backends.vfs.tree import CAREFUL, Tree
from vfgateway.errors import GatewayError, NoSpace
from vfgateway.interfaces import type_chunk
from vfgateway.model import ANY, FileStat, Published
from vfgateway.paths import FolderPath

#: File systems on which files need not have a name. Btrfs has such files, too, and what is synced before it has a name is lost there: it writes nothing
#: to its log of a file that nobody could reach, and only the name of it afterwards.
NAMELESS: Final = frozenset({syscalls.TMPFS, syscalls.EXT4, syscalls.XFS})

_NAMELESS_FLAGS: Final = os.O_TMPFILE | os.O_WRONLY | CAREFUL


class _TooLate(Exception):
    """Something failed when the file was there already.

    :ivar error: what
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


@attrs.frozen
class _Making:
    """A file that is being stored.

    :ivar parent: descriptor of the directory where it is to be, under ``name``
    :ivar content: descriptor of what it will be
    :ivar alone: whether no other process does the same with ``target`` meanwhile
    """

    target: FolderPath
    parent: int
    name: bytes
    content: int
    alone: bool


class WholeStore:
    """See the module. Calls block.

    :param staging: of the same vfolder
    """

    def __init__(self, tree: Tree, staging: Staging) -> None:
        self._tree = tree
        self._staging = staging
        self._root = os.fsencode(tree.path)
        self._nameless = staging.file_system in NAMELESS
        self._syncs = staging.syncs(True)
        self._ordered: dict[int, bool] = {}

    def store(self, wait: bool, target: FolderPath, content: type_chunk, alone: bool) -> Published | None:
        """Make the file ``target``, or replace it; ``None`` where that fails, and then nothing is left of it.

        :param wait: whether other publishers may be waited for
        :param alone: whether no other process does the same with ``target`` meanwhile
        :raises StorageFailure: it is there, and may not last
        """
        tree, parts = self._tree, target.parts
        if not parts or tree.hidden(target):
            return None
        try:
            parent = tree.resolver.open_at_once(self._root, FolderPath(parts[:-1]), DIRECTORY)
            try:
                if self._nameless:
                    return self._store_nameless(wait, parent, target, content, alone)
                return self._store_named(wait, parent, target, content, alone)
            finally:
                os.close(parent)
        except _TooLate as late:
            raise translate(late.error) from late.error
        except (OSError, GatewayError, Busy):
            return None

    def _store_nameless(
        self, wait: bool, parent: int, target: FolderPath, content: type_chunk, alone: bool
    ) -> Published:
        tree = self._tree
        name = target.parts[-1].encode("utf-8", "surrogateescape")
        made = os.open(b".", _NAMELESS_FLAGS, tree.ownership.file_mode, dir_fd=parent)
        try:
            tree.ownership.settle_file(made, parent if len(target.parts) == 1 else self._root, tree.actor)
            self._fill(made, content)
            there = None
            try:
                # A name that is free needs no gate: who has a condition has it of something that is there, or finds it taken.
                syscalls.link_open(made, parent, name)
            except FileExistsError:
                there = self._replace(wait, _Making(target, parent, name, made, alone))
            if tree.durable:
                self._sync_named(made, parent, new=there is None)
            return Published(facts(os.fstat(made)), there)
        finally:
            os.close(made)

    def _sync_named(self, made: int, parent: int, new: bool) -> None:
        """Make the name durable, and that the file has one: without a journal the directory's sync leaves the file's own count of its names out, and
        what has none is taken for deleted after a power loss."""
        if not self._is_ordered(made):
            try:
                os.fsync(made)
            except OSError as error:
                raise _TooLate(error) from error
            if new and self._staging.file_system == syscalls.EXT4:
                return  # which takes the directories along in which a file has just got its name (linux, fs/ext4/fsync.c)
        self._sync_names(parent)

    def _replace(self, wait: bool, making: _Making) -> FileStat | None:
        """Give the file, which has no name yet, the one that is taken."""
        token = _token()
        with self._staging.area(create=True) as (_, area):
            syscalls.link_open(making.content, area, token)
            return self._publish(wait, area, token, making)

    def _store_named(self, wait: bool, parent: int, target: FolderPath, content: type_chunk, alone: bool) -> Published:
        token, name = _token(), bytes(FolderPath(target.parts[-1:]))
        with self._staging.area() as (_, area):
            made = os.open(token, STAGE_FLAGS | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=area)
            try:
                try:
                    self._tree.ownership.settle_file(made, self._root, self._tree.actor)
                    self._fill(made, content)
                except BaseException:
                    os.unlink(token, dir_fd=area)
                    raise
                there = self._publish(wait, area, token, _Making(target, parent, name, made, alone))
                self._sync_names(parent)
                return Published(facts(os.fstat(made)), there)
            finally:
                os.close(made)

    def _fill(self, made: int, content: type_chunk) -> None:
        if os.write(made, content) != len(content):
            raise NoSpace
        if self._syncs:
            self._sync(made)

    def _sync(self, made: int) -> None:
        """See that the name, once it is durable, is never there without the content."""
        if self._is_ordered(made):
            syscalls.write_out(made)
        else:
            os.fsync(made)

    def _is_ordered(self, made: int) -> bool:
        device = os.fstat(made).st_dev
        if device not in self._ordered:
            self._ordered[device] = keeps_order(device)
        return self._ordered[device]

    def _publish(self, wait: bool, area: int, token: bytes, making: _Making) -> FileStat | None:
        """Give the stage ``token`` its name; what it has replaced. If that fails, the stage is gone."""
        exchange = replace if making.alone else replace_beside_others
        try:
            with self._tree.gate.passed(ANY, wait):
                there = exchange(area, token, making.parent, making.name, making.content, making.target, wait)
        except BaseException:
            os.unlink(token, dir_fd=area)
            raise
        if there is not None and not making.alone:
            try:
                os.unlink(token, dir_fd=area)  # that is what has been replaced
            except FileNotFoundError:
                pass  # whoever sweeps up what is abandoned was here first
            except OSError as error:
                raise _TooLate(error) from error
        return there

    def _sync_names(self, parent: int) -> None:
        try:
            self._tree.sync_names(parent)
        except OSError as error:
            raise _TooLate(error) from error


def _token() -> bytes:
    return secrets.token_hex(16).encode("ascii")

"""The staging area of one vfolder on disk, in plain blocking calls: ``.upload/<32 hex>`` inside the vfolder.

Stages have names, since they must survive their process; whoever lists the vfolder does not see them.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final
from uuid import uuid4

import attrs

from vfgateway.backends.vfs import syscalls
from vfgateway.backends.vfs.copy import append_content, copy_content, file_system_of
from vfgateway.backends.vfs.facts import facts, facts_of, names_in
from vfgateway.backends.vfs.faults import faults, is_missing
from vfgateway.backends.vfs.ownership import PERMISSIONS, PRIVATE
from vfgateway.backends.vfs.publish import publish
from vfgateway.backends.vfs.tree import CAREFUL, STAGING, Tree, regular
from vfgateway.errors import IsADirectory, NoSpace, UploadNotFound, VFolderNotFound
from vfgateway.model import Expect, FileStat, Published
from vfgateway.paths import FolderPath

#: Room is reserved ahead from this size on; below it the file system places blocks better by itself.
ALLOCATE_FROM: Final = 8 << 20
#: Bytes by which blocks may exceed a file without being called a reservation.
SPARE: Final = 1 << 20
#: File systems that reserve without writing.
ALLOCATES: Final = frozenset({syscalls.EXT4, syscalls.XFS})

#: File systems on disks of this machine.
ON_DISKS: Final = ALLOCATES | {syscalls.BTRFS}

#: File systems of one machine: locks on files cost nothing there, and end with their process.
KNOWS_OWNERS: Final = ON_DISKS | {syscalls.TMPFS}

_TOKEN = re.compile("[0-9a-f]{32}")
_AREA: Final = STAGING.encode()
_AREA_PATH: Final = FolderPath((STAGING,))
#: How stages are opened.
STAGE_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | CAREFUL


def _locked(descriptor: int) -> bool:
    """Lock a file until it is closed, unless somebody else has; whether that was done."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@attrs.frozen
class Stage:
    """An open stage: its token, a descriptor that the receiver must close, and its size."""

    token: str
    descriptor: int
    size: int


@attrs.frozen
class Staging:
    """Makes, finds and publishes the stages of one vfolder.

    :ivar file_system: ``f_type`` of the storage
    :ivar flushes_late: whether write errors may only show when a file is synced or closed (NFS, SMB)
    """

    tree: Tree
    file_system: int
    flushes_late: bool

    @contextmanager
    def area(self, create: bool = False) -> Iterator[tuple[int, int]]:
        """Descriptors of the vfolder's root and of its staging area."""
        with self.tree.root() as root:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                area = os.open(_AREA, flags, dir_fd=root)
            except FileNotFoundError:
                if not create:
                    raise
                area = self._make_area(root, flags)
            try:
                yield root, area
            finally:
                os.close(area)

    def _make_area(self, root: int, flags: int) -> int:
        try:
            os.mkdir(_AREA, PRIVATE, dir_fd=root)
        except FileExistsError:
            return os.open(_AREA, flags, dir_fd=root)
        area = os.open(_AREA, flags, dir_fd=root)
        try:
            self.tree.ownership.settle_dir(area, root, self.tree.actor, PRIVATE)
        except BaseException:
            os.close(area)
            raise
        return area

    def begin(self, expected_size: int | None) -> Stage:
        """A new, empty stage; ``NoSpace`` if the expected size cannot fit."""
        with faults(_AREA_PATH), self.area(create=True) as (root, area):
            token, descriptor = self._make(area)
            try:
                self.tree.ownership.settle_file(descriptor, root, self.tree.actor)
                self._make_room(descriptor, expected_size or 0)
            except BaseException:
                os.close(descriptor)
                os.unlink(token, dir_fd=area)
                raise
        return Stage(token, descriptor, 0)

    def _make(self, area: int) -> tuple[str, int]:
        """A new file that is locked for as long as it is open: so others can tell that its process lives."""
        while True:
            token = uuid4().hex
            descriptor = os.open(token, STAGE_FLAGS | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=area)
            if self.file_system not in KNOWS_OWNERS:
                return token, descriptor
            # Whoever looked for what is abandoned may have been here between the two calls.
            if _locked(descriptor) and os.fstat(descriptor).st_nlink:
                return token, descriptor
            os.close(descriptor)
            with suppress(FileNotFoundError):
                os.unlink(token, dir_fd=area)

    def abandoned(self) -> Sequence[str]:
        """The stages that no process has locked; only where that is known."""
        found = []
        with faults(_AREA_PATH), suppress(FileNotFoundError), self.area() as (_, area):
            for token in [each.decode("ascii") for each in names_in(area) if _TOKEN.fullmatch(os.fsdecode(each))]:
                with suppress(FileNotFoundError):
                    descriptor = os.open(token, STAGE_FLAGS, dir_fd=area)
                    try:
                        if _locked(descriptor):
                            found.append(token)
                    finally:
                        os.close(descriptor)
        return found

    def _make_room(self, descriptor: int, size: int) -> None:
        if size < ALLOCATE_FROM:
            return
        room = os.fstatvfs(descriptor)
        if room.f_blocks and size > room.f_bavail * room.f_frsize:
            raise NoSpace
        if self.file_system in ALLOCATES:
            try:
                syscalls.allocate(descriptor, size)
            except OSError as error:
                if not is_missing(error):
                    raise

    def resume(self, token: str, keep: int | None) -> Stage:
        """An existing stage, cut back to ``keep`` bytes."""
        stage = self._open(token)
        try:
            if keep is not None and stage.size < keep:
                raise UploadNotFound(token)
            if keep is not None and stage.size > keep:
                with faults(_AREA_PATH):
                    os.ftruncate(stage.descriptor, keep)
                return attrs.evolve(stage, size=keep)
        except BaseException:
            os.close(stage.descriptor)
            raise
        return stage

    def _open(self, token: str) -> Stage:
        if not _TOKEN.fullmatch(token):
            raise UploadNotFound(token)
        with faults(_AREA_PATH):
            try:
                with self.area() as (_, area):
                    descriptor = regular(os.open(token, STAGE_FLAGS, dir_fd=area), _AREA_PATH)
                    found = os.fstat(descriptor)
                    if found.st_nlink > 1:
                        # Published by a link, then a crash: the second name is a file of the vfolder now.
                        os.close(descriptor)
                        os.unlink(token, dir_fd=area)
                        raise UploadNotFound(token)
            except FileNotFoundError:
                raise UploadNotFound(token) from None
        return Stage(token, descriptor, found.st_size)

    def all(self) -> Sequence[tuple[str, FileStat]]:
        """Every stage with its facts."""
        found = []
        with faults(_AREA_PATH):
            try:
                with self.area() as (_, area), os.scandir(area) as entries:
                    for entry in entries:
                        known = entry.stat(follow_symlinks=False) if _TOKEN.fullmatch(entry.name) else None
                        if known is not None and stat.S_ISREG(known.st_mode):
                            found.append((entry.name, facts(known)))
            except FileNotFoundError:
                pass
        return found

    def join(self, tokens: Sequence[str]) -> Stage:
        """A new stage with the content of others, which stay."""
        joined = self.begin(None)
        size = 0
        try:
            for token in tokens:
                part = self._open(token)
                try:
                    with faults(_AREA_PATH):
                        size += append_content(part.descriptor, joined.descriptor, size)
                finally:
                    os.close(part.descriptor)
        except BaseException:
            self.drop(joined)
            raise
        return attrs.evolve(joined, size=size)

    def discard(self, token: str) -> None:
        """Remove a stage; one that has gone already, with or without its vfolder, is fine."""
        with faults(_AREA_PATH):
            try:
                with self.area() as (_, area):
                    os.unlink(token, dir_fd=area)
            except (FileNotFoundError, VFolderNotFound):
                return

    def drop(self, stage: Stage) -> None:
        """Close and remove a stage that nobody received."""
        os.close(stage.descriptor)
        self.discard(stage.token)

    @property
    def writes_out(self) -> bool:
        """Whether what is appended shall go to the disk before anybody waits for it."""
        return self.tree.durable and self.file_system in ON_DISKS

    def sync(self, descriptor: int) -> None:
        """Make a stage durable, its name included."""
        if self.tree.durable:
            os.fsync(descriptor)
            with self.area() as (_, area):
                os.fsync(area)

    def syncs(self, sync: bool) -> bool:
        """Whether a commit with ``sync`` waits for the storage."""
        return (self.tree.durable and sync) or self.flushes_late

    def commit(
        self, wait: bool, stage: Stage, target: FolderPath, expect: Expect, sync: bool, keep_mode: bool = True
    ) -> Published:
        """Publish ``stage``; on any error it stays what it was.

        :param keep_mode: whether a file that is replaced passes its permission bits on
        """
        if target.is_root:
            raise IsADirectory(target)
        with faults(target):
            _give_back_room(stage.descriptor)
            if self.syncs(sync):
                os.fsync(stage.descriptor)
        with self.tree.place(target) as place:
            replaced = self._publish(wait, stage, target, expect, place.parent, place.name, keep_mode)
            self.tree.sync_names(place.parent, sync)
        return Published(facts_of(stage.descriptor), replaced)

    def _publish(
        self, wait: bool, stage: Stage, target: FolderPath, expect: Expect, parent: int, name: bytes, keep_mode: bool
    ) -> FileStat | None:
        token = stage.token.encode()
        try:
            with self.area() as (_, area):
                os.stat(token, dir_fd=area, follow_symlinks=False)
                with self.tree.gate.passed(expect, wait):
                    keep = stage.descriptor if keep_mode else None
                    return publish(area, token, parent, name, target, expect, keep, wait)
        except FileNotFoundError:
            raise UploadNotFound(stage.token) from None

    def storage(self) -> Hashable:
        """See :func:`file_system_of`."""
        with faults(_AREA_PATH), self.tree.root() as root:
            return file_system_of(root)

    def copy_here(self, open_source: Callable[[], int], target: FolderPath, expect: Expect) -> Published:
        """Copy a file into this vfolder by way of a stage, with its mode and times."""
        source = open_source()
        try:
            stage = self.begin(None)
            try:
                with faults(target):
                    copy_content(source, stage.descriptor)
                    _give_back_room(stage.descriptor)  # now, since it would change the times that come next
                    self._copy_facts(source, stage.descriptor)
                published = self.commit(True, stage, target, expect, True, keep_mode=False)
            except BaseException:
                self.drop(stage)
                raise
            os.close(stage.descriptor)
            return published
        finally:
            os.close(source)

    def _copy_facts(self, source: int, target: int) -> None:
        original = os.fstat(source)
        os.fchmod(target, original.st_mode & PERMISSIONS)
        os.utime(target, ns=(original.st_atime_ns, original.st_mtime_ns))


def _give_back_room(descriptor: int) -> None:
    """Release blocks that were reserved past the end of the file and not needed."""
    found = os.fstat(descriptor)
    if found.st_blocks * 512 > found.st_size + SPARE:
        os.ftruncate(descriptor, found.st_size)

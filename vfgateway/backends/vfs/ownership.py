"""Whom new files belong to and what may be done with them: always set explicitly, never by the umask of the day."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import attrs

from vfgateway.backends.vfs.faults import not_permitted
from vfgateway.errors import VolumeUnavailable
from vfgateway.model import Actor

#: Mode of the staging area and of other places that are the gateway's alone.
PRIVATE: Final = 0o700
#: Permission bits that a client may set or see.
PERMISSIONS: Final = 0o777
SET_ID: Final = stat.S_ISUID | stat.S_ISGID
#: Number of the capability to give files away (``capability.h``).
_CHOWN: Final = 0


@attrs.frozen
class Ownership:
    """The volume's settings ``owner``, ``file_mode`` and ``dir_mode``.

    :ivar owner: ``inherit``, ``service``, ``principal``, or a pair of numbers
    """

    owner: str | tuple[int, int]
    file_mode: int
    dir_mode: int

    def check(self, volume: str) -> None:
        """Refuse at start what could only fail later: giving files away needs privilege."""
        if isinstance(self.owner, tuple) and not _may_give_away():
            uid, gid = self.owner
            if uid != os.geteuid() or gid not in (os.getegid(), *os.getgroups()):
                raise VolumeUnavailable(
                    volume,
                    f'owner = "{uid}:{gid}" needs the gateway to run with CAP_CHOWN, as root, or as that user and group',
                )

    def settle_file(self, descriptor: int, root: int | bytes, actor: Actor) -> None:
        """Give a new file its owner and mode. ``root`` is a descriptor of the vfolder's root, or its path."""
        self._settle(descriptor, root, actor, self.file_mode)

    def settle_dir(self, descriptor: int, root: int, actor: Actor, mode: int | None = None) -> None:
        """Give a new directory its owner and mode."""
        self._settle(descriptor, root, actor, self.dir_mode if mode is None else mode)

    def _settle(self, descriptor: int, root: int | bytes, actor: Actor, mode: int) -> None:
        now = os.fstat(descriptor)
        if self._give(descriptor, root, actor, now) or stat.S_IMODE(now.st_mode) != mode:
            os.fchmod(descriptor, mode)  # after chown, which clears set-id bits

    def _give(self, descriptor: int, root: int | bytes, actor: Actor, now: os.stat_result) -> bool:
        """Whether the owner had to be another."""
        if self.owner == "service":
            return False
        if isinstance(self.owner, tuple):
            uid, gid = self.owner
        else:
            model = os.lstat(root) if isinstance(root, bytes) else os.fstat(root)
            uid, gid = model.st_uid, model.st_gid
            if self.owner == "principal":
                uid = uid if actor.uid is None else actor.uid
                gid = gid if actor.gid is None else actor.gid
        if (now.st_uid, now.st_gid) == (uid, gid):
            return False
        try:
            os.fchown(descriptor, uid, gid)
        except OSError as error:
            # An unprivileged gateway, or root squashed by NFS: the file is the gateway's own then, as it would be for
            # any other program. Where a certain owner was asked for, it must not be another.
            if self.owner != "inherit" or not not_permitted(error):
                raise
        return True


def _may_give_away() -> bool:
    """Whether this thread has ``CAP_CHOWN`` (capabilities(7), proc(5)), be it root's or not."""
    status = Path("/proc/thread-self/status").read_text()
    return bool(int(status.partition("CapEff:")[2].split(None, 1)[0], 16) >> _CHOWN & 1)


def strip_set_id(descriptor: int) -> None:
    """Take set-id bits from a file that is about to be written; root's own writes would leave them."""
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if mode & SET_ID:
        os.fchmod(descriptor, mode & ~SET_ID)

"""Who uses a mounted volume: a file each, so that it outlasts every process of ours. Blocking calls.

::

    <state>/<volume>/lock          held by whoever mounts or unmounts it
    <state>/<volume>/users/<user>  empty
    <state>/<volume>/credentials   for mount(8), while it runs
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from vfgateway.mounting.errors import MountError, Refused

_USER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}")


def checked_user(user: str) -> str:
    """``user`` itself if somebody can be called so. ``Refused``."""
    if not _USER.fullmatch(user):
        raise Refused(
            "a user is called by up to 128 letters, digits, '.', '_', ':', '@' and '-', a letter or digit first"
        )
    return user


@attrs.frozen
class Users:
    """Those of one volume.

    :ivar place: its directory in the state
    """

    place: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all others from mounting and unmounting it meanwhile. Ends with the process, too."""
        try:
            self.place.parent.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.place.parent, self.place, self._folder):
                folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self.place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise MountError(f"cannot write to {self.place}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @property
    def _folder(self) -> Path:
        return self.place / "users"

    def all(self) -> list[str]:
        """Their names."""
        try:
            return sorted(entry.name for entry in self._folder.iterdir())
        except FileNotFoundError:
            return []

    def add(self, user: str) -> bool:
        """Note somebody; whether that is new."""
        try:
            (self._folder / checked_user(user)).touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            return False
        self._sync()
        return True

    def remove(self, user: str) -> None:
        """Forget somebody. Idempotent."""
        (self._folder / checked_user(user)).unlink(missing_ok=True)
        self._sync()

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def credentials(self, content: str) -> Iterator[Path]:
        """A file with secrets that only we can read, for as long as ``mount`` needs it."""
        file = self.place / "credentials"
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(content)
            yield file
        finally:
            file.unlink(missing_ok=True)

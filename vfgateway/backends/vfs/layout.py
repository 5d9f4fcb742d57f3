"""Where vfolders lie on disk: the layout of the Backend.AI Storage Proxy, version 3.

::

    <path>/version.txt                         "3"
    <path>/<scope, 32 hex>/<2>/<2>/<28>/       a vfolder; the digits are its identifier's
    <path>/<2>/<2>/<28>/                       a vfolder of the old form, without a scope
    <scope or path>/.deleted/                  what is being removed, or was being made when a process died
    <scope>/.kind                              "user" or "project"; ours alone
    <scope or path>/.vfolders/<32 hex>.json    what the vfolder is; ours alone, for the gateway's eyes
    <scope or path>/.snapshots/<32 hex>/       snapshots of the vfolder by label, where the storage keeps them there
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final
from uuid import UUID

import attrs

from vfgateway.backends.vfs.faults import faults
from vfgateway.errors import QuotaScopeExists, StorageFailure, VFolderExists, VFolderNotFound, VolumeUnavailable
from vfgateway.model import QuotaScopeId, ScopeKind, VFolderId

VERSION: Final = "3"
VERSION_FILE: Final = "version.txt"
TRASH: Final = ".deleted"
KIND_FILE: Final = ".kind"
DESCRIPTIONS: Final = ".vfolders"
SNAPSHOTS: Final = ".snapshots"
#: Mode of scopes, shards and the volume's own directory, as the reference makes them.
PUBLIC: Final = 0o755
#: Modes of what is for the gateway alone.
PRIVATE: Final = 0o700
PRIVATE_FILE: Final = 0o600
#: The most that is told of what does not belong.
MOST_MISPLACED: Final = 100
#: How often to begin again when others remove the empty shards that we just made.
MOST_RACES: Final = 100

_SCOPE = re.compile("[0-9a-f]{32}")
_SHARD = re.compile("[0-9a-f]{2}")
_SCOPE_OR_SHARD = re.compile("[0-9a-f]{2}|[0-9a-f]{32}")
_LEAF = re.compile("[0-9a-f]{28}")


@attrs.frozen
class Layout:
    """Paths of one volume. Blocking calls.

    :ivar top: the volume's directory, absolute
    :ivar adopts: a link in the place of a vfolder is one that was adopted
    """

    top: Path
    durable: bool
    adopts: bool = False

    def scope(self, scope: QuotaScopeId | None) -> Path:
        """The place of a scope; the volume itself for vfolders without one."""
        return self.top if scope is None else self.top / scope.uuid.hex

    def trash(self, scope: QuotaScopeId | None) -> Path:
        """Beside the vfolders of a scope, so that a rename to it never crosses a quota or a mount."""
        return self.scope(scope) / TRASH

    def root(self, vfid: VFolderId) -> Path:
        """The directory of a vfolder."""
        digits = vfid.folder.hex
        return self.scope(vfid.scope).joinpath(digits[:2], digits[2:4], digits[4:])

    # --- start

    def prepare(self, volume: str) -> None:
        """Check that this is a volume of ours, or make an empty directory one."""
        try:
            if not self.top.exists():
                self._make_top(volume)
            if not self.top.is_dir():
                raise VolumeUnavailable(volume, f"{self.top} is not a directory")
            self._check_version(volume)
        except OSError as error:
            raise VolumeUnavailable(volume, f"{self.top}: {error.strerror}") from error

    def _make_top(self, volume: str) -> None:
        if not self.top.parent.is_dir():
            raise VolumeUnavailable(
                volume, f"{self.top.parent} does not exist; create it, or mount the storage, or correct `path`"
            )
        make_plain_dir(self.top)

    def _check_version(self, volume: str) -> None:
        file = self.top / VERSION_FILE
        try:
            found = file.read_text("ascii", "replace").strip()
        except FileNotFoundError:
            strange = [entry.name for entry in self.top.iterdir() if not _may_be_ours(entry.name)]
            if strange:
                raise VolumeUnavailable(
                    volume,
                    f"{self.top} has no {VERSION_FILE} but holds other files ({strange[0]!r}); choose an empty directory, or, if "
                    f"it is a volume of a storage proxy, migrate it to layout {VERSION} and write {VERSION} into {file}",
                ) from None
            write_durably(file, VERSION + "\n")
            return
        if found != VERSION:
            raise VolumeUnavailable(
                volume,
                f"{file} says layout {found!r}, and only {VERSION!r} is understood; migrate the volume with the storage "
                f"proxy's own tool, or correct `path`",
            )

    # --- scopes

    def make_scope(self, scope: QuotaScopeId) -> None:
        """Make the place of a scope; ``QuotaScopeExists``."""
        with faults(scope):
            try:
                make_plain_dir(self.scope(scope))
            except FileExistsError:
                raise QuotaScopeExists(scope) from None
            write_durably(self.scope(scope) / KIND_FILE, scope.kind.value + "\n")
            self._sync(self.top)

    def has_scope(self, scope: QuotaScopeId) -> bool:
        with faults(scope):
            return self.scope(scope).is_dir()

    def _kind(self, place: Path) -> ScopeKind:
        """The kind of a scope found on disk: where it was not noted (volumes of the reference), a user's."""
        try:
            return ScopeKind((place / KIND_FILE).read_text("ascii", "replace").strip())
        except (OSError, ValueError):
            return ScopeKind.USER

    # --- vfolders

    def make_root(self, vfid: VFolderId) -> Path:
        """Make a vfolder's directory, private still, and whatever is missing above it. ``VFolderExists``."""
        root = self.root(vfid)
        with faults(vfid):
            self._ensure_scope(vfid)
            for _ in range(MOST_RACES):
                for shard in (root.parent.parent, root.parent):
                    try:
                        make_plain_dir(shard)
                    except (FileExistsError, FileNotFoundError):
                        continue
                try:
                    root.mkdir(0o700)
                except FileNotFoundError:
                    continue  # somebody took an empty shard away between two of our steps
                except FileExistsError:
                    raise VFolderExists(vfid) from None
                return root
        raise StorageFailure("the place of the vfolder is removed again and again by another process")

    def _ensure_scope(self, vfid: VFolderId) -> None:
        if vfid.scope is not None and not self.scope(vfid.scope).is_dir():
            try:
                self.make_scope(vfid.scope)
            except QuotaScopeExists:
                return

    def sync_root(self, vfid: VFolderId) -> None:
        """Make a new vfolder and the shards above it durable."""
        self._sync(self.root(vfid))
        self.sync_names(vfid)

    def sync_names(self, vfid: VFolderId) -> None:
        """Make the name of a vfolder and the shards above it durable."""
        root = self.root(vfid)
        for place in (root.parent, root.parent.parent, self.scope(vfid.scope)):
            self._sync(place)

    def _sync(self, directory: Path) -> None:
        if self.durable:
            sync_dir(directory)

    # --- descriptions

    def describe(self, vfid: VFolderId, text: bytes) -> None:
        """Keep a description. ``VFolderNotFound``."""
        file = self._description(vfid)
        with faults(vfid):
            if not os.path.lexists(self.root(vfid)):
                raise VFolderNotFound(vfid)
            with suppress(FileExistsError):
                file.parent.mkdir(PRIVATE)
                self._sync(file.parent.parent)
            write_durably(file, text.decode("utf-8"), PRIVATE_FILE)

    def description(self, vfid: VFolderId) -> bytes | None:
        """What was kept, if anything was."""
        with faults(vfid):
            try:
                return self._description(vfid).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def forget(self, vfid: VFolderId) -> None:
        """Let go of what was kept."""
        with suppress(FileNotFoundError, NotADirectoryError):
            self._description(vfid).unlink()

    def snapshots(self, vfid: VFolderId) -> Path:
        """Where snapshots of a vfolder lie."""
        return self.scope(vfid.scope) / SNAPSHOTS / vfid.folder.hex

    def _description(self, vfid: VFolderId) -> Path:
        return self.scope(vfid.scope) / DESCRIPTIONS / f"{vfid.folder.hex}.json"

    def drop_shards(self, vfid: VFolderId) -> None:
        """Remove the shards of a vfolder that is gone, as far as they are empty."""
        root = self.root(vfid)
        for shard in (root.parent, root.parent.parent):
            try:
                shard.rmdir()
            except OSError:
                return

    def all(self) -> list[VFolderId]:
        """Every vfolder on disk."""
        with faults(self.top.name):
            found = [VFolderId(None, folder) for folder in self._vfolders(self.top)]
            for name in _names(self.top, _SCOPE):
                place = self.top / name
                scope = QuotaScopeId(self._kind(place), UUID(name))
                found.extend(VFolderId(scope, folder) for folder in self._vfolders(place))
        return found

    def _vfolders(self, place: Path) -> Iterator[UUID]:
        for first in _names(place, _SHARD):
            for second in _names(place / first, _SHARD):
                for leaf in _names(place / first / second, _LEAF, links=self.adopts):
                    yield UUID(first + second + leaf)

    def misplaced(self) -> list[str]:
        """What does not belong to the layout, relative to the top; the first hundred, in any order."""
        with faults(self.top.name):
            return list(islice(self._misplaced(), MOST_MISPLACED))

    def _misplaced(self) -> Iterator[str]:
        places = [Path(), *map(Path, _names(self.top, _SCOPE))]
        for place in places:
            own = (VERSION_FILE, TRASH, "lost+found") if place == Path() else (TRASH, KIND_FILE)
            own = (*own, DESCRIPTIONS, SNAPSHOTS)
            yield from self._others(place, _SHARD if place != Path() else _SCOPE_OR_SHARD, own)
            for first in _names(self.top / place, _SHARD):
                yield from self._others(place / first, _SHARD)
                for second in _names(self.top / place / first, _SHARD):
                    yield from self._others(place / first / second, _LEAF, links=self.adopts)

    def _others(
        self, place: Path, pattern: re.Pattern[str], own: Collection[str] = (), links: bool = False
    ) -> Iterator[str]:
        right = set(_names(self.top / place, pattern, links))
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.top / place) as entries:
            for entry in entries:
                if entry.name not in right and entry.name not in own:
                    yield os.fsencode(place / entry.name).decode("utf-8", "backslashreplace")

    def trashes(self) -> Iterator[Path]:
        """Every place where something may be left over."""
        yield self.top / TRASH
        for name in _names(self.top, _SCOPE):
            yield self.top / name / TRASH


def _names(place: Path, pattern: re.Pattern[str], links: bool = False) -> list[str]:
    """Directories (and ``links``) in ``place`` whose names match, none if it has vanished."""
    try:
        with os.scandir(place) as entries:
            return [
                entry.name
                for entry in entries
                if pattern.fullmatch(entry.name)
                and (entry.is_dir(follow_symlinks=False) or (links and entry.is_symlink()))
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _may_be_ours(name: str) -> bool:
    """Whether a directory without ``version.txt`` may hold this name and still be a new volume, or one of layout 3."""
    return name in ("lost+found", TRASH, DESCRIPTIONS, SNAPSHOTS) or _SCOPE.fullmatch(name) is not None


def make_plain_dir(path: Path) -> None:
    """``mkdir`` with a mode that no umask changes."""
    path.mkdir(PUBLIC)
    path.chmod(PUBLIC)


def write_durably(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a small file of our own so that it is there whole or not at all."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_dir(path.parent)


def sync_dir(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""What plugins provide. All methods are coroutines unless said otherwise; every one may raise
:class:`vfgateway.errors.GatewayError`, and nothing else.

Cancelling: a cancelled call leaves either its whole effect or none, and no descriptor behind. A call that runs in a
thread may finish there after its caller was cancelled; objects stay usable until that call has ended.

A volume is never wrapped. What it can do beyond the core is said by the abilities of :mod:`vfgateway.abilities`, which a caller asks for
with ``providedBy``; each has a road for when it is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

from vfgateway.model import (
    Actor,
    Attrs,
    DirEntry,
    Expect,
    FileStat,
    FolderOptions,
    Health,
    NameRules,
    OpenMode,
    Published,
    QuotaScopeId,
    Space,
    VFolderId,
)
from vfgateway.paths import FolderPath
from vfgateway.principals import Principal

if TYPE_CHECKING:
    from twisted.application.service import IService

    from vfgateway.runtime import Runtime

#: Bytes that a volume accepts.
type_chunk = bytes | bytearray | memoryview
#: Writes to a file by itself: given its descriptor and where to begin, yields how many bytes each call has written.
type_fill = Callable[[int, int], Iterator[int]]


class IVolumeFactory(Interface):
    """A plugin that makes volumes of one kind. ``configure`` is called before the daemon detaches: it checks settings and
    touches nothing (no files, no network); that is ``IVolume.start``'s."""

    name: str = Attribute("the word after ``backend =`` in the configuration")
    summary: str = Attribute("one line for ``vfgateway volume backends``")

    def configure(name: str, settings: Mapping[str, Any], runtime: Runtime) -> IVolume:
        """Make the volume ``name``. ``settings`` is its table without ``backend``. Raises ``pydantic.ValidationError`` or
        :class:`vfgateway.errors.ConfigurationError` for settings that cannot be used. Not a coroutine."""


class IFrontEnd(Interface):
    """A plugin that speaks one protocol."""

    name: str = Attribute("the word in ``[frontends.NAME]``")
    summary: str = Attribute("one line")

    def configure(settings: Mapping[str, Any], gateway: Any) -> IService:
        """Make the service that listens. ``gateway`` is the :class:`vfgateway.services.gateway.Gateway`; ``settings`` is the
        table as written. Raises as ``IVolumeFactory.configure``. Not a coroutine."""


class IAuthenticatorFactory(Interface):
    """A plugin that makes authenticators of one kind."""

    name: str = Attribute("the word in ``[authenticators.NAME]``, or after ``kind =`` in that table")
    summary: str = Attribute("one line")

    def configure(name: str, settings: Mapping[str, Any], gateway: Any) -> IAuthenticator:
        """Make the authenticator ``name``. ``settings`` is its table without ``kind``; ``gateway`` is the
        :class:`vfgateway.services.gateway.Gateway`. Raises as ``IVolumeFactory.configure``. Not a coroutine."""


class IAuthenticator(Interface):
    """Turns credentials into a principal. Several are asked in the configured order."""

    name: str = Attribute("the configured name")
    credential_interfaces: tuple[type, ...] = Attribute("the ``twisted.cred`` credential interfaces it can judge")

    async def authenticate(credentials: Any) -> Principal:
        """The principal behind ``credentials``. Raises ``NotMine`` where it has no idea whose they are, so that the next one is asked;
        ``AuthenticationFailed`` where they are wrong, ``IdentityRefused`` where they are right but lead to no account here, and
        ``AuthenticatorUnavailable`` where that cannot be told now. A wrong name costs as much time as a wrong password."""


class IRunning(Interface):
    """On authenticators: something runs, such as threads and connections."""

    async def start() -> None:
        """Begin, when the database is open. Whoever is to be asked need not be there: that is for ``authenticate`` to find out."""

    async def stop() -> None:
        """Let go of everything. Idempotent."""


class IAsksAllFactors(Interface):
    """On authenticators: whoever it says yes to has shown all factors that he has, wherever that was. The gateway asks for none of its own."""


class ICheckable(Interface):
    """On authenticators: depends on something that may be down, or be configured differently there."""

    async def health() -> Health:
        """The state now; never raises for what is down. ``info`` says what to do about it, and never a secret."""


class IVolume(Interface):
    """One configured storage system. Knows bytes and names; knows no protocol, user, limit or lock."""

    name: str = Attribute("the configured name")
    backend: str = Attribute("the name of its factory")
    names: NameRules = Attribute("what files can be called here")
    shared: bool = Attribute("whether others than the gateway may change what is stored here")
    path: str = Attribute("where agents find it when mounted (absolute), or a descriptive URL; for the manager API")

    async def start() -> None:
        """Reach the storage. Raises ``VolumeUnavailable``; the caller retries later. Idempotent."""

    async def stop() -> None:
        """Let go of everything. Calls under way end or fail. Idempotent."""

    async def health() -> Health:
        """The state now; never raises for a storage that is down, but says so."""

    async def space() -> Space:
        """Capacity of the whole volume."""

    async def create_folder(vfid: VFolderId, options: FolderOptions) -> None:
        """Make an empty vfolder, and its scope's place if missing. ``VFolderExists`` if it is there."""

    async def delete_folder(vfid: VFolderId) -> None:
        """Remove a vfolder with all content. Missing is success; resumable after a crash."""

    async def folder(vfid: VFolderId, actor: Actor) -> IFolder:
        """The content of a vfolder, on behalf of ``actor``. ``VFolderNotFound`` if missing. Cheap: called once a request;
        an ``IFolder`` holds nothing that must be closed."""

    async def folders() -> Sequence[VFolderId]:
        """All vfolders found on the storage, known to the registry or not."""

    async def create_scope(scope: QuotaScopeId) -> None:
        """Make the place of a quota scope. ``QuotaScopeExists`` if it is there."""

    async def has_scope(scope: QuotaScopeId) -> bool:
        """Whether the scope has a place here."""


class IFolder(Interface):
    """The tree of one vfolder. Paths are already checked; links are never followed out of it.

    A last component that is a link: ``stat``, ``remove``, ``rename`` and ``set_attrs`` act on the link itself; ``open`` for
    reading, ``stat(follow=True)`` and ``open_dir`` follow it if it stays inside. Anything that writes raises ``LeavesFolder`` when it would
    have to traverse a link. The staging area is never shown.
    """

    async def stat(path: FolderPath, follow: bool = False) -> FileStat:
        """Facts about one entry; the root is a directory. ``NotFound``; also for a path through a regular file."""

    async def open_dir(path: FolderPath) -> IDirectory:
        """Begin to list. ``NotFound``, ``NotADirectory``."""

    async def open(path: FolderPath, mode: OpenMode) -> IFile:
        """Open a regular file. ``IsADirectory``, ``UnsupportedFileType`` (FIFO, device: never blocks), ``NotFound``, ``AlreadyExists``
        (``EXCLUSIVE``), ``Unsupported`` (``WRITE`` without ``IRandomWrite``)."""

    async def stage(target: FolderPath, expected_size: int | None) -> IStagedFile:
        """Begin a file that nobody sees until it is committed. ``target`` tells where it is bound (same file system); it need not
        be possible yet. ``expected_size`` in bytes may be used to preallocate."""

    async def make_dir(path: FolderPath) -> None:
        """Make one directory. ``AlreadyExists`` (whatever is there), ``NotFound`` (no parent), ``NotADirectory`` (parent)."""

    async def remove(path: FolderPath, expect: Expect) -> Published:
        """Remove a file or link. ``IsADirectory``, ``NotFound``, ``PreconditionFailed``."""

    async def remove_dir(path: FolderPath) -> None:
        """Remove an empty directory. ``DirectoryNotEmpty``, ``NotADirectory``; the root cannot be removed (``InvalidPath``)."""

    async def rename(source: FolderPath, target: FolderPath, expect: Expect) -> Published:
        """Move an entry atomically; ``expect`` speaks of the target. A file replaces a file or link; a directory replaces nothing but
        an empty directory; onto itself is no change. ``InvalidPath`` into its own child or for the root, ``IsADirectory``,
        ``NotADirectory``, ``DirectoryNotEmpty``, ``AlreadyExists``, ``NotFound`` (source, or no parent of the target)."""

    async def set_attrs(path: FolderPath, attrs: Attrs) -> FileStat:
        """Change mode and times; the new facts. Modes of links are left alone."""


class IFile(Interface):
    """An open regular file."""

    async def read(offset: int, length: int) -> bytes:
        """Up to ``length`` bytes; fewer only at the end of the file, ``b""`` at or past it."""

    async def stat() -> FileStat:
        """Facts about the open file."""

    async def sync() -> None:
        """Return when what was written is durable. No-op for a file opened for reading."""

    async def close() -> None:
        """Let go. Idempotent; calls under way finish first and later ones raise ``StorageFailure``."""


class IStagedFile(Interface):
    """A file in the making: append, then commit or discard. Exactly one of the two ends it; both are idempotent afterwards."""

    token: str = Attribute("its name in the staging area: 32 hexadecimal digits")
    size: int = Attribute("bytes appended so far")

    async def append(chunks: Sequence[type_chunk]) -> None:
        """Add bytes at the end, in one gathered write. All or an error; after an error ``size`` says what is there."""

    async def sync() -> None:
        """Return when all appended bytes would survive a power loss."""

    async def commit(target: FolderPath, expect: Expect, sync: bool = True) -> Published:
        """Publish under ``target`` in one atomic step, whole or not at all, durable when it returns if ``sync``. Parent directories must
        exist (``NotFound``). ``AlreadyExists`` or ``PreconditionFailed`` by ``expect``; ``IsADirectory``. On error the stage is kept."""

    async def discard() -> None:
        """Forget it."""

    async def close() -> None:
        """Let go of descriptors without discarding (the stage can be resumed where ``IResumableStaging`` is offered; elsewhere
        this discards). Idempotent."""


class IDirectory(Interface):
    """A listing under way; order is the storage's."""

    async def read(limit: int) -> Sequence[DirEntry]:
        """Up to ``limit`` further entries; empty at the end. Entries that vanish meanwhile are left out."""

    async def close() -> None:
        """Let go. Idempotent."""

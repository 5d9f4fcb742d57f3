"""What plugins provide. All methods are coroutines unless said otherwise; every one may raise
:class:`vfgateway.errors.GatewayError`, and nothing else.

Cancelling: a cancelled call leaves either its whole effect or none, and no descriptor behind. A call that runs in a
thread may finish there after its caller was cancelled; objects stay usable until that call has ended.

A volume is never wrapped. What it can do beyond the core is said by the abilities at the end, which a caller asks for
with ``providedBy``; each has a road for when it is missing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
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
    Limits,
    NameRules,
    OpenMode,
    PerformanceMetric,
    Principal,
    Published,
    QuotaScopeId,
    Space,
    Usage,
    VFolderId,
)
from vfgateway.paths import FolderPath
from vfgateway.treeusage import TreeUsage

if TYPE_CHECKING:
    from twisted.application.service import IService

    from vfgateway.runtime import Runtime

#: Bytes that a volume accepts.
type_chunk = bytes | bytearray | memoryview


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


# --- abilities -----------------------------------------------------------------------------------------


class IRandomWrite(Interface):
    """On files opened with ``WRITE``: bytes change in place."""

    async def write(offset: int, chunks: Sequence[type_chunk]) -> None:
        """Write all chunks from ``offset`` on; a gap becomes zeros."""

    async def truncate(size: int) -> None:
        """Cut or extend with zeros."""


class IFileAttributes(Interface):
    """On files: mode and times of what is open, whatever its name has become. Else they are changed by path."""

    async def set_attrs(attrs: Attrs) -> FileStat:
        """As ``IFolder.set_attrs``, also for a file that has lost its last name."""


class IDescriptorRead(Interface):
    """On files: a descriptor that ``sendfile`` and ``pread`` may use."""

    in_memory: bool = Attribute("whether the storage is memory, so that no read ever has to wait for it")

    def borrow() -> int:
        """A descriptor that stays open until :meth:`give_back`, even if the file is closed before. Not a coroutine."""

    def give_back() -> None:
        """End one :meth:`borrow`. The last user closes. Not a coroutine."""


class IDescriptorWrite(Interface):
    """On staged files: a descriptor for zero-copy writing at the end; ``borrow`` and ``give_back`` as for reading."""

    def borrow() -> int:
        """See :class:`IDescriptorRead`."""

    def give_back() -> None:
        """See :class:`IDescriptorRead`."""

    def wrote(count: int) -> None:
        """Tell that ``count`` bytes were appended through the descriptor. Not a coroutine."""


class IAtHand(Interface):
    """On folders: what is asked for in place of a coroutine, when all is in memory and nothing has to be waited for. ``None`` wherever it is
    not so, or not sure; and wherever a link is in the way. The ordinary way is for those cases, and for telling what is wrong."""

    stores_now: bool = Attribute("Whether :meth:`store_now` ever does anything here.")

    def stat_now(path: FolderPath) -> FileStat | None:
        """As ``IFolder.stat``. ``None`` also where nothing is. Not a coroutine."""

    def read_now(
        path: FolderPath, choose: Callable[[FileStat], tuple[int, int] | None]
    ) -> tuple[FileStat, type_chunk] | None:
        """A regular file's facts, and the bytes of it that ``choose`` asks for by offset and length: all of them, or ``None`` is the answer.
        What ``choose`` raises goes through. Not a coroutine."""

    def store_now(path: FolderPath, content: type_chunk) -> Published | None:
        """Create or replace a regular file, whole or not at all, as a stage with that content would. ``None`` if nothing has been done; also
        where what is stored has to be made durable first. Not a coroutine."""

    def open_now(path: FolderPath, mode: OpenMode) -> IFile | None:
        """As ``IFolder.open``, with all that it raises. What is opened provides ``IFileAtHand``. Not a coroutine."""


class IFileAtHand(IDescriptorRead):
    """On files: what is asked for in place of a coroutine, as in ``IAtHand``; ``None`` or ``False`` if nothing has been done."""

    in_place: bool = Attribute("whether short calls on the descriptor have to wait for nothing now")

    def stat_now() -> FileStat | None:
        """As ``IFile.stat``. Not a coroutine."""

    def write_now(offset: int, chunks: Sequence[type_chunk]) -> bool:
        """As ``IRandomWrite.write``, for files opened with ``WRITE``. What is raised may come after a part was written. Not a coroutine."""

    def truncate_now(size: int) -> bool:
        """As ``IRandomWrite.truncate``, for files opened with ``WRITE``. Not a coroutine."""

    def set_attrs_now(attrs: Attrs) -> FileStat | None:
        """As ``IFileAttributes.set_attrs``. Not a coroutine."""

    def close_now() -> bool:
        """As ``IFile.close``. Not a coroutine."""


class IWholeStore(Interface):
    """On folders: small files are stored with one call to the storage."""

    async def store_whole(path: FolderPath, content: type_chunk) -> Published | None:
        """As ``IAtHand.store_now``, however long it takes; what is stored is as durable as what ``IStagedFile.commit`` publishes. ``None`` if
        nothing has been done, whatever the reason. Raises what went wrong after the file was there."""


class IMappedListing(Interface):
    """On directories: entries are worked on where they were read, off the reactor's thread."""

    async def read_mapped(limit: int, function: Callable[[Sequence[DirEntry]], Any]) -> Any:
        """What ``function`` makes of up to ``limit`` further entries, of which it is given at least one; ``None`` at the end. It is called
        in whatever thread has read them, and so must touch nothing that belongs to the reactor."""


class IUsageWalk(Interface):
    """On folders: adds up what is in them where it lies, off the reactor's thread. Elsewhere the gateway lists and adds."""

    async def walk_usage(path: FolderPath, progress: Callable[[int], Awaitable[None]] | None = None) -> TreeUsage:
        """Usage below a directory, with the shares of the directories in it: the size of each regular file once, whatever its names; every
        name is an entry. Staging is left out. What vanishes meanwhile or cannot be listed is passed over. ``NotFound``, ``NotADirectory``.

        :param progress: called now and then with the entries counted so far; counting goes on when it returns
        """


class IResumableStaging(Interface):
    """On folders: stages survive their process."""

    async def resume(token: str, keep: int | None = None) -> IStagedFile:
        """Open a stage again; with ``keep`` cut it back to that many bytes first. ``UploadNotFound`` if there is none, or if it is
        shorter than ``keep``: never padded."""

    async def stages() -> Sequence[tuple[str, FileStat]]:
        """All stages of the vfolder by token, to find leftovers."""

    async def join(target: FolderPath, tokens: Sequence[str]) -> IStagedFile:
        """A new stage with the content of ``tokens`` one after the other; those stay."""


class IStageOwners(Interface):
    """On folders: the storage knows which stages are still being written."""

    async def abandoned() -> Sequence[str]:
        """Tokens of the stages that no living process has open; those that are to be continued are among them."""


class IServerSideCopy(Interface):
    """On folders: copy without the bytes passing through the gateway."""

    async def copy_file(source: FolderPath, folder: IFolder, target: FolderPath, expect: Expect) -> Published:
        """Copy one regular file to ``target`` in ``folder`` (of the same volume), atomically, with its mode and times."""


class IFastClone(Interface):
    """On volumes: copy a whole vfolder at once."""

    async def clone_folder(source: VFolderId, target: VFolderId) -> None:
        """``target`` becomes a copy of ``source``; it must not exist."""


class ILayout(Interface):
    """On volumes: vfolders lie in places of a certain form, so that one sees what does not belong."""

    async def misplaced() -> Sequence[str]:
        """What lies where only vfolders may, each by its path in words; the first hundred. Scans report it; nobody removes it."""


class IDescriptions(Interface):
    """On volumes: keep a small text beside each vfolder, which is no part of it: those who enter it do not see it, and it is not in its usage."""

    async def describe(vfid: VFolderId, text: bytes) -> None:
        """Keep ``text`` (a few KiB) in place of what was kept, whole or not at all, until the vfolder is deleted. ``VFolderNotFound``."""

    async def description(vfid: VFolderId) -> bytes | None:
        """What is kept, if anything is."""


class INativeQuota(Interface):
    """On volumes: the storage enforces limits of quota scopes itself."""

    async def set_limits(scope: QuotaScopeId, limits: Limits) -> None:
        """Set or lift. The scope must exist."""

    async def native_usage(scope: QuotaScopeId) -> tuple[Usage, Limits]:
        """Usage and limits as the storage sees them."""


class IFastUsage(Interface):
    """On volumes: the storage knows the usage of a vfolder without a walk."""

    async def fast_usage(vfid: VFolderId) -> Usage:
        """Usage of one vfolder; staging included."""


class ISnapshots(Interface):
    """On volumes: read-only pictures of a vfolder."""

    async def snapshot(vfid: VFolderId, label: str) -> None:
        """Take one. ``AlreadyExists``."""

    async def snapshots(vfid: VFolderId) -> Sequence[str]:
        """Labels, oldest first."""

    async def drop_snapshot(vfid: VFolderId, label: str) -> None:
        """Remove one. ``NotFound``."""

    async def open_snapshot(vfid: VFolderId, label: str) -> IFolder:
        """Its content; everything that writes raises ``Unsupported``."""


class IAttributes(Interface):
    """On folders: small named values kept with a file (extended attributes)."""

    async def attributes(path: FolderPath) -> Mapping[str, bytes]:
        """All of them."""

    async def set_attribute(path: FolderPath, name: str, value: bytes | None) -> None:
        """Set, or remove with ``None``."""


class IModes(Interface):
    """On folders: every entry keeps permission bits of its own. Elsewhere all show those that the volume is configured with, and what
    ``set_attrs``, or who makes a vfolder, asks for is passed over. It has no members."""


class ILinks(Interface):
    """On folders: symbolic and hard links."""

    async def make_link(path: FolderPath, target: str) -> None:
        """Make a symbolic link; ``target`` is kept as written. ``AlreadyExists``."""

    async def hard_link(source: FolderPath, target: FolderPath) -> None:
        """Give a file a second name. ``AlreadyExists``."""


class IMountable(Interface):
    """On volumes: agents can mount vfolders."""

    async def mount_path(vfid: VFolderId) -> str:
        """Absolute path of the vfolder's root as agents see it. ``VFolderNotFound``."""


class IAdoption(Interface):
    """On volumes: data that was there before the gateway can become a vfolder, where it lies."""

    async def adopt_folder(vfid: VFolderId, place: str) -> None:
        """``vfid`` becomes what lies at ``place`` (in the storage's own words), unchanged. Deleting the vfolder gives it back: its content
        stays. ``VFolderExists``, ``NotFound``, ``NotADirectory``; ``InvalidPath`` for what the configuration does not allow."""


class IHardwareInfo(Interface):
    """On volumes: more than ``health`` tells, from the vendor's API."""

    async def hardware_info() -> Health:
        """The vendor's view, with metadata."""


class IPerformanceMetrics(Interface):
    """On volumes: the storage measures itself."""

    async def performance() -> PerformanceMetric:
        """Rates now."""

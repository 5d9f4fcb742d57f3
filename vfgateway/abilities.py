"""What volumes, folders and files can do beyond the core of :mod:`vfgateway.interfaces`, and what is true of them. A caller asks with ``providedBy``;
each has a road for when it is missing. The rules of that module hold here, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from zope.interface import Attribute, Interface

from vfgateway.interfaces import IFile, IFolder, IStagedFile, type_chunk, type_fill
from vfgateway.model import (
    Attrs,
    DirEntry,
    Expect,
    FileStat,
    Health,
    Limits,
    OpenMode,
    PerformanceMetric,
    Published,
    QuotaScopeId,
    RemoteMount,
    Snapshot,
    Usage,
    VFolderId,
)
from vfgateway.paths import FolderPath
from vfgateway.treeusage import TreeUsage


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
    """On staged files: bytes that the kernel moves from elsewhere, without anybody seeing them."""

    async def append_from(fill: type_fill) -> None:
        """Have ``fill`` write at the end, in a thread, in its turn among the other calls. As ``IStagedFile.append``, ``size`` says afterwards what is
        there, also after an error."""


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

    def reread_now(
        path: FolderPath, stat: FileStat, part: tuple[int, int] | None
    ) -> Callable[[], type_chunk | None] | None:
        """What reads a part of a file again, by offset and length, whoever calls it and however often: ``None`` once there may be other facts
        than ``stat``, which :meth:`read_now` or :meth:`stat_now` has just told. Without a part it only tells whether there are, by ``b""``.
        ``None`` if there is nothing of that kind. Not a coroutine."""

    def store_now(path: FolderPath, content: type_chunk, alone: bool = True) -> Published | None:
        """Create or replace a regular file, whole or not at all, as a stage with that content would. ``None`` if nothing has been done; also
        where what is stored has to be made durable first. Not a coroutine.

        :param alone: whether no other process stores there meanwhile; if others may, each is told what it has replaced itself
        """

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

    stores_together: bool = Attribute(
        "Whether several processes may do so at once with one name: ``alone`` may be false."
    )

    async def store_whole(path: FolderPath, content: type_chunk, alone: bool = True) -> Published | None:
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
        """All stages of the vfolder by token, to find leftovers. Of one that is being written, what was not synced may be missing in the size."""

    async def join(target: FolderPath, tokens: Sequence[str]) -> IStagedFile:
        """A new stage with the content of ``tokens`` one after the other; those stay."""


class IStageOwners(Interface):
    """On folders: the storage knows which stages are still being written."""

    async def abandoned() -> Sequence[str]:
        """Tokens of the stages that no living process has open; those that are to be continued are among them."""


class IServerSideCopy(Interface):
    """On folders: copy without the bytes passing through the gateway."""

    async def copy_file(source: FolderPath, folder: IFolder, target: FolderPath, expect: Expect) -> Published:
        """Copy one regular file to ``target`` in ``folder``, atomically, with its mode and times. ``Unsupported`` where ``folder`` is of another
        volume that the storage cannot copy to by itself."""


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


class INativeFolderQuota(Interface):
    """On volumes: the storage enforces limits of single vfolders itself, whichever way bytes come. Limits of scopes are the ledger's alone,
    unless the volume also provides ``INativeQuota``. What the storage refuses for such a limit is raised as ``QuotaExceeded``."""

    limit_step: int = Attribute("Limits in bytes are rounded up to a multiple of this, and are not below it.")
    limits_files: bool = Attribute("Whether it limits numbers of files; else those are passed over, and none is told.")

    async def set_folder_limits(vfid: VFolderId, limits: Limits) -> None:
        """Set or lift. A limit below what is there already is no error. ``VFolderNotFound``; ``Unsupported`` for a vfolder that can have none
        (one that was adopted)."""

    async def native_folder_usage(vfid: VFolderId) -> tuple[Usage, Limits]:
        """Usage and limits as the storage sees them, without a walk. It may count allocated blocks where the ledger counts sizes, and
        directories, stages and hard links in its own way. ``VFolderNotFound``, ``Unsupported``."""


class IFastUsage(Interface):
    """On volumes: the storage knows the usage of a vfolder without a walk."""

    async def fast_usage(vfid: VFolderId) -> Usage:
        """Usage of one vfolder; staging included."""


class ISnapshots(Interface):
    """On volumes: read-only pictures of vfolders, kept by the storage itself.

    A picture shows the whole vfolder as it was at one moment, and takes room only for what has changed since. It is no part of the vfolder:
    it is in no listing and no usage of it, and ``IVolume.delete_folder`` takes all of them along. A label is one name as
    :func:`vfgateway.paths.checked_label` has it. All methods raise ``VFolderNotFound`` where the vfolder is not there, and ``Unsupported`` for a
    vfolder of which the storage can keep none (one that was adopted, say).
    """

    async def snapshot(vfid: VFolderId, label: str) -> Snapshot:
        """Take one, all of it or none; what was acknowledged before is in it, what is staged may be, unseen. ``AlreadyExists`` if the label is
        taken, ``NoSpace``."""

    async def snapshots(vfid: VFolderId) -> Sequence[Snapshot]:
        """All there are, oldest first; also those that somebody took without the gateway, if they have labels that fit."""

    async def drop_snapshot(vfid: VFolderId, label: str) -> None:
        """Remove one; its room may come back only some time later. ``NotFound``. Files of it that are open are read to their end, or raise
        ``NotFound`` or ``StorageFailure``."""

    async def open_snapshot(vfid: VFolderId, label: str) -> IFolder:
        """Its content, cheap as ``IVolume.folder`` is. ``NotFound``. Everything that writes raises ``Unsupported``. Where folders of this volume
        provide ``IServerSideCopy``, so does this one, to folders that can be written."""


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


class IJobLinks(Interface):
    """On folders with ``ILinks``: absolute links that jobs leave, into where their containers mount the vfolder, are links inside of it."""

    def seen_by_jobs_at(places: Sequence[str]) -> None:
        """Say, before anything else is asked, by which absolute paths jobs see the vfolder. From then on such links are followed
        inside, and shown with a relative target. Not a coroutine."""


class IMountable(Interface):
    """On volumes: agents can mount vfolders."""

    async def mount_path(vfid: VFolderId) -> str:
        """Absolute path of the vfolder's root as agents see it. ``VFolderNotFound``."""


class IRemoteMount(Interface):
    """On volumes: hosts can mount the storage without the gateway."""

    async def remote_mount(vfid: VFolderId) -> RemoteMount | None:
        """How; ``None`` where there is no other way to the storage than this host. ``VFolderNotFound``."""


class IAdoption(Interface):
    """On volumes: data that was there before the gateway can become a vfolder, where it lies."""

    async def adopt_folder(vfid: VFolderId, place: str) -> None:
        """``vfid`` becomes what lies at ``place`` (in the storage's own words), unchanged. Deleting the vfolder gives it back: its content
        stays. ``VFolderExists``, ``NotFound``, ``NotADirectory``; ``InvalidPath`` for what the configuration does not allow."""


class IHardwareInfo(Interface):
    """On volumes: more than ``health`` tells, from the vendor's API."""

    async def hardware_info() -> Health:
        """The vendor's view, or the kernel's, with metadata."""


class IPerformanceMetrics(Interface):
    """On volumes: the storage measures itself."""

    async def performance() -> PerformanceMetric:
        """Rates now. ``Unsupported`` where nothing is measured, whatever the volume can do elsewhere."""

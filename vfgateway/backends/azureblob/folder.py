"""The tree of one vfolder: blobs of a container, and markers for directories."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from twisted.logger import Logger
from zope.interface import implementer

from vfgateway.abilities import IModes, IResumableStaging, IServerSideCopy, IUsageWalk
from vfgateway.backends.azureblob.container import FREE, Container, same
from vfgateway.backends.azureblob.facts import IS_FOLDER, WRITER, Blob, stat_of, with_attrs
from vfgateway.backends.azureblob.faults import Refused, faults
from vfgateway.backends.azureblob.listing import AzureDirectory, walk
from vfgateway.backends.azureblob.moving import Mover
from vfgateway.backends.azureblob.names import blob_name, check_names, hidden
from vfgateway.backends.azureblob.places import look, look_with_parent, require_parent
from vfgateway.backends.azureblob.publish import publish, transplant
from vfgateway.backends.azureblob.reading import FIRST, AzureFile
from vfgateway.backends.azureblob.staging import AzureStagedFile, Stages, new_token
from vfgateway.backends.azureblob.together import together
from vfgateway.backends.azureblob.usage import Counter
from vfgateway.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    GatewayError,
    InvalidPath,
    IsADirectory,
    NotADirectory,
    NotFound,
    PreconditionFailed,
    Unsupported,
    VFolderNotFound,
)
from vfgateway.interfaces import IDirectory, IFile, IFolder, IStagedFile
from vfgateway.model import Actor, Attrs, Expect, FileStat, FileType, OpenMode, Published, VFolderId
from vfgateway.paths import ROOT, FolderPath
from vfgateway.targets import check_expected, check_kind
from vfgateway.treeusage import TreeUsage
from vfgateway.uninterrupted import uninterrupted

if TYPE_CHECKING:
    from vfgateway.backends.azureblob.volume import AzureBlobVolume

#: Attempts to remove or change something that others change all the time.
ATTEMPTS = 10
#: Entries after which a count says how far it is.
TELL_AFTER = 1000
log = Logger()


@implementer(IFolder, IModes, IResumableStaging, IServerSideCopy, IUsageWalk)
class AzureBlobFolder:
    """One vfolder on behalf of one actor.

    :param generation: of the container, which tells it from another one that has its name later
    """

    def __init__(
        self, volume: AzureBlobVolume, vfid: VFolderId, actor: Actor, container: Container, generation: str
    ) -> None:
        self.volume = volume
        self._vfid = vfid
        self._actor = actor
        self._container = container
        self._generation = generation
        self._stages = Stages(self, container)

    # --- for what belongs to it

    def faults(self, path: FolderPath = ROOT) -> AbstractContextManager[None]:
        """Translates what the storage refuses."""
        return faults(self.volume.name, self._vfid, path)

    def facts(self, blob: Blob) -> FileStat:
        """What people see of a blob."""
        return stat_of(blob, self._actor, self.volume.settings.file_mode, self.volume.settings.dir_mode)

    def published(self, made: Blob, replaced: Blob | None) -> Published:
        """The outcome of a write."""
        return Published(self.facts(made), None if replaced is None or replaced.is_dir else self.facts(replaced))

    async def check_container(self, container: Container) -> None:
        """See that the vfolder was not removed, and made again, meanwhile. ``VFolderNotFound``."""
        if (await self.volume.known(self._vfid)).generation != self._generation:
            raise VFolderNotFound(self._vfid)

    async def forget(self, container: Container, name: str) -> None:
        """Remove a stage that has been published. If that fails, it is found as a leftover later."""
        try:
            await container.delete(name, {})
        except (Refused, GatewayError) as error:
            log.warn("volume {name}: a stage is left over: {error}", name=self.volume.name, error=str(error))

    # --- reading

    async def stat(self, path: FolderPath, follow: bool = False) -> FileStat:
        with self.faults(path):
            return self.facts(await self._find(path))

    async def _find(self, path: FolderPath) -> Blob:
        found = None if hidden(path) else await look(self._container, path)
        if found is None:
            raise NotFound(path)
        return found

    async def open_dir(self, path: FolderPath) -> IDirectory:
        if hidden(path):
            raise NotFound(path)
        with self.faults(path):
            listing = AzureDirectory(
                self._container, blob_name(path), self.volume.calls, self.facts, lambda: self.faults(path)
            )
            try:
                exists, found = await together(listing.exists(), self._marker(path))
                if found is not None and not found.is_dir:
                    raise NotADirectory(path)
                if found is None and not exists and not path.is_root:
                    raise NotFound(path)
            except BaseException:
                await listing.close()
                raise
        return listing

    async def _marker(self, path: FolderPath) -> Blob | None:
        return None if path.is_root else await self._container.head(blob_name(path))

    async def open(self, path: FolderPath, mode: OpenMode) -> IFile:
        if mode & (OpenMode.WRITE | OpenMode.CREATE):
            raise Unsupported("writing in place")
        if path.is_root:
            raise IsADirectory(path)
        if hidden(path):
            raise NotFound(path)
        with self.faults(path):
            try:
                blob, first = await self._container.get(blob_name(path), 0, FIRST)
            except Refused as refused:
                if refused.status != 416 and not refused.missing:
                    raise
                # Of what is empty there is no range.
                blob, first = await self._find(path), b""
        if blob.is_dir:
            raise IsADirectory(path)
        settings = self.volume.settings
        cache, ahead = self.volume.cache, settings.parallel
        file = AzureFile(self._container, path, blob, first, self.facts(blob), cache, ahead, lambda: self.faults(path))
        if settings.redirect and blob.size >= settings.redirect_from:
            file.lifetime = settings.redirect_lifetime
        return file

    # --- names

    async def make_dir(self, path: FolderPath) -> None:
        if path.is_root:
            raise AlreadyExists(path)
        with self.faults(path):
            await uninterrupted(self._make_dir(path))

    async def _make_dir(self, path: FolderPath) -> None:
        name, writer = blob_name(path), uuid4().hex
        _, implied = await together(require_parent(self._container, path), self._container.any_below(name))
        if implied:
            raise AlreadyExists(path)
        try:
            await self._container.put(name, (), {IS_FOLDER: "true", WRITER: writer}, FREE)
        except Refused as refused:
            if not refused.conflict:
                raise
            now = await look(self._container, path)
            if now is None or now.metadata.get(WRITER) != writer:
                raise AlreadyExists(path) from None

    async def remove(self, path: FolderPath, expect: Expect) -> Published:
        if path.is_root:
            raise IsADirectory(path)

        async def remove() -> Published | None:
            found = await self._find(path)
            if found.is_dir:
                raise IsADirectory(path)
            if expect.absent or expect.identity not in (None, found.etag):
                raise PreconditionFailed(path)
            if not await self._container.delete(found.name, same(found.etag)):
                raise NotFound(path)
            return Published(None, self.facts(found))

        return await self._insist(path, remove)

    async def _insist(self, path: FolderPath, change: Callable[[], Coroutine[Any, Any, Published | None]]) -> Published:
        """Look and change, again as long as somebody else changes it in between."""
        with self.faults(path):
            for attempt in range(ATTEMPTS):
                try:
                    outcome = await uninterrupted(change())
                    return outcome or Published(None)
                except Refused as refused:
                    if not refused.conflict or attempt == ATTEMPTS - 1:
                        raise
        raise AssertionError("unreachable")

    async def remove_dir(self, path: FolderPath) -> None:
        if path.is_root:
            raise InvalidPath(path, "the top of a folder cannot be removed")

        async def remove() -> None:
            found = await self._find(path)
            if not found.is_dir:
                raise NotADirectory(path)
            if found.implied or await self._container.any_below(found.name):
                raise DirectoryNotEmpty(path)
            if not await self._container.delete(found.name, same(found.etag)):
                raise NotFound(path)

        await self._insist(path, remove)

    async def rename(self, source: FolderPath, target: FolderPath, expect: Expect) -> Published:
        if source.is_root or target.is_root:
            raise InvalidPath(source, "the top of a folder cannot be renamed")
        with self.faults(source):
            return await uninterrupted(self._rename(source, target, expect))

    async def _rename(self, source: FolderPath, target: FolderPath, expect: Expect) -> Published:
        moving = await self._find(source)
        check_names(target)
        if moving.is_dir and target.parent.within(source):
            await require_parent(self._container, target)
            raise InvalidPath(target, f"lies inside of what is moved: {target}")
        there = await look_with_parent(self._container, target)
        if source == target:
            return Published(self.facts(moving))
        check_expected(there, target, expect)
        mover = Mover(self._container, self.volume.calls)
        if not moving.is_dir:
            return self.published(*await mover.move_file(moving, target, expect))
        if there is not None:
            check_kind(True, there.is_dir, target)
            if there.implied or await self._container.any_below(there.name):
                raise DirectoryNotEmpty(target)
        return self.published(await mover.move_directory(moving, target, blob_name(target), there), None)

    async def set_attrs(self, path: FolderPath, attrs: Attrs) -> FileStat:
        async def change() -> Published:
            found = await self._find(path)
            before = self.facts(found)
            # What is not written down follows the time of the last change, which this is.
            kept = Attrs(attrs.mode, before.mtime_ns, before.atime_ns)
            metadata = with_attrs(with_attrs(found.metadata, kept), attrs)
            if path.is_root:
                await self._container.set_container_metadata(metadata)
                return Published(self.facts(await self._find(path)))
            if found.implied:
                await require_parent(self._container, path)
                return Published(
                    self.facts(await self._container.put(found.name, (), {**metadata, IS_FOLDER: "true"}, FREE))
                )
            return Published(self.facts(await self._container.set_metadata(found, metadata)))

        changed = (await self._insist(path, change)).stat
        assert changed is not None
        return changed

    # --- staging

    async def stage(self, target: FolderPath, expected_size: int | None) -> IStagedFile:
        with self.faults():
            await self.check_container(self._container)
        return self._new_stage()

    def _new_stage(self) -> AzureStagedFile:
        return AzureStagedFile(self, self._container, new_token())

    async def resume(self, token: str, keep: int | None = None) -> IStagedFile:
        with self.faults():
            return await self._stages.resume(token, keep)

    async def stages(self) -> Sequence[tuple[str, FileStat]]:
        with self.faults():
            found = {token: self.facts(blob) for token, blob in await self._stages.sizes()}
        now = round(self._container.transport.now() * 10**9)
        for token, staged in self.volume.open_stages.get(self._container.name, {}).items():
            empty = FileStat(FileType.FILE, 0, self.volume.settings.file_mode, 0, 0, now, now, token)
            found[token] = found.get(token, empty)._replace(size=staged.size)
        return list(found.items())

    async def join(self, target: FolderPath, tokens: Sequence[str]) -> IStagedFile:
        with self.faults():
            return await self._stages.join(tokens, self._new_stage)

    # --- more

    async def copy_file(self, source: FolderPath, folder: IFolder, target: FolderPath, expect: Expect) -> Published:
        if not isinstance(folder, AzureBlobFolder) or folder.volume is not self.volume:
            raise Unsupported("copying to another volume")
        with self.faults(source):
            original = await self._find(source)
        if original.is_dir:
            raise IsADirectory(source)
        with folder.faults(target):
            return await uninterrupted(self._copy(original, folder, target, expect))

    async def _copy(self, original: Blob, folder: AzureBlobFolder, target: FolderPath, expect: Expect) -> Published:
        there = folder._container

        async def copy(name: str, metadata: Mapping[str, str], condition: Mapping[str, str]) -> Blob:
            return await transplant((self._container, original), there, name, metadata, condition)

        facts = self.facts(original)
        metadata = with_attrs(original.lasting, Attrs(facts.mode, facts.mtime_ns, facts.atime_ns))
        return folder.published(*await publish(there, target, expect, uuid4().hex, metadata, copy))

    async def walk_usage(self, path: FolderPath, progress: Callable[[int], Awaitable[None]] | None = None) -> TreeUsage:
        with self.faults(path):
            if not (await self._find(path)).is_dir:
                raise NotADirectory(path)
            prefix = "" if path.is_root else f"{blob_name(path)}/"
            counter = Counter(prefix)
            told = 0
            async for blob in walk(self._container, prefix, self.volume.calls):
                counter.add(blob)
                if progress is not None and counter.usage.total.files >= told + TELL_AFTER:
                    told = counter.usage.total.files
                    await progress(told)
            return counter.usage

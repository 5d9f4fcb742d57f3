"""The memory volume and the plugin that makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from pydantic import ByteSize
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from vfgateway.abilities import IDescriptions, IFastClone, IFastUsage, ISnapshots
from vfgateway.backends.memory.folder import MemoryFolder
from vfgateway.backends.memory.tree import Inodes, Node, Tree, descend
from vfgateway.errors import AlreadyExists, NoSpace, NotFound, QuotaScopeExists, VFolderExists, VFolderNotFound
from vfgateway.interfaces import IFolder, IVolume, IVolumeFactory
from vfgateway.model import (
    Actor,
    FileType,
    FolderOptions,
    Health,
    HealthState,
    NameRules,
    QuotaScopeId,
    Snapshot,
    Space,
    Usage,
    VFolderId,
)
from vfgateway.paths import checked_label
from vfgateway.readonly import ReadOnlyFolder
from vfgateway.section import Section

if TYPE_CHECKING:
    from vfgateway.runtime import Runtime

#: Bytes that a volume holds unless told otherwise: enough for tests, too little to take a machine down.
USUAL_CAPACITY = 1 << 30
#: What SMB servers refuse in names.
SMB_FORBIDDEN = frozenset('\\:*?"<>|' + "".join(map(chr, range(32))))


@attrs.frozen(eq=False)
class _Picture:
    """A snapshot: what is told of it, and what it holds."""

    facts: Snapshot
    tree: Tree


@implementer(IVolume, IFastClone, IFastUsage, IDescriptions, ISnapshots)
class MemoryVolume:
    """A volume in memory.

    :param clock: gives files their times
    :param capacity: bytes after which writes raise ``NoSpace``
    :param case_folding: make ``a`` and ``A`` one name, as SMB does
    :param forbidden: characters that names may not hold (:data:`SMB_FORBIDDEN` for a double of SMB)
    """

    backend = "memory"

    def __init__(
        self,
        name: str,
        clock: IReactorTime,
        *,
        capacity: int | None = None,
        case_folding: bool = False,
        forbidden: frozenset[str] = frozenset(),
        file_mode: int = 0o640,
        dir_mode: int = 0o750,
    ) -> None:
        self.name = name
        self.path = f"memory:{name}"
        self.names = NameRules(case_folding=case_folding, forbidden=forbidden)
        self.shared = False  # nobody else can reach it
        self._inodes = Inodes(clock, USUAL_CAPACITY if capacity is None else capacity, file_mode, dir_mode)
        self._trees: dict[VFolderId, Tree] = {}
        self._scopes: set[QuotaScopeId] = set()
        self._descriptions: dict[VFolderId, bytes] = {}
        self._snapshots: dict[VFolderId, dict[str, _Picture]] = {}

    async def start(self) -> None:
        """Nothing to reach."""

    async def stop(self) -> None:
        """Content stays, so that a test can look at it."""

    async def health(self) -> Health:
        return Health(HealthState.HEALTHY)

    async def space(self) -> Space:
        inodes = self._inodes
        return Space(inodes.capacity, inodes.used, inodes.capacity - inodes.used)

    async def create_folder(self, vfid: VFolderId, options: FolderOptions) -> None:
        if vfid in self._trees:
            raise VFolderExists(vfid)
        self._add_tree(vfid, self._inodes.make(FileType.DIRECTORY, Actor(), options.mode))

    async def delete_folder(self, vfid: VFolderId) -> None:
        tree = self._trees.pop(vfid, None)
        self._descriptions.pop(vfid, None)
        for picture in self._snapshots.pop(vfid, {}).values():
            self._inodes.drop_tree(picture.tree.root)
        if tree is not None:
            self._inodes.drop_tree(tree.root)
            for node in tree.stages.values():
                self._inodes.unlinked(node)
            tree.stages.clear()

    async def folder(self, vfid: VFolderId, actor: Actor) -> IFolder:
        self.tree(vfid)
        return MemoryFolder(self, vfid, actor)

    async def folders(self) -> Sequence[VFolderId]:
        return list(self._trees)

    async def create_scope(self, scope: QuotaScopeId) -> None:
        if scope in self._scopes:
            raise QuotaScopeExists(scope)
        self._scopes.add(scope)

    async def has_scope(self, scope: QuotaScopeId) -> bool:
        return scope in self._scopes

    async def fast_usage(self, vfid: VFolderId) -> Usage:
        return self.tree(vfid).usage()

    async def clone_folder(self, source: VFolderId, target: VFolderId) -> None:
        original = self.tree(source)
        if target in self._trees:
            raise VFolderExists(target)
        self._add_tree(target, self._copy(original.root))

    async def describe(self, vfid: VFolderId, text: bytes) -> None:
        self.tree(vfid)
        self._descriptions[vfid] = text

    async def description(self, vfid: VFolderId) -> bytes | None:
        return self._descriptions.get(vfid)

    async def snapshot(self, vfid: VFolderId, label: str) -> Snapshot:
        original, taken = self.tree(vfid), self._snapshots.setdefault(vfid, {})
        if checked_label(label) in taken:
            raise AlreadyExists(label)
        created = Snapshot(label, self._inodes.now() / 1e9)
        taken[label] = _Picture(created, Tree(self._inodes, self.names, self._copy(original.root)))
        return created

    async def snapshots(self, vfid: VFolderId) -> Sequence[Snapshot]:
        self.tree(vfid)
        return [picture.facts for picture in self._snapshots.get(vfid, {}).values()]

    async def drop_snapshot(self, vfid: VFolderId, label: str) -> None:
        self._inodes.drop_tree(self.tree(vfid, label).root)
        del self._snapshots[vfid][label]

    async def open_snapshot(self, vfid: VFolderId, label: str) -> IFolder:
        self.tree(vfid, label)
        return ReadOnlyFolder(MemoryFolder(self, vfid, Actor(), label))

    def _copy(self, top: Node) -> Node:
        """``top`` and all below it anew; files with several names keep them. ``NoSpace`` leaves nothing."""
        copies: dict[int, Node] = {}
        try:
            for node in [top, *(node for _, node in descend(top))]:
                if node.number in copies:
                    copies[node.number].nlink += 1
                else:
                    copies[node.number] = self._copy_node(node)
        except NoSpace:
            self._inodes.used -= sum(len(copy.data) for copy in copies.values())
            raise
        for node in [top, *(node for _, node in descend(top) if node.is_dir)]:
            copies[node.number].entries = {
                key: (name, copies[child.number]) for key, (name, child) in node.entries.items()
            }
        return copies[top.number]

    def _copy_node(self, node: Node) -> Node:
        copy = self._inodes.make(node.type, Actor(uid=node.uid, gid=node.gid), node.mode, node.target)
        self._inodes.write(copy, 0, [node.data])
        copy.attributes = dict(node.attributes)
        copy.mtime_ns, copy.atime_ns = node.mtime_ns, node.atime_ns
        return copy

    def _add_tree(self, vfid: VFolderId, root: Node) -> None:
        if vfid.scope is not None:
            self._scopes.add(vfid.scope)
        self._trees[vfid] = Tree(self._inodes, self.names, root)

    def tree(self, vfid: VFolderId, label: str | None = None) -> Tree:
        """The content of a vfolder, or of a snapshot of it. ``VFolderNotFound``, ``NotFound``."""
        tree = self._trees.get(vfid)
        if tree is None:
            raise VFolderNotFound(vfid)
        if label is None:
            return tree
        picture = self._snapshots.get(vfid, {}).get(label)
        if picture is None:
            raise NotFound(label, f"no such snapshot: {label}")
        return picture.tree


class MemorySettings(Section):
    """``[volumes.NAME]`` with ``backend = "memory"``.

    :ivar capacity: bytes that all its files may have together
    :ivar case_folding: names that differ in the case of letters alone are the same, as on Windows
    """

    capacity: ByteSize = ByteSize(USUAL_CAPACITY)
    case_folding: bool = False


@implementer(IVolumeFactory)
class MemoryVolumeFactory:
    """Makes memory volumes."""

    name = "memory"
    summary = "in memory: for tests and demonstrations, gone with the process"

    def configure(self, name: str, settings: Mapping[str, Any], runtime: Runtime) -> IVolume:
        checked = MemorySettings.model_validate(settings)
        return MemoryVolume(name, runtime.reactor, capacity=int(checked.capacity), case_folding=checked.case_folding)

"""Inodes, directories and the resolution of paths, in memory; the disk's behaviour without a disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count

import attrs
from twisted.internet.interfaces import IReactorTime

from vfgateway.errors import InvalidPath, LeavesFolder, NameTooLong, NoSpace, NotADirectory, NotFound, PathError
from vfgateway.interfaces import type_chunk
from vfgateway.model import Actor, FileStat, FileType, NameRules, Usage
from vfgateway.paths import FolderPath

#: Links followed before resolution gives up, as in the Linux kernel.
MOST_LINKS = 40
#: The name at the top of a vfolder under which disks keep stages; hidden here too, so that all volumes answer alike.
STAGING = ".upload"


@attrs.define(eq=False)
class Node:
    """One inode.

    :ivar version: counts changes of content and of attributes, so that the identity changes even if the clock stands still
    :ivar entries: of a directory: folded name to (name as written, inode)
    :ivar users: open files; the content of an unlinked inode is given back when the last one lets go
    """

    type: FileType
    number: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int
    atime_ns: int
    nlink: int = 1
    version: int = 0
    users: int = 0
    data: bytearray = attrs.field(factory=bytearray, repr=False)
    entries: dict[str, tuple[str, Node]] = attrs.field(factory=dict, repr=False)
    target: str | None = None
    attributes: dict[str, bytes] = attrs.field(factory=dict)

    @property
    def is_dir(self) -> bool:
        return self.type is FileType.DIRECTORY

    @property
    def is_file(self) -> bool:
        return self.type is FileType.FILE

    def stat(self) -> FileStat:
        """The facts now."""
        size = len(self.data)
        return FileStat(
            type=self.type,
            size=size,
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            mtime_ns=self.mtime_ns,
            ctime_ns=self.ctime_ns,
            identity=f"{self.number:x}-{self.version:x}-{size:x}",
            atime_ns=self.atime_ns,
            nlink=self.nlink,
            target=self.target,
        )


class Inodes:
    """Makes inodes, keeps their time stamps, and accounts for the bytes that they hold.

    :param capacity: bytes that all files together may hold
    """

    def __init__(self, clock: IReactorTime, capacity: int, file_mode: int, dir_mode: int) -> None:
        self._clock = clock
        self._numbers = count(1)
        self.capacity = capacity
        self.used = 0
        self.file_mode = file_mode
        self.dir_mode = dir_mode

    def make(self, kind: FileType, actor: Actor, mode: int | None = None, target: str | None = None) -> Node:
        """A new inode, not yet in any directory."""
        usual = {FileType.FILE: self.file_mode, FileType.DIRECTORY: self.dir_mode}.get(kind, 0o777)
        now = self.now()
        return Node(
            kind,
            next(self._numbers),
            usual if mode is None else mode,
            actor.uid or 0,
            actor.gid or 0,
            now,
            now,
            now,
            target=target,
        )

    def now(self) -> int:
        """Epoch nanoseconds by the volume's clock."""
        return round(self._clock.seconds() * 1e9)

    def changed(self, node: Node, content: bool = False) -> None:
        """Note a change of attributes, or of content as well."""
        node.version += 1
        node.ctime_ns = self.now()
        if content:
            node.mtime_ns = node.ctime_ns

    def write(self, node: Node, offset: int, chunks: Sequence[type_chunk]) -> int:
        """Put all chunks at ``offset``, zeros into a gap; the bytes written. ``NoSpace`` changes nothing."""
        content = b"".join(chunks)
        if content:
            end = offset + len(content)
            if end > len(node.data):
                self.resize(node, end)
            node.data[offset:end] = content
            self.changed(node, content=True)
        return len(content)

    def resize(self, node: Node, size: int) -> None:
        """Cut or extend with zeros."""
        grown = size - len(node.data)
        if self.used + grown > self.capacity:
            raise NoSpace
        self.used += grown
        if grown < 0:
            del node.data[size:]
        else:
            node.data.extend(bytes(grown))
        self.changed(node, content=True)

    def unlinked(self, node: Node) -> None:
        """One name of ``node`` is gone."""
        node.nlink -= 1
        self.changed(node)
        self._forget(node)

    def released(self, node: Node) -> None:
        """One open file on ``node`` was closed."""
        node.users -= 1
        self._forget(node)

    def _forget(self, node: Node) -> None:
        if node.nlink == 0 and node.users == 0:
            self.used -= len(node.data)
            node.data = bytearray()

    def drop_tree(self, top: Node) -> None:
        """Take all names below ``top`` away."""
        for node in [node for _, node in descend(top)]:
            self.unlinked(node)
        top.entries = {}


@attrs.define(eq=False)
class Tree:
    """One vfolder: its root and its stages by token."""

    inodes: Inodes
    names: NameRules
    root: Node
    stages: dict[str, Node] = attrs.field(factory=dict)

    def hidden(self, path: FolderPath) -> bool:
        """Whether ``path`` lies where disks keep stages."""
        return bool(path.parts) and self.names.fold(path.parts[0]) == STAGING

    def find(self, path: FolderPath, follow: bool, through: type[PathError] = NotFound) -> Node:
        """The inode at ``path`` for reading: links on the way are followed if they stay inside, the last one with ``follow``.

        A path through something that is not a directory raises ``through``.
        """
        if self.hidden(path):
            raise NotFound(path)
        return self._walk(path, follow, True, through)

    def place(self, path: FolderPath, through: type[PathError] = NotADirectory) -> Node:
        """The directory that holds, or is to hold, ``path``, for writing: no link is traversed."""
        if self.hidden(path):
            raise NotFound(path) if through is NotFound else InvalidPath(path, f"a reserved name: {path}")
        parent = self._walk(path.parent, True, False, through)
        if not parent.is_dir:
            raise through(path)
        return parent

    def entry(self, parent: Node, path: FolderPath) -> Node | None:
        """What stands at ``path``, whose directory is ``parent``."""
        found = parent.entries.get(self.names.fold(path.name))
        return found[1] if found else None

    def put(self, parent: Node, path: FolderPath, node: Node) -> None:
        """Give ``node`` the name ``path``; what had it before must be unlinked by the caller."""
        self.check_name(path)
        parent.entries[self.names.fold(path.name)] = (path.name, node)
        self.inodes.changed(parent, content=True)

    def take(self, parent: Node, path: FolderPath) -> None:
        """Take the name ``path`` away, leaving the inode's link count alone."""
        del parent.entries[self.names.fold(path.name)]
        self.inodes.changed(parent, content=True)

    def check_name(self, path: FolderPath) -> None:
        """Refuse a name that this storage cannot keep."""
        if len(path.name.encode("utf-8", "surrogateescape")) > self.names.longest:
            raise NameTooLong(path)
        if not self.names.allows(path.name):
            raise InvalidPath(path)

    def usage(self) -> Usage:
        """Bytes of every inode once, names counted, stages included."""
        seen: dict[int, int] = {}
        files = 0
        for node in [*(node for _, node in descend(self.root)), *self.stages.values()]:
            files += 1
            seen[node.number] = len(node.data)
        return Usage(sum(seen.values()), files)

    def _walk(self, path: FolderPath, follow: bool, links: bool, through: type[PathError]) -> Node:
        left = deque(path.parts)
        stack = [self.root]
        followed = 0
        while left:
            name = left.popleft()
            if not stack[-1].is_dir:
                raise through(path)
            if name in ("", "."):
                continue
            if name == "..":
                if len(stack) == 1:
                    raise LeavesFolder(path)
                stack.pop()
                continue
            found = stack[-1].entries.get(self.names.fold(name))
            if found is None:
                raise NotFound(path)
            node = found[1]
            if node.target is not None and (left or follow):
                followed += 1
                if not links or node.target.startswith("/") or followed > MOST_LINKS:
                    raise LeavesFolder(path)
                left.extendleft(reversed(node.target.split("/")))
            else:
                stack.append(node)
        return stack[-1]


def descend(top: Node) -> Iterator[tuple[FolderPath, Node]]:
    """Every name below ``top`` with its inode, parents first; an inode with two names comes twice."""
    waiting = [(FolderPath(), top)]
    while waiting:
        path, here = waiting.pop()
        for name, node in list(here.entries.values()):
            below = FolderPath((*path.parts, name))
            yield below, node
            if node.is_dir:
                waiting.append((below, node))

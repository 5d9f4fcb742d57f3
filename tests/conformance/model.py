"""A vfolder in plain Python: dictionaries, byte arrays and a few rules, to compare implementations with.

Every operation either changes the model and returns nothing, or raises the error that an implementation must raise.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from vfgateway.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    InvalidPath,
    IsADirectory,
    LeavesFolder,
    NotADirectory,
    NotFound,
    PathError,
)
from vfgateway.paths import FolderPath


@attrs.define(eq=False)
class File:
    """A file; two names share one of these."""

    content: bytes = b""


@attrs.frozen
class Link:
    target: str


@attrs.define(eq=False)
class Dir:
    entries: dict[str, Node] = attrs.Factory(dict)


Node: TypeAlias = File | Link | Dir


class Model:
    """The expected state of one vfolder."""

    def __init__(self) -> None:
        self.root = Dir()

    # --- finding

    def find(self, path: FolderPath, follow: bool = True) -> Node:
        """What a reader reaches."""
        return self._resolve(list(path.parts), follow)

    def _resolve(self, parts: list[str], follow: bool) -> Node:
        trail: list[Dir] = [self.root]
        followed = 0
        while parts:
            name, *parts = parts
            if name == "..":
                if len(trail) == 1:
                    raise LeavesFolder
                trail.pop()
                continue
            node = trail[-1].entries.get(name)
            if node is None:
                raise NotFound
            if isinstance(node, Link) and (parts or follow):
                followed += 1
                if node.target.startswith("/") or followed > 40:
                    raise LeavesFolder
                parts = [part for part in node.target.split("/") if part not in ("", ".")] + parts
            elif isinstance(node, Dir):
                trail.append(node)
            elif parts:
                raise NotFound
            else:
                return node
        return trail[-1]

    def place(self, path: FolderPath, through: type[PathError] = NotADirectory) -> dict[str, Node]:
        """The directory whose entries a writer changes."""
        here = self.root
        for name in path.parts[:-1]:
            node = here.entries.get(name)
            if node is None:
                raise NotFound
            if isinstance(node, Link):
                raise LeavesFolder
            if isinstance(node, File):
                raise through
            here = node
        return here.entries

    # --- changing

    def make(self, path: FolderPath, node: Node) -> None:
        entries = self.place(path)
        if path.name in entries:
            raise AlreadyExists
        entries[path.name] = node

    def put(self, path: FolderPath, content: bytes, absent: bool) -> None:
        entries = self.place(path)
        there = entries.get(path.name)
        if absent and there is not None:
            raise AlreadyExists
        if isinstance(there, Dir):
            raise IsADirectory
        entries[path.name] = File(content)

    def write(self, path: FolderPath, offset: int, content: bytes) -> None:
        """Open with ``CREATE`` and write at an offset."""
        entries = self.place(path)
        there = entries.get(path.name)
        if isinstance(there, Dir):
            raise IsADirectory
        if isinstance(there, Link):
            raise LeavesFolder
        if there is None:
            there = entries[path.name] = File()
        if content:
            kept = there.content.ljust(offset, b"\0")
            there.content = kept[:offset] + content + kept[offset + len(content) :]

    def truncate(self, path: FolderPath, size: int) -> None:
        """Open what is there and cut or extend it."""
        there = self.place(path, NotFound).get(path.name)
        if there is None:
            raise NotFound
        if isinstance(there, Dir):
            raise IsADirectory
        if isinstance(there, Link):
            raise LeavesFolder
        there.content = there.content[:size].ljust(size, b"\0")

    def hard_link(self, source: FolderPath, target: FolderPath) -> None:
        node = self.place(source, NotFound).get(source.name)
        if node is None:
            raise NotFound
        if isinstance(node, Dir):
            raise IsADirectory
        self.make(target, node)

    def remove(self, path: FolderPath) -> None:
        entries = self.place(path, NotFound)
        there = entries.get(path.name)
        if there is None:
            raise NotFound
        if isinstance(there, Dir):
            raise IsADirectory
        del entries[path.name]

    def remove_dir(self, path: FolderPath) -> None:
        entries = self.place(path, NotFound)
        there = entries.get(path.name)
        if there is None:
            raise NotFound
        if not isinstance(there, Dir):
            raise NotADirectory
        if there.entries:
            raise DirectoryNotEmpty
        del entries[path.name]

    def rename(self, source: FolderPath, target: FolderPath, absent: bool) -> None:
        old = self.place(source, NotFound)
        node = old.get(source.name)
        if node is None:
            raise NotFound
        new = self.place(target)
        if source == target:
            return
        if isinstance(node, Dir) and target.within(source):
            raise InvalidPath
        there = new.get(target.name)
        if absent and there is not None:
            raise AlreadyExists
        if isinstance(there, Dir):
            if not isinstance(node, Dir):
                raise IsADirectory
            if there.entries:
                raise DirectoryNotEmpty
        elif there is not None and isinstance(node, Dir):
            raise NotADirectory
        del old[source.name]
        new[target.name] = node

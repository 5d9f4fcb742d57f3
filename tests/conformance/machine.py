"""Drives any vfolder with random operations and compares it with :mod:`.model` after each. Quickest where the volume under test
answers without the reactor (:class:`~vfgateway.blocking.InlinePool`)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest_twisted
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from twisted.python.failure import Failure

from tests.conformance.harness import WRITE, WRITE_NEW, Able, content_of, new_folder, put
from tests.conformance.model import Dir, File, Link, Model, Node
from tests.support.deadline import DEADLINE
from vfgateway.errors import GatewayError
from vfgateway.interfaces import IFolder, IVolume
from vfgateway.model import ABSENT, ANY, FileType
from vfgateway.paths import ROOT, FolderPath

T = TypeVar("T")


def paths(names: Sequence[str]) -> st.SearchStrategy[FolderPath]:
    """Short paths from few names, so that operations meet each other."""
    name = st.sampled_from(names)
    return st.integers(1, 6).flatmap(lambda roll: st.tuples(*[name] * {1: 3, 2: 2, 3: 2}.get(roll, 1)).map(FolderPath))


LIKELY = st.sampled_from([True, True, True, False])
TARGETS = st.sampled_from(["a", "b", "a/b", "../a", "..", ".", "./a/../b", "/etc/passwd", "a/b/a", "../../.."])
CONTENTS = st.binary(max_size=12)


def now(waiting: Coroutine[Any, Any, T]) -> T:
    """The outcome of a coroutine. Those of most volumes under test wait for nothing; for others the reactor runs meanwhile."""
    outcome: list[Any] = []
    running = DEADLINE.keep(waiting).addBoth(outcome.append)
    if not outcome:
        pytest_twisted.blockon(running)
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    result: T = outcome[0]
    return result


class FolderMachine(RuleBasedStateMachine):
    """Subclass it and say how a volume is made."""

    stages = Bundle("stages")
    #: What entries are called.
    names: ClassVar[Sequence[str]] = ("a", "b", "\udcff")

    def make_volume(self, directory: Path) -> IVolume:
        """A volume that holds nothing; ``directory`` is empty and removed at the end."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="vfgateway-machine-"))
        self.volume = self.make_volume(self.directory)
        now(self.volume.start())
        self.folder: Able = now(new_folder(self.volume))
        self.model = Model()
        self.staged: dict[str, bytes] = {}

    def teardown(self) -> None:
        now(self.volume.stop())
        shutil.rmtree(self.directory)

    def both(self, real: Coroutine[Any, Any, T], expected: Callable[[], object]) -> T | None:
        """Do it to both, and demand the same outcome."""
        try:
            expected()
        except GatewayError as error:
            refusal = type(error)
            try:
                now(real)
            except refusal:
                return None
            except GatewayError as other:
                raise AssertionError(f"expected {refusal.__name__}, got {other!r}") from other
            raise AssertionError(f"expected {refusal.__name__}, got success") from None
        return now(real)

    def somewhere(self, data: st.DataObject) -> FolderPath:
        """A path that exists, unless by chance it does not."""
        there = sorted(_paths(self.model.root, ROOT))
        if data.draw(LIKELY) and there:
            return data.draw(st.sampled_from(there))
        return data.draw(paths(self.names))

    def anywhere(self, data: st.DataObject) -> FolderPath:
        """A path that can exist, in a directory that does, or under a file or a link."""
        if not data.draw(LIKELY):
            return self.somewhere(data)
        parents = [path for path in [ROOT, *sorted(_paths(self.model.root, ROOT))] if len(path.parts) < 3]
        return data.draw(st.sampled_from(parents)).child(data.draw(st.sampled_from(self.names)))

    @initialize()
    def furnish(self) -> None:
        """Begin with something to work on."""
        for top in (FolderPath(("a",)), FolderPath(("b",))):
            now(self.folder.make_dir(top))
            self.model.make(top, Dir())
            now(put(self.folder, top.child("a"), b"1"))
            self.model.put(top.child("a"), b"1", True)

    # --- what may happen

    @rule(data=st.data())
    def make_dir(self, data: st.DataObject) -> None:
        path = self.anywhere(data)
        self.both(self.folder.make_dir(path), lambda: self.model.make(path, Dir()))

    @rule(data=st.data(), points_to=TARGETS)
    def make_link(self, data: st.DataObject, points_to: str) -> None:
        path = self.anywhere(data)
        self.both(self.folder.make_link(path, points_to), lambda: self.model.make(path, Link(points_to)))

    @rule(data=st.data())
    def hard_link(self, data: st.DataObject) -> None:
        source, path = self.somewhere(data), self.anywhere(data)
        self.both(self.folder.hard_link(source, path), lambda: self.model.hard_link(source, path))

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        path = self.somewhere(data)
        self.both(self.folder.remove(path, ANY), lambda: self.model.remove(path))

    @rule(data=st.data())
    def remove_dir(self, data: st.DataObject) -> None:
        path = self.somewhere(data)
        self.both(self.folder.remove_dir(path), lambda: self.model.remove_dir(path))

    @rule(data=st.data(), absent=st.booleans())
    def rename(self, data: st.DataObject, absent: bool) -> None:
        self._rename(self.somewhere(data), self.anywhere(data), absent)

    @rule(data=st.data())
    def rename_over(self, data: st.DataObject) -> None:
        self._rename(self.somewhere(data), self.somewhere(data), False)

    def _rename(self, source: FolderPath, path: FolderPath, absent: bool) -> None:
        expect = ABSENT if absent else ANY
        self.both(self.folder.rename(source, path, expect), lambda: self.model.rename(source, path, absent))

    @rule(data=st.data(), offset=st.integers(0, 20), content=CONTENTS)
    def write(self, data: st.DataObject, offset: int, content: bytes) -> None:
        path = self.anywhere(data)

        async def write() -> None:
            file = await self.folder.open(path, WRITE_NEW)
            await file.write(offset, [content[:5], content[5:]])
            await file.close()

        self.both(write(), lambda: self.model.write(path, offset, content))

    @rule(data=st.data(), size=st.integers(0, 20))
    def truncate(self, data: st.DataObject, size: int) -> None:
        path = self.somewhere(data)

        async def truncate() -> None:
            file = await self.folder.open(path, WRITE)
            await file.truncate(size)
            await file.close()

        self.both(truncate(), lambda: self.model.truncate(path, size))

    # --- stages

    @rule(target=stages, data=st.data(), content=CONTENTS)
    def stage(self, data: st.DataObject, content: bytes) -> str:
        path = self.anywhere(data)
        staged = now(self.folder.stage(path, len(content)))
        now(staged.append([content]))
        now(staged.close())
        self.staged[staged.token] = content
        return str(staged.token)

    @rule(token=stages, content=CONTENTS, keep=st.integers(0, 12))
    def go_on(self, token: str, content: bytes, keep: int) -> None:
        if token in self.staged:
            keep = min(keep, len(self.staged[token]))
            staged = now(self.folder.resume(token, keep))
            now(staged.append([content]))
            now(staged.close())
            self.staged[token] = self.staged[token][:keep] + content

    @rule(token=stages, data=st.data(), absent=st.booleans())
    def commit(self, token: str, data: st.DataObject, absent: bool) -> None:
        path = self.anywhere(data)
        if token not in self.staged:
            return
        content = self.staged[token]
        staged = now(self.folder.resume(token))
        expect = ABSENT if absent else ANY
        if self.both(staged.commit(path, expect), lambda: self.model.put(path, content, absent)) is not None:
            del self.staged[token]
        now(staged.close())

    @rule(token=consumes(stages))
    def discard(self, token: str) -> None:
        if token in self.staged:
            now(now(self.folder.resume(token)).discard())
            del self.staged[token]

    @rule(first=stages, second=stages, data=st.data())
    def join(self, first: str, second: str, data: st.DataObject) -> None:
        path = self.anywhere(data)
        if {first, second} <= self.staged.keys():
            content = self.staged[first] + self.staged[second]
            staged = now(self.folder.join(path, [first, second]))
            self.both(staged.commit(path, ANY), lambda: self.model.put(path, content, False))
            now(staged.discard())

    # --- reading

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        path = self.somewhere(data)

        def expected() -> None:
            found = self.model.find(path)
            if isinstance(found, Dir):
                now(self.folder.open_dir(path))
            elif isinstance(found, File):
                assert now(content_of(self.folder, path)) == found.content

        self.both(self.folder.stat(path, follow=True), expected)

    @invariant()
    def agrees(self) -> None:
        """The whole tree is what the model says, seen through listings."""
        assert _picture(now(_walk(self.folder, ROOT))) == _picture(self.model.root)
        assert {token: stat.size for token, stat in now(self.folder.stages())} == {
            token: len(content) for token, content in self.staged.items()
        }


def _paths(top: Dir, path: FolderPath) -> Iterator[FolderPath]:
    for name, node in top.entries.items():
        below = FolderPath((*path.parts, name))
        yield below
        if isinstance(node, Dir):
            yield from _paths(node, below)


async def _walk(folder: IFolder, path: FolderPath) -> Node:
    listing = await folder.open_dir(path)
    found = Dir()
    while batch := await listing.read(3):
        for entry in batch:
            below = FolderPath((*path.parts, entry.name))
            if entry.stat.type is FileType.DIRECTORY:
                found.entries[entry.name] = await _walk(folder, below)
            elif entry.stat.target is not None:
                found.entries[entry.name] = Link(entry.stat.target)
            else:
                content = await content_of(folder, below)
                assert entry.stat.size == len(content)
                found.entries[entry.name] = File(content)
    await listing.close()
    return found


def _picture(node: Node) -> object:
    if isinstance(node, Dir):
        return {name: _picture(child) for name, child in node.entries.items()}
    return node.content if isinstance(node, File) else node

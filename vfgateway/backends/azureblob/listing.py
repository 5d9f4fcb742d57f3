"""Directories, page by page."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager

from zope.interface import implementer

from vfgateway.backends.azureblob.container import Container, Page, parse_page
from vfgateway.backends.azureblob.facts import Blob
from vfgateway.backends.azureblob.names import STAGING, file_name
from vfgateway.backends.azureblob.together import Shared
from vfgateway.blocking import Pool
from vfgateway.errors import StorageFailure
from vfgateway.interfaces import IDirectory
from vfgateway.model import DirEntry, FileStat

#: Names in a page: the most that the storage gives at once.
PAGE = 5000


async def walk(container: Container, prefix: str, pool: Pool | None = None) -> AsyncIterator[Blob]:
    """Every blob whose name begins with ``prefix``.

    :param pool: where pages are read that may be long
    """
    marker = ""
    while True:
        body = (await container.list(prefix, marker=marker, most=PAGE)).body
        page = parse_page(body) if pool is None else await pool.run(parse_page, body)
        for blob in page.blobs:
            yield blob
        marker = page.marker
        if not marker:
            return


@implementer(IDirectory)
class AzureDirectory:
    """A listing. The next page is fetched while one is being read.

    :param top: the directory's name as a blob, ``""`` for the root
    :param stat: makes facts of what the storage says
    :param faults: translates what it refuses
    """

    def __init__(
        self,
        container: Container,
        top: str,
        pool: Pool,
        stat: Callable[[Blob], FileStat],
        faults: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._container = container
        self._prefix = f"{top}/" if top else ""
        self._pool = pool
        self._stat = stat
        self._faults = faults
        self._left: deque[Blob] = deque()
        self._marked: set[str] = set()
        self._closed = False
        self._next: Shared[Page] | None = Shared(self._fetch(""))
        self._seen = False

    async def _fetch(self, marker: str) -> Page:
        answer = await self._container.list(self._prefix, "/", marker, PAGE)
        return await self._pool.run(parse_page, answer.body)

    async def exists(self) -> bool:
        """Whether there is anything below: where there is no marker, that alone makes it a directory."""
        with self._faults():
            while not self._seen and self._next is not None:
                await self._turn()
        return self._seen

    async def _turn(self) -> None:
        """Take the next page in."""
        waiting, self._next = self._next, None
        assert waiting is not None
        try:
            page = await waiting.get()
        except BaseException:
            self._next = waiting  # whoever asks again gets the same answer
            raise
        if page.marker:
            self._next = Shared(self._fetch(page.marker))
        self._seen = self._seen or bool(page.blobs or page.prefixes)
        self._left.extend(self._merged(page))

    def _merged(self, page: Page) -> Sequence[Blob]:
        """Each name once: a directory shows by its marker, by what is below it, or by both, which may lie pages apart."""
        found = []
        for blob in page.blobs:
            if blob.name != self._prefix:
                found.append(blob)
                self._marked.add(blob.name)
        for prefix in page.prefixes:
            name = prefix[:-1]
            if name in self._marked:
                self._marked.discard(name)
            elif self._prefix or name != STAGING:
                found.append(Blob(name, implied=True))
        last = max((blob.name for blob in page.blobs), default="")
        self._marked = {name for name in self._marked if f"{name}/" > last}
        return found

    async def read(self, limit: int) -> Sequence[DirEntry]:
        if self._closed:
            raise StorageFailure("the listing is closed")
        batch: list[DirEntry] = []
        with self._faults():
            while not batch and (self._left or self._next is not None):
                if not self._left:
                    await self._turn()
                while self._left and len(batch) < limit:
                    blob = self._left.popleft()
                    name = file_name(blob.name[len(self._prefix) :])
                    if name is not None:
                        batch.append(DirEntry(name, self._stat(blob)))
        return batch

    async def close(self) -> None:
        self._closed = True
        self._left.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

"""A mirror that is kept by ``sync-collection`` alone equals the truth, whatever happens by whichever door."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, gatherResults

from tests.support.mirror import Mirror, truth
from tests.support.webdav import Dav, webdav
from vfgateway.errors import GatewayError
from vfgateway.model import Attrs, OpenMode
from vfgateway.paths import parse_text
from vfgateway.services.session import FolderSession

names = st.sampled_from(["a", "b", "c d"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
content = st.binary(min_size=0, max_size=3)

type_work = Callable[[Dav], Awaitable[Any]]


def ask(method: str, path: str, body: bytes | None = None, to: str | None = None, **fields: str) -> type_work:
    """A request of one session."""
    if to is not None:
        fields["Destination"] = "/data/" + to.replace(" ", "%20")
    return lambda dav: dav.ask(method, "/data/" + path.replace(" ", "%20"), body, **fields)


def do(verb: Callable[..., Awaitable[Any]], *arguments: Any) -> type_work:
    """A call of another session, as SFTP and HTTP make it."""

    async def call(dav: Dav) -> None:
        with suppress(GatewayError):  # there is nothing there, or something else: the random walk goes on
            await verb(dav.folder, *arguments)

    return call


async def write(folder: FolderSession, path: str, data: bytes, flags: OpenMode) -> None:
    """In place."""
    handle = await folder.open(parse_text(path), OpenMode.WRITE | flags)
    try:
        await handle.write(len(data), [data])
    finally:
        await handle.close()


async def upload(folder: FolderSession, path: str, data: bytes) -> None:
    """Whole, with the directories above it."""
    async with await folder.upload(parse_text(path), size=len(data), parents=True) as begun:
        await begun.write([data])
        await begun.commit()


async def resumable(dav: Dav, path: str, data: bytes) -> None:
    """By the staging of tus."""
    with suppress(GatewayError):
        begun = await dav.gateway.staging.begin(dav.folder, parse_text(path), size=None)
        try:
            await begun.acquire()
            await begun.write([data])
            await begun.finish()
        except BaseException:
            await begun.cancel()
            raise


async def replace(dav: Dav, path: str) -> None:
    """A collection gives way to another of its name."""
    target = parse_text(path)
    with suppress(GatewayError):
        await dav.folder.remove_tree(target)
        await dav.folder.make_dir(target)


steps = st.one_of(
    st.builds(lambda path: lambda dav: replace(dav, path), paths),
    st.builds(ask, st.just("PUT"), paths, content),
    st.builds(ask, st.sampled_from(["MKCOL", "DELETE"]), paths),
    st.builds(ask, st.sampled_from(["MOVE", "COPY"]), paths, to=paths, Overwrite=st.sampled_from("TF")),
    st.builds(ask, st.just("COPY"), paths, to=paths, Depth=st.just("0")),
    st.builds(do, st.just(write), paths, content, st.sampled_from([OpenMode(0), OpenMode.CREATE])),
    st.builds(do, st.just(upload), paths, content),
    st.builds(do, st.just(FolderSession.remove), paths.map(parse_text)),
    st.builds(do, st.just(FolderSession.remove_dir), paths.map(parse_text)),
    st.builds(do, st.just(FolderSession.remove_tree), paths.map(parse_text)),
    st.builds(do, st.just(FolderSession.rename), paths.map(parse_text), paths.map(parse_text)),
    st.builds(do, st.just(FolderSession.make_link), paths.map(parse_text), names),
    st.builds(
        do,
        st.just(FolderSession.set_attrs),
        paths.map(parse_text),
        st.builds(Attrs, mtime_ns=st.integers(1, 9).map(lambda n: n * 10**18 // 9)),
    ),
    st.builds(lambda path, data: lambda dav: resumable(dav, path, data), paths, content),
)
#: What happens at the same time, and whether everybody looks afterwards.
moments = st.tuples(st.lists(steps, min_size=1, max_size=2), st.booleans())


async def check(dav: Dav, mirror: Mirror) -> None:
    """The mirror is right."""
    await mirror.follow()
    there = await truth(dav, mirror.target, "1" if mirror.level == "1" else "infinity")
    links = {path for path in dav.root.rglob("*") if path.is_symlink()}
    hrefs = {"/data/" + str(path.relative_to(dav.root)).replace(" ", "%20") for path in links}
    assert mirror.members == {href: state for href, state in there.items() if href.rstrip("/") not in hrefs}


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=st.lists(moments, min_size=15, max_size=40), limit=st.sampled_from([None, 1, 2, 5]))
async def test_mirrors(history: list[tuple[list[type_work], bool]], limit: int | None) -> None:
    """One of everything, one of the top level; now and then they look, also while things happen."""
    with TemporaryDirectory() as folder:
        async with webdav(Path(folder), {"depth_infinity": True}, {"shared": False, "durability": "none"}) as dav:
            mirrors = [Mirror(dav, "/data/", limit=limit), Mirror(dav, "/data/", "1", limit)]
            for works, look in history:
                running = [Deferred.fromCoroutine(_run(work, dav)) for work in works]
                if look:
                    running.append(Deferred.fromCoroutine(mirrors[0].follow()))
                await gatherResults(running)
                if look:
                    for mirror in mirrors:
                        await check(dav, mirror)
            for mirror in mirrors:
                await check(dav, mirror)


async def _run(work: type_work, dav: Dav) -> None:
    await work(dav)

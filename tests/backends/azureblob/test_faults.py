"""Storage that is busy, that loses answers, that refuses, whose connections break: nothing acknowledged is lost, nothing refused is left."""

from __future__ import annotations

import random
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest
import pytest_twisted
from azure.storage.blob import ContainerClient
from twisted.internet.defer import Deferred, DeferredList

from tests.backends.azureblob.conftest import type_make
from tests.conformance.harness import Able, at, content_of, names_in, new_folder, new_vfid, put
from tests.support.azure_proxy import LOST, Asked, AzureProxy, Refusal
from tests.support.azurite import KEY, Azurite
from tests.support.relay import Relay
from vfgateway.errors import GatewayError, PreconditionFailed, VolumeUnavailable
from vfgateway.interfaces import IFolder
from vfgateway.model import ABSENT, ANY, Actor, FolderOptions, OpenMode

BUSY = Refusal(503, "ServerBusy", {"Retry-After": "1"})
REFUSED = Refusal(400, "InvalidInput")
BIG = random.Random(7).randbytes((512 << 10) + 12_345)


def changes(asked: Asked) -> bool:
    return asked.changes


def bare(azurite: Azurite, folder: Able) -> ContainerClient:
    """The vendor's own view of a vfolder."""
    return ContainerClient(azurite.url, folder._container.name, credential=KEY, api_version="2022-11-02")


def leftovers(azurite: Azurite, folder: Able) -> list[str]:
    """What lies aside, and what is under a lease."""
    blobs = list(bare(azurite, folder).list_blobs())
    return [blob.name for blob in blobs if blob.name.startswith(".upload/") or blob.lease.state == "leased"]


async def tree_of(folder: IFolder, path: str = "") -> dict[str, bytes | None]:
    """Everything below a directory by its path."""
    found: dict[str, bytes | None] = {}
    for name in await names_in(folder, path):
        whole = f"{path}/{name}" if path else name
        if (await folder.stat(at(whole))).is_dir:
            found |= {whole: None, **await tree_of(folder, whole)}
        else:
            found[whole] = await content_of(folder, whole)
    return found


async def furnish(folder: IFolder) -> None:
    await folder.make_dir(at("dir"))
    await folder.make_dir(at("dir/sub"))
    await put(folder, "dir/file", b"in the directory")
    await put(folder, "dir/sub/deep", b"deeper")
    await put(folder, "file", b"old content")


async def upload(folder: Able) -> None:
    await put(folder, "big", BIG)


async def replace(folder: Able) -> None:
    await put(folder, "file", b"new content")


async def make_dir(folder: Able) -> None:
    await folder.make_dir(at("new"))


async def move_file(folder: Able) -> None:
    await folder.rename(at("file"), at("dir/moved"), ANY)


async def move_directory(folder: Able) -> None:
    await folder.rename(at("dir"), at("moved"), ABSENT)


async def remove(folder: Able) -> None:
    await folder.remove(at("file"), ANY)


async def copy(folder: Able) -> None:
    await folder.copy_file(at("file"), folder, at("copy"), ABSENT)


BEFORE: dict[str, bytes | None] = {
    "dir": None,
    "dir/sub": None,
    "dir/file": b"in the directory",
    "dir/sub/deep": b"deeper",
    "file": b"old content",
}


def without(*names: str, **more: bytes | None) -> dict[str, bytes | None]:
    """The tree without some names, and with others."""
    kept = {name: content for name, content in BEFORE.items() if name not in names}
    return kept | {name.replace("__", "/"): content for name, content in more.items()}


#: What is done, what the tree is after it, and which of the requests that change something may go wrong on the way: one of each kind.
DEEDS: dict[Callable[[Able], Awaitable[None]], tuple[dict[str, bytes | None], Sequence[int]]] = {
    # The stage, a block, the list of blocks, the copy, and the end of the stage.
    upload: (without(big=BIG), (0, 1, 4, 5, 6)),
    replace: (without(file=b"new content"), (0,)),
    make_dir: (without(new=None), (0,)),
    # The note, its lease, the copy, the old name, and the end of the note.
    move_file: (without("file", dir__moved=b"old content"), (0, 1, 2, 3, 4)),
    # The note, its lease, the new directory, what is in it, the note again, the old names, the old directory, and the end of the note.
    move_directory: (
        {
            "file": b"old content",
            "moved": None,
            "moved/sub": None,
            "moved/file": b"in the directory",
            "moved/sub/deep": b"deeper",
        },
        (0, 1, 2, 3, 5, 6, 7, 10, 11),
    ),
    remove: (without("file"), (0,)),
    copy: (without(copy=b"old content"), (0,)),
}
CASES = [pytest.param(deed, at, id=f"{deed.__name__}-{at}") for deed, (_, places) in DEEDS.items() for at in places]


class Views:
    """One vfolder through the proxy and past it."""

    def __init__(self, through: Able, past: Able) -> None:
        self.through = through
        self.past = past


@pytest_twisted.async_fixture
async def views(make: type_make, proxy: AzureProxy) -> Views:
    past, through = await make(), await make(proxy.url)
    vfid = new_vfid()
    await past.create_folder(vfid, FolderOptions())
    views = Views(await through.folder(vfid, Actor()), await past.folder(vfid, Actor()))
    await furnish(views.past)
    return views


@pytest.mark.parametrize(("deed", "number"), CASES)
async def test_every_answer_may_be_lost(
    views: Views, azurite: Azurite, proxy: AzureProxy, deed: Able, number: int
) -> None:
    """Whichever answer to a change does not arrive, it is done once, and nothing lies about."""
    proxy.once_at(number, LOST, changes)
    await deed(views.through)
    assert proxy.met
    assert await tree_of(views.past) == DEEDS[deed][0]
    assert leftovers(azurite, views.past) == []


@pytest.mark.parametrize(("deed", "number"), CASES)
async def test_every_change_may_be_refused(
    views: Views, azurite: Azurite, proxy: AzureProxy, deed: Able, number: int
) -> None:
    """Whichever change the storage refuses, the deed is done, or it fails and nothing of it is left."""
    proxy.once_at(number, REFUSED, changes)
    try:
        await deed(views.through)
    except GatewayError:
        assert await tree_of(views.past) == BEFORE
        assert leftovers(azurite, views.past) == []
    else:
        assert await tree_of(views.past) == DEEDS[deed][0]
    assert proxy.met


async def test_busy_storage_is_waited_for_as_long_as_it_says(make: type_make, proxy: AzureProxy) -> None:
    """Throttling is no failure, and the next attempt comes no sooner than asked for."""
    folder = await new_folder(await make(proxy.url))
    proxy.once_at(0, BUSY, changes)
    await put(folder, "file", b"content")
    first, second = (asked.at for asked in proxy.asked if asked.path.endswith("/file") and asked.changes)
    assert second - first >= 1.0
    proxy.once_at(0, Refusal(429, "TooManyRequests", {"Retry-After": "0"}), lambda asked: True)
    assert await content_of(folder, "file") == b"content"


async def test_storage_that_stays_busy_is_unavailable(make: type_make, azurite: Azurite, proxy: AzureProxy) -> None:
    """That is told in time, and leaves nothing."""
    folder = await new_folder(await make(proxy.url, patience=0.5))
    staged = await folder.stage(at("big"), len(BIG))
    await staged.append([BIG[: 300 << 10]])
    proxy.rule = lambda asked: BUSY if asked.changes else None
    with pytest.raises(VolumeUnavailable, match="503 ServerBusy"):
        await staged.append([BIG[300 << 10 :]])
        await staged.commit(at("big"), ANY)
    proxy.rule = lambda asked: None
    await staged.discard()
    assert await names_in(folder) == []
    assert leftovers(azurite, folder) == []


def restoring(relay: Relay) -> None:
    """Have the line mended as soon as it is cut."""

    def restore() -> None:
        relay.happened.wait(10)
        relay.restore()

    threading.Thread(target=restore, daemon=True).start()


async def test_connections_cut_anywhere(make: type_make, azurite: Azurite) -> None:
    """What goes up and down is whole, wherever the line breaks on the way."""
    choice = random.Random(11)
    with Relay(azurite.port) as relay:
        folder = await new_folder(await make(Azurite.url_at(relay.port)))
        for number in range(3):
            for sent in (True, False):
                relay.cut_after(choice.randrange(len(BIG) if sent else 3_000), sent)
                restoring(relay)
                await put(folder, f"f{number}", BIG)
                relay.restore()
            relay.cut_after(choice.randrange(len(BIG)), False)
            restoring(relay)
            assert await content_of(folder, f"f{number}") == BIG
            relay.restore()
        assert leftovers(azurite, folder) == []


async def test_a_list_committed_twice(make: type_make) -> None:
    """An upload that two hands publish, as after a crash, is published once."""
    folder = await new_folder(await make())
    staged = await folder.stage(at("big"), None)
    await staged.append([BIG])
    await staged.close()
    one, other = await folder.resume(staged.token), await folder.resume(staged.token)
    first = await one.commit(at("big"), ANY)
    second = await other.commit(at("big"), ABSENT)
    assert first.stat == second.stat
    assert second.replaced is None
    assert await content_of(folder, "big") == BIG
    assert list(await folder.stages()) == []


@pytest.mark.parametrize("there", [False, True])
async def test_parallel_commits_with_fetched_blocks(
    make: type_make, azurite: Azurite, fetching: AzureProxy, there: bool
) -> None:
    """On the service itself, where a commit drops the blocks of all others: each of them is published all the same, whole."""
    folder = await new_folder(await make(fetching.url))
    if there:
        await put(folder, "file", b"old")
    contents = [bytes([number]) * (600 << 10) for number in range(4)]
    staged = []
    for content in contents:
        stage = await folder.stage(at("file"), None)
        await stage.append([content])
        staged.append(stage)
    outcomes = await DeferredList(
        [Deferred.fromCoroutine(stage.commit(at("file"), ANY)) for stage in staged], consumeErrors=True
    )
    assert [success for success, _ in outcomes] == [True] * 4
    assert await content_of(folder, "file") in contents
    assert sum(asked.query.get("comp") == "block" for asked in fetching.asked) > 8
    assert leftovers(azurite, folder) == []


async def test_fetched_blocks(make: type_make, azurite: Azurite, fetching: AzureProxy) -> None:
    """Uploads, renames, copies and joins as the service does them."""
    folder = await new_folder(await make(fetching.url))
    await furnish(folder)
    await put(folder, "file", BIG)
    await folder.rename(at("file"), at("dir/moved"), ABSENT)
    await folder.copy_file(at("dir/moved"), folder, at("copy"), ABSENT)
    tokens = []
    for content in (BIG, b"", b"end"):
        stage = await folder.stage(at("joined"), None)
        await stage.append([content])
        await stage.close()
        tokens.append(stage.token)
    joined = await folder.join(at("joined"), tokens)
    assert joined.size == len(BIG) + 3
    await joined.append([b"!"])
    await joined.commit(at("joined"), ANY)
    for token in tokens:
        await (await folder.resume(token)).discard()
    assert await content_of(folder, "dir/moved") == await content_of(folder, "copy") == BIG
    assert await content_of(folder, "joined") == BIG + b"end!"
    assert leftovers(azurite, folder) == []


async def test_what_is_replaced_while_it_is_read(make: type_make) -> None:
    """A reader gets what was there when it began, or an error; never some of each."""
    folder = await new_folder(await make())
    old = bytes(3 << 20)
    await put(folder, "file", old)
    file = await folder.open(at("file"), OpenMode.READ)
    assert await file.read(0, 1000) == old[:1000]
    await put(folder, "file", b"\1" * len(old))
    with pytest.raises(PreconditionFailed):
        await file.read(1 << 20, 1 << 20)
    await file.close()

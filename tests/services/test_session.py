"""The session: the same rules for every verb."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.gateway import ALICE, new_vfolder, orchestrator_in, running_gateway
from vfgateway.errors import (
    AlreadyExists,
    IncompleteBody,
    InvalidPath,
    IsADirectory,
    Locked,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    QuotaExceeded,
    ReadOnlyPath,
    TooLarge,
    VFolderNotFound,
)
from vfgateway.model import ABSENT, Attrs, Expect, Permission, Usage, VFolder
from vfgateway.paths import ROOT, FolderPath
from vfgateway.paths import parse_text as path
from vfgateway.principals import Origin, Principal, PrincipalKind
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession

HERE = Origin("client", "127.0.0.1")


async def put(folder: FolderSession, where: FolderPath, content: bytes, **options: object) -> None:
    """Upload ``content`` in one piece."""
    async with await folder.upload(where, size=len(content), parents=True, **options) as upload:  # type: ignore[arg-type]
        await upload.write([content])
        await upload.commit()


async def get(folder: FolderSession, where: FolderPath) -> bytes:
    """The whole content."""
    download = await folder.download(where)
    try:
        return await download.file.read(0, download.stat.size)
    finally:
        await download.close()


async def names(folder: FolderSession, where: FolderPath = ROOT) -> list[str]:
    """The sorted names in a directory."""
    listing = await folder.list(where)
    found: list[str] = []
    try:
        while entries := await listing.read(100):
            found.extend(entry.name for entry in entries)
    finally:
        await listing.close()
    return sorted(found)


async def as_user(gateway: Gateway, vfolder: VFolder, permission: Permission) -> FolderSession:
    """A user with just that grant in ``vfolder``."""
    user = await gateway.accounts.create_user(f"somebody {uuid4().hex[:8]}")
    await gateway.vfolders.grant(vfolder.key, "user", user.id, permission)
    principal = await gateway.accounts.principal_of(user.id)
    return await gateway.session(principal, HERE).folder(vfolder.id, vfolder.volume)


async def test_what_was_uploaded_can_be_read(tmp_path: Path) -> None:
    """The bytes, the listing and the figures agree after an upload."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway))
        await put(folder, path("a/b/c.txt"), b"hello")
        assert await get(folder, path("a/b/c.txt")) == b"hello"
        assert await names(folder) == ["a"]
        assert await folder.usage() == Usage(5, 3)


async def test_a_short_upload_leaves_nothing(tmp_path: Path) -> None:
    """Fewer bytes than declared: an error, no file, no usage, no reservation."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway, limit_bytes=100))
        with pytest.raises(IncompleteBody):
            async with await folder.upload(path("a"), size=10) as upload:
                await upload.write([b"hello"])
                await upload.commit()
        assert await names(folder) == []
        remaining = await folder.remaining()
        assert (remaining.used_bytes, remaining.used_files) == (0, 0)


async def test_bytes_past_the_declared_size_are_refused(tmp_path: Path) -> None:
    """A lying length is found out before the byte too many is stored."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway))
        async with await folder.upload(path("a"), size=4) as upload:
            with pytest.raises(TooLarge):
                await upload.write([b"hello"])
        assert await names(folder) == []


async def test_a_limit_is_exact(tmp_path: Path) -> None:
    """What fits is never refused, what does not is refused before it is stored."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway, limit_bytes=10))
        await put(folder, path("a"), b"12345")
        await put(folder, path("b"), b"12345")
        with pytest.raises(QuotaExceeded) as refusal:
            await folder.upload(path("c"), size=1)
        assert (refusal.value.resource, refusal.value.limit) == ("bytes", 10)
        await folder.remove(path("a"))
        await put(folder, path("c"), b"12345")


async def test_an_upload_of_unknown_size_stops_at_the_limit(tmp_path: Path) -> None:
    """It may fill the vfolder to the last byte, and not go one further."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway, limit_bytes=10))
        async with await folder.upload(path("full"), size=None) as upload:
            await upload.write([b"1234567890"])
            with pytest.raises(QuotaExceeded):
                await upload.write([b"1"])
            await upload.commit()
        assert await get(folder, path("full")) == b"1234567890"


async def test_a_replacement_needs_only_its_growth(tmp_path: Path) -> None:
    """In a full vfolder a file can be replaced by one of the same size, of known or unknown length."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway, limit_bytes=10))
        await put(folder, path("a"), b"1234567890")
        await put(folder, path("a"), b"abcdefghij")
        async with await folder.upload(path("a"), size=None) as upload:
            await upload.write([b"ABCDEFGHIJ"])
            await upload.commit()
        assert await get(folder, path("a")) == b"ABCDEFGHIJ"
        assert await folder.usage() == Usage(10, 1)


async def test_conditions_are_refused_before_the_body(tmp_path: Path) -> None:
    """A condition that does not hold, and a directory in the way, are told when the upload begins."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway))
        await put(folder, path("dir/a"), b"x")
        with pytest.raises(AlreadyExists):
            await folder.upload(path("dir/a"), size=1, expect=ABSENT)
        with pytest.raises(PreconditionFailed):
            await folder.upload(path("dir/a"), size=1, expect=Expect.same("other"))
        with pytest.raises(IsADirectory):
            await folder.upload(path("dir"), size=1)
        with pytest.raises(NotFound):
            await folder.upload(path("nowhere/a"), size=1)


async def test_the_identity_that_was_seen_can_be_replaced(tmp_path: Path) -> None:
    """``If-Match`` with the ETag of what is there lets the upload through; after it, the ETag is another."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway))
        await put(folder, path("a"), b"one")
        seen = (await folder.stat(path("a"))).identity
        await put(folder, path("a"), b"two", expect=Expect.same(seen))
        assert (await folder.stat(path("a"))).identity != seen


async def test_the_gateways_own_names_are_out_of_reach(tmp_path: Path) -> None:
    """The staging area can neither be listed, read, nor written by anybody."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway))
        for action in (folder.stat, folder.list, folder.download):
            with pytest.raises(NotFound):
                await action(path(".upload/x"))
        with pytest.raises(InvalidPath):
            await folder.upload(path(".upload/x"), size=1)
        with pytest.raises(InvalidPath):
            await folder.make_dir(path(".uploads"))
        with pytest.raises(ReadOnlyPath):
            await folder.make_dir(path(".snapshots"))


async def test_a_stranger_does_not_learn_that_a_vfolder_exists(tmp_path: Path) -> None:
    """Without a grant the answer is the same as for a vfolder that is not there."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        stranger = Principal(PrincipalKind.USER, "stranger", user_id=uuid4())
        with pytest.raises(VFolderNotFound):
            await gateway.session(stranger, HERE).folder(vfolder.id, vfolder.volume)


async def test_read_only_reads_and_changes_nothing(tmp_path: Path) -> None:
    """Each verb that writes is refused to ``ro``."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        await put(await orchestrator_in(gateway, vfolder), path("a"), b"x")
        folder = await as_user(gateway, vfolder, Permission.RO)
        assert await get(folder, path("a")) == b"x"
        for attempt in (
            folder.upload(path("b"), size=1),
            folder.make_dir(path("d")),
            folder.remove(path("a")),
            folder.remove_tree(path("a")),
            folder.rename(path("a"), path("b")),
            folder.copy(path("a"), path("b")),
            folder.set_attrs(path("a"), Attrs(mode=0o600)),
        ):
            with pytest.raises(PermissionDenied):
                await attempt
        assert await names(folder) == ["a"]


async def test_rw_removes_only_what_it_made_itself(tmp_path: Path) -> None:
    """Editors can clean up their own files; others' stay. A replaced file is not a creation."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        await put(await orchestrator_in(gateway, vfolder), path("theirs"), b"x")
        folder = await as_user(gateway, vfolder, Permission.RW)
        await put(folder, path("theirs"), b"changed")
        await put(folder, path("mine"), b"x")
        await folder.rename(path("mine"), path("mine.lock"))
        await folder.remove(path("mine.lock"))
        with pytest.raises(PermissionDenied):
            await folder.remove(path("theirs"))
        assert await get(folder, path("theirs")) == b"changed"


async def test_the_owner_may_do_everything(tmp_path: Path) -> None:
    """The owner of a user's vfolder reads, writes and deletes without a grant."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        await gateway.accounts.create_user("alice", user_id=ALICE)
        owner = await gateway.accounts.principal_of(ALICE)
        folder = await gateway.session(owner, HERE).folder(vfolder.id, vfolder.volume)
        await put(folder, path("d/a"), b"x")
        assert await folder.remove_tree(path("d")) == 2
        assert await folder.usage() == Usage()


async def test_a_lock_keeps_others_out(tmp_path: Path) -> None:
    """Whoever does not present the token is told who holds the lock; the holder writes."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        folder = await orchestrator_in(gateway, vfolder)
        await put(folder, path("a"), b"one")
        lock = await gateway.locks.acquire(
            vfolder,
            path("a"),
            principal_id=folder.context.principal_id,
            owner="Alice at her desk",
            infinite=False,
            exclusive=True,
            timeout=60.0,
        )
        with pytest.raises(Locked, match="Alice at her desk"):
            await folder.upload(path("a"), size=1)
        with pytest.raises(Locked):
            await folder.remove(path("a"))
        await put(folder.holding([lock.token]), path("a"), b"two")
        assert await get(folder, path("a")) == b"two"


async def test_a_lock_taken_meanwhile_stops_the_publish(tmp_path: Path) -> None:
    """An upload that began before the lock is refused at its end, and the old file stays."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        folder = await orchestrator_in(gateway, vfolder)
        await put(folder, path("a"), b"old")
        async with await folder.upload(path("a"), size=3) as upload:
            await upload.write([b"new"])
            await gateway.locks.acquire(
                vfolder, path("a"), principal_id="x", owner="bob", infinite=False, exclusive=True, timeout=60.0
            )
            with pytest.raises(Locked):
                await upload.commit()
        assert await get(folder, path("a")) == b"old"
        assert await folder.usage() == Usage(3, 1)


async def test_a_copied_tree_is_whole_and_charged(tmp_path: Path) -> None:
    """Copying into another vfolder brings files, empty directories and links, and charges the target."""
    async with running_gateway(tmp_path) as gateway:
        here = await orchestrator_in(gateway, await new_vfolder(gateway))
        there = await orchestrator_in(gateway, await new_vfolder(gateway))
        await put(here, path("d/a"), b"hello")
        await here.make_dir(path("d/empty"))
        await here.context.folder.make_link(path("d/link"), "a")  # type: ignore[attr-defined]
        await here.copy(path("d"), path("e"), into=there)
        assert await names(there, path("e")) == ["a", "empty", "link"]
        assert await get(there, path("e/a")) == b"hello"
        assert (await there.stat(path("e/link"))).target == "a"
        assert await there.usage() == Usage(5, 4)


async def test_a_tree_cannot_be_copied_into_itself(tmp_path: Path) -> None:
    """It would never end."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway))
        await folder.make_dir(path("d"))
        with pytest.raises(InvalidPath):
            await folder.copy(path("d"), path("d/e"))
        assert await names(folder, path("d")) == []


async def test_the_top_cannot_be_removed(tmp_path: Path) -> None:
    """Removing a vfolder is another verb."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway))
        await put(folder, path("a"), b"x")
        with pytest.raises(InvalidPath):
            await folder.remove_tree(ROOT)
        with pytest.raises(InvalidPath):
            await folder.remove_dir(ROOT)
        assert await names(folder) == ["a"]

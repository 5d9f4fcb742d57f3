"""Files that are open while they lose their name, on servers that mind, and what a crash leaves of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.backends.smb.conftest import type_make
from tests.conformance.harness import READ, at, content_of, names_in, new_folder, put
from tests.support.mounts import small_tmpfs
from tests.support.samba import Samba
from vfgateway.errors import DirectoryNotEmpty, GatewayError
from vfgateway.model import ANY, Actor, Expect


def trash_of(samba: Samba, volume: Any, folder: Any) -> Path:
    """Where the scope of a vfolder has its trash on the server's disk."""
    return samba.share.joinpath(
        *volume.path.partition("/data/")[2].split("/"), folder.tree.vfid.scope.uuid.hex, ".deleted"
    )


@pytest.mark.parametrize("expected", [False, True])
async def test_replaces_an_open_file(samba: Samba, make: type_make, driver: dict[str, Any], expected: bool) -> None:
    """Samba refuses to replace what is open on the same connection, as Windows does on any: the readers keep the old file all the same."""
    volume = await make(samba, **driver, connections=1)
    folder = await new_folder(volume)
    old = (await put(folder, "file", b"old")).stat
    assert old is not None
    file = await folder.open(at("file"), READ)
    published = await put(folder, "file", b"new content", Expect.same(old.identity) if expected else ANY)
    assert published.replaced == old
    assert await content_of(folder, "file") == b"new content"
    await put(folder, "other", b"moved")
    again = await folder.open(at("file"), READ)
    await folder.rename(at("other"), at("file"), ANY)
    assert await content_of(folder, "file") == b"moved"
    assert (await file.read(0, 100), await again.read(0, 100)) == (b"old", b"new content")
    await file.close()
    await again.close()
    assert list(trash_of(samba, volume, folder).iterdir()) == []


async def test_refused_while_it_is_open(samba: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """A publish that fails half way leaves the open file its name."""
    volume = await make(samba, **driver, connections=1)
    folder = await new_folder(volume)
    await put(folder, "file", b"old")
    file = await folder.open(at("file"), READ)
    staged = await folder.stage(at("file"), None)
    gone = samba.share.joinpath(*folder.tree.place.staging.split("\\"), staged.token)
    await staged.append([b"new"])
    await staged.sync()
    gone.unlink()
    with pytest.raises(GatewayError):
        await staged.commit(at("file"), ANY)
    await file.close()
    assert await content_of(folder, "file") == b"old"


async def test_a_directory_that_is_being_listed(samba: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """It goes, and its name is free, at once; one that is not empty stays."""
    volume = await make(samba, **driver)
    folder = await new_folder(volume)
    for path in ("dir", "other", "full", "full/below"):
        await folder.make_dir(at(path))
    listings = [await folder.open_dir(at(path)) for path in ("dir", "other", "full")]
    await folder.remove_dir(at("dir"))
    await folder.make_dir(at("dir"))
    await folder.remove_dir(at("dir"))
    with pytest.raises(DirectoryNotEmpty):
        await folder.remove_dir(at("full"))
    await folder.rename(at("full"), at("other"), ANY)
    assert await names_in(folder) == ["other"]
    assert await names_in(folder, "other") == ["below"]
    for listing in listings:
        await listing.close()
    assert list(trash_of(samba, volume, folder).iterdir()) == []


async def test_removes_what_lies_on_another_file_system(samba: Samba, make: type_make) -> None:
    """From where nothing can be moved to the trash."""
    folder = await new_folder(await make(samba))
    place = samba.share.joinpath(*folder.tree.place.root.split("\\"), "mounted")
    with small_tmpfs(place, "1m"):
        (place / "file").write_bytes(b"x")
        (place / "dir").mkdir()
        await folder.remove(at("mounted/file"), ANY)
        await folder.remove_dir(at("mounted/dir"))
        assert await names_in(folder, "mounted") == []
        assert list(place.iterdir()) == []


async def test_puts_back_what_a_crash_left_aside(samba: Samba, make: type_make) -> None:
    """A file that was moved aside for another which never came has its name again when the volume starts; one that was replaced is gone."""
    volume = await make(samba)
    folder = await new_folder(volume)
    await put(folder, "taken", b"new")
    trash = trash_of(samba, volume, folder)
    trash.mkdir(exist_ok=True)
    for number, name in enumerate(("lost", "taken")):
        aside = trash / f"replaced-{number:032x}"
        aside.write_bytes(b"old")
        aside.with_name(f"{aside.name}.was").write_text(f"{folder.tree.place.root}\\{name}")
    (trash / "removed-1").write_bytes(b"left by a crash")
    await volume.stop()
    again = await make(samba, path=volume.path.partition("/data/")[2])
    await again.cleaned
    folder = await again.folder(folder.tree.vfid, Actor())
    assert await content_of(folder, "lost") == b"old"
    assert await content_of(folder, "taken") == b"new"
    assert list(trash.iterdir()) == []

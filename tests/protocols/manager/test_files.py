"""The reference's routes about files."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.client_api import disk_volume
from tests.support.gateway import new_vfolder
from tests.support.manager import ManagerClient, Serving, serving_manager
from vfgateway.services.tasks import TaskState, until_finished


async def names(client: ManagerClient, here: dict[str, Any], relpath: str = ".") -> list[str]:
    """What a directory holds, sorted."""
    listed = await client.post("/folder/file/list", {**here, "relpath": relpath})
    return sorted(item["name"] for item in listed["items"])


@asynccontextmanager
async def on_disk(tmp_path: Path) -> AsyncIterator[tuple[ManagerClient, dict[str, Any], Path]]:
    """A vfolder on a disk, with its directory."""
    async with serving_manager(tmp_path, [disk_volume(tmp_path / "v")]) as serving:
        vfolder = await new_vfolder(serving.gateway, "disk")
        here = {"volume": "disk", "vfid": str(vfolder.id)}
        yield serving.client, here, Path((await serving.client.get("/folder/mount", here))["path"])


# --- making ---


async def test_directories_are_reported_one_by_one(client: ManagerClient, folder: dict[str, Any]) -> None:
    """200 if all were made, 207 if some, 422 if none; and which."""
    make = {**folder, "relpath": ["c", "d/e"]}
    made = await client.post("/folder/file/mkdir", make)
    assert made["results"] == {
        "success": [{"msg": None, "item": "c"}, {"msg": None, "item": "d/e"}],
        "failed": [],
    }
    some = await client.post("/folder/file/mkdir", {**folder, "relpath": ["c", "f"]}, 207)
    assert [item["item"] for item in some["results"]["success"]] == ["f"]
    assert [item["item"] for item in some["results"]["failed"]] == ["c"]
    assert "exists" in some["results"]["failed"][0]["msg"]
    none = await client.post("/folder/file/mkdir", {**folder, "relpath": ["../x", "/y", "a/x.txt/z", "a\0"]}, 422)
    assert len(none["results"]["failed"]) == 4


async def test_one_directory_may_be_named_alone(client: ManagerClient, folder: dict[str, Any]) -> None:
    """As the 23.09 line does; words are as good as booleans."""
    await client.post("/folder/file/mkdir", {**folder, "relpath": "c", "parents": True, "exist_ok": False})
    await client.post("/folder/file/mkdir", {**folder, "relpath": ["c"], "exist_ok": "Yes"})
    await client.post("/folder/file/mkdir", {**folder, "relpath": "p/q", "parents": "off"}, 422)
    await client.refused("POST", "/folder/file/mkdir", {**folder, "relpath": "r", "parents": "f"}, 400)


async def test_fifty_directories_at_once(client: ManagerClient, folder: dict[str, Any]) -> None:
    """And not one more."""
    await client.post("/folder/file/mkdir", {**folder, "relpath": [f"n{number}" for number in range(50)]})
    many = {**folder, "relpath": [f"m{number}" for number in range(51)]}
    await client.refused("POST", "/folder/file/mkdir", many, 400)
    await client.post("/folder/file/mkdir", {**folder, "relpath": []})


# --- listing ---


async def test_a_listing_has_the_references_form(client: ManagerClient, folder: dict[str, Any]) -> None:
    """Type bits in the mode, times with their zone, and nothing of ours where nothing is unusual."""
    listed = await client.post("/folder/file/list", {**folder, "relpath": "a"})
    assert set(listed) == {"items"}
    (item,) = listed["items"]
    assert set(item) == {"name", "type", "stat", "symlink_target"}
    assert (item["name"], item["type"], item["symlink_target"]) == ("x.txt", "FILE", "")
    assert set(item["stat"]) == {"mode", "size", "created", "modified"}
    assert stat.S_ISREG(item["stat"]["mode"])
    assert item["stat"]["modified"].endswith("+00:00")


async def test_a_listing_is_one_level(client: ManagerClient, folder: dict[str, Any]) -> None:
    """Of files and directories; the staging area is not shown."""
    assert await names(client, folder, "") == ["a", "b"]
    assert await names(client, folder, "./a/") == ["x.txt"]


async def test_a_long_listing_says_that_it_is_cut(tmp_path: Path) -> None:
    """The reference is silent about it."""
    async with serving_manager(tmp_path, scandir_limit=3) as serving:
        vfolder = await new_vfolder(serving.gateway)
        here = {"volume": "mem", "vfid": str(vfolder.id)}
        for number, truncated in ((3, False), (4, True)):
            await serving.client.post(
                "/folder/file/mkdir", {**here, "relpath": [f"d{n}" for n in range(number)], "exist_ok": True}
            )
            listed = await serving.client.post("/folder/file/list", {**here, "relpath": "."})
            assert len(listed["items"]) == 3
            assert listed.get("truncated", False) is truncated


@pytest.mark.parametrize(("relpath", "number"), [("none", 2), ("a/x.txt", 20)])
async def test_what_cannot_be_listed_has_its_number(
    client: ManagerClient, folder: dict[str, Any], relpath: str, number: int
) -> None:
    """400 with the error number and the path, as the file system's failures always were."""
    problem = await client.refused("POST", "/folder/file/list", {**folder, "relpath": relpath}, 400)
    assert (problem["errno"], problem["paths"]) == (number, [relpath])
    assert problem["msg"]


async def test_links_and_odd_names_are_shown(tmp_path: Path) -> None:
    """A link with its target as far as that lies below; a name that is not UTF-8 with its bytes."""
    async with on_disk(tmp_path) as (client, here, root):
        (root / "in").symlink_to("d/./e")
        (root / "out").symlink_to("../../x")
        (root / "abs").symlink_to("/etc/passwd")
        (root / "self").symlink_to("self")
        Path(bytes(root).decode() + "/bad\udcff").write_bytes(b"")
        listed = await client.post("/folder/file/list", {**here, "relpath": "."})
        items = {item["name"]: item for item in listed["items"]}
        assert {name: items[name]["symlink_target"] for name in ("in", "out", "abs", "self")} == {
            "in": "d/e",
            "out": "",
            "abs": "",
            "self": "",
        }
        assert items["in"]["type"] == "SYMLINK"
        assert stat.S_ISLNK(items["in"]["stat"]["mode"])
        assert items["bad%FF"]["name_b64"] == "YmFk/w=="


# --- reading ---


async def test_a_file_is_fetched_whole(client: ManagerClient, folder: dict[str, Any]) -> None:
    """A leading ``./`` is as good as none."""
    for relpath in ("a/x.txt", "./a/x.txt"):
        answer = await client.call("POST", "/folder/file/fetch", {**folder, "relpath": relpath})
        assert (answer.status, answer.body, answer.media_type) == (200, b"hello", "application/octet-stream")


async def test_an_empty_file_is_fetched(client: ManagerClient, folder: dict[str, Any]) -> None:
    """As nothing, successfully: a manager tells it from a missing one by the status."""
    await client.post("/folder/file/upload", {**folder, "relpath": "empty", "size": 0})
    answer = await client.call("POST", "/folder/file/fetch", {**folder, "relpath": "empty"})
    assert (answer.status, answer.body) == (200, b"")
    problem = await client.refused("POST", "/folder/file/fetch", {**folder, "relpath": "missing"}, 404)
    assert problem["error_code"] == "vfolder_read_not-found"


async def test_a_directory_is_not_fetched(client: ManagerClient, folder: dict[str, Any]) -> None:
    """400, errno 21."""
    assert (await client.refused("POST", "/folder/file/fetch", {**folder, "relpath": "a"}, 400))["errno"] == 21


# --- moving ---


async def test_files_and_directories_are_renamed(client: ManagerClient, folder: dict[str, Any]) -> None:
    """``is_dir`` makes no difference."""
    await client.post("/folder/file/rename", {**folder, "relpath": "a/x.txt", "new_name": "y"}, 204)
    await client.post("/folder/file/rename", {**folder, "relpath": "a", "new_name": "c", "is_dir": False}, 204)
    assert await names(client, folder, "c") == ["y"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0b", "x" * 256])
async def test_a_name_that_is_none_is_refused(client: ManagerClient, folder: dict[str, Any], name: str) -> None:
    """400, and nothing has moved."""
    problem = await client.refused("POST", "/folder/file/rename", {**folder, "relpath": "a", "new_name": name}, 400)
    assert problem["error_code"] == "vfolder_access_invalid-parameters"
    assert await names(client, folder) == ["a", "b"]


async def test_moving_onto_a_directory_is_moving_into_it(client: ManagerClient, folder: dict[str, Any]) -> None:
    """Otherwise to the very place; a file replaces a file."""
    await client.post("/folder/file/move", {**folder, "src_relpath": "a/x.txt", "dst_relpath": "b"}, 204)
    assert await names(client, folder, "b") == ["x.txt"]
    await client.post("/folder/file/move", {**folder, "src_relpath": "b", "dst_relpath": "a"}, 204)
    assert await names(client, folder, "a/b") == ["x.txt"]
    await client.post("/folder/file/move", {**folder, "src_relpath": "a/b/x.txt", "dst_relpath": "y"}, 204)
    assert await names(client, folder) == ["a", "y"]


@pytest.mark.parametrize(
    ("source", "target", "status"),
    [("a", "a/c", 400), (".", "c", 400), ("none", "c", 400), ("a", "../c", 400), ("a/x.txt", "no/dir", 400)],
)
async def test_impossible_moves_are_refused(
    client: ManagerClient, folder: dict[str, Any], source: str, target: str, status: int
) -> None:
    """And nothing has moved."""
    await client.refused("POST", "/folder/file/move", {**folder, "src_relpath": source, "dst_relpath": target}, status)
    assert await names(client, folder) == ["a", "b"]
    assert await names(client, folder, "a") == ["x.txt"]


# --- removing ---


async def test_files_are_removed(client: ManagerClient, folder: dict[str, Any]) -> None:
    """What is not there counts as removed; an empty list is no work."""
    for relpaths in (["a/x.txt", "missing"], []):
        assert await client.post("/folder/file/delete", {**folder, "relpaths": relpaths}) == {"status": "ok"}
    assert await names(client, folder, "a") == []


async def test_directories_are_removed_only_on_demand(client: ManagerClient, folder: dict[str, Any]) -> None:
    """Without ``recursive`` a directory refuses the whole request, before anything is removed."""
    both = {**folder, "relpaths": ["a/x.txt", "a"]}
    assert (await client.refused("POST", "/folder/file/delete", both, 400))["errno"] == 21
    assert await names(client, folder, "a") == ["x.txt"]
    await client.post("/folder/file/delete", {**both, "recursive": True})
    assert await names(client, folder) == ["b"]


@pytest.mark.parametrize("relpath", [".", "", "./", "..", "a/../..", "/", "/etc", "a\0b", ".upload", ".upload/x"])
async def test_nothing_else_can_be_removed(client: ManagerClient, folder: dict[str, Any], relpath: str) -> None:
    """Neither the vfolder itself, nor what lies outside, nor what belongs to the gateway."""
    params = {**folder, "relpaths": ["a/x.txt", relpath], "recursive": True}
    answer = await client.call("POST", "/folder/file/delete", params)
    assert answer.status in (200, 400)
    assert answer.status == 400 or relpath.startswith(".upload")
    if answer.status == 400:
        assert answer.json["title"]
    assert await names(client, folder) == ["a", "b"]


async def test_links_are_removed_and_moved_themselves(tmp_path: Path) -> None:
    """The reference acts on their targets."""
    async with on_disk(tmp_path) as (client, here, root):
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "precious").write_text("keep")
        (root / "file").write_text("keep")
        for name, target in (("one", "file"), ("two", "file"), ("three", str(outside))):
            (root / name).symlink_to(target)
        await client.post("/folder/file/rename", {**here, "relpath": "two", "new_name": "renamed"}, 204)
        await client.post("/folder/file/delete", {**here, "relpaths": ["one", "three"], "recursive": True})
        assert sorted(entry.name for entry in root.iterdir() if entry.name != ".upload") == ["file", "renamed"]
        assert (outside / "precious").read_text() == "keep"


async def test_files_are_removed_in_the_background(shared: Serving, folder: dict[str, Any]) -> None:
    """202 and a task."""
    params = {**folder, "relpaths": ["a", "missing"], "recursive": True}
    started = await shared.client.post("/folder/file/delete-async", params, 202)
    assert (await until_finished(shared.gateway.tasks, started["bgtask_id"])).state is TaskState.DONE
    assert await names(shared.client, folder) == ["b"]


# --- tokens ---


async def test_tokens_carry_the_references_claims(shared: Serving, folder: dict[str, Any]) -> None:
    """So that any client front end that shares the secret understands them."""
    client, tokens = shared.client, shared.gateway.tokens
    answer = await client.post("/folder/file/download", {**folder, "relpath": "./a/x.txt", "archive": "no"})
    assert tokens.verify_download(answer["token"]).relpath == "a/x.txt"
    params = {"volume": "mem", "virtual_folder_id": folder["vfid"], "files": ["a", "."], "filename": "all.zip"}
    answer = await client.post("/folder/file/archive-download-token", {**params, "unknown": "ignored"})
    claims = tokens.verify_archive(answer["token"])
    assert (claims.files, claims.filename) == (("a", "."), "all.zip")
    answer = await client.post("/folder/file/upload", {**folder, "relpath": "new/file", "size": "7"})
    upload = tokens.verify_upload(answer["token"])
    assert (upload.relpath, upload.size) == ("new/file", 7)
    assert upload.session in [known.id for known in await shared.gateway.staging.list()]


async def test_an_upload_of_nothing_is_complete_at_once(client: ManagerClient, folder: dict[str, Any]) -> None:
    """No client sends anything for it."""
    await client.post("/folder/file/upload", {**folder, "relpath": "d/empty", "size": 0})
    assert await names(client, folder, "d") == ["empty"]


@pytest.mark.parametrize("size", [-1, "-1", 1.5, "1e3", None, True, 1 << 63])
async def test_an_impossible_size_is_refused(client: ManagerClient, folder: dict[str, Any], size: Any) -> None:
    """At the mint."""
    await client.refused("POST", "/folder/file/upload", {**folder, "relpath": "x", "size": size}, 400)


@pytest.mark.parametrize("relpath", ["../x", "a/../../x", "/x", "a\0b", ".", "", "x" * 256, ".upload/x"])
async def test_no_upload_leaves_the_folder(client: ManagerClient, folder: dict[str, Any], relpath: str) -> None:
    """Paths are checked before a token is minted."""
    await client.refused("POST", "/folder/file/upload", {**folder, "relpath": relpath, "size": 5}, 400)


async def test_an_upload_over_the_limit_is_refused(shared: Serving) -> None:
    """Before anybody sends a byte; and nothing is left of it."""
    vfolder = await new_vfolder(shared.gateway, limit_bytes=10)
    here = {"volume": "mem", "vfid": str(vfolder.id)}
    problem = await shared.client.refused("POST", "/folder/file/upload", {**here, "relpath": "x", "size": 11}, 400)
    assert (problem["errno"], problem["limit"]) == (122, 10)
    await shared.client.post("/folder/file/upload", {**here, "relpath": "x", "size": 10})


async def test_no_token_for_what_is_not_there(client: ManagerClient, folder: dict[str, Any]) -> None:
    """A missing vfolder is told at the mint."""
    missing = {**folder, "vfid": folder["vfid"][:-1] + ("0" if folder["vfid"][-1] != "0" else "1"), "relpath": "x"}
    await client.refused("POST", "/folder/file/upload", {**missing, "size": 5}, 404)
    await client.refused("POST", "/folder/file/download", missing, 404)


async def test_no_token_for_the_host(client: ManagerClient, folder: dict[str, Any]) -> None:
    """``unmanaged_path`` would name a place outside any vfolder."""
    params = {**folder, "relpath": "x", "unmanaged_path": "/etc"}
    await client.refused("POST", "/folder/file/download", params, 400)

"""Python programs: webdav4's client, and its file system for fsspec, through which pandas and others read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from webdav4.client import Client, ResourceAlreadyExists, ResourceConflict, ResourceNotFound
from webdav4.fsspec import WebdavFileSystem

from tests.support.dav_clients import dav_url
from tests.support.dav_site import DavSite
from tests.support.process import ALICE, GatewayProcess, VFolderOfAlice

CONTENT = os.urandom(300_000)


@pytest.fixture(scope="module")
def vfolder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VFolderOfAlice]:
    """A vfolder behind a gateway that runs for all tests here."""
    site = DavSite(tmp_path_factory.mktemp("site") / "site", {"local": {"path": "volume", "durability": "none"}})
    with GatewayProcess(site):
        yield site.populate()


def test_webdav4(vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """Every verb of the client, and its errors by name."""
    client = Client(dav_url(vfolder), auth=ALICE)
    (tmp_path / "local").write_bytes(CONTENT)
    client.mkdir("dir")
    with pytest.raises(ResourceAlreadyExists):
        client.mkdir("dir")
    with pytest.raises(ResourceConflict):
        client.mkdir("missing/dir")
    client.upload_file(tmp_path / "local", "dir/a b@c")
    with pytest.raises(ResourceAlreadyExists):
        client.upload_file(tmp_path / "local", "dir/a b@c")
    assert client.ls("dir", detail=False) == ["dir/a b@c"]
    (info,) = client.ls("dir")
    assert (info["type"], info["content_length"]) == ("file", len(CONTENT))
    assert client.etag("dir/a b@c") == info["etag"]
    client.copy("dir", "copied")
    client.move("copied/a b@c", "moved")
    with pytest.raises(ResourceNotFound):
        client.info("copied/a b@c")
    with pytest.raises(ResourceAlreadyExists):
        client.move("moved", "dir/a b@c")
    client.download_file("moved", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == CONTENT
    with client.open("moved", mode="rb") as file:
        file.seek(1000)
        assert file.read(10) == CONTENT[1000:1010]
    client.remove("dir")
    assert client.exists("moved") and not client.exists("dir")


def test_fsspec(vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """Trees go up and come back, are found, and read in parts."""
    system = WebdavFileSystem(dav_url(vfolder), auth=ALICE)
    tree = tmp_path / "tree"
    for name in ("a.txt", "b/c.txt", "b/ünïcode"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    system.put(str(tree), "spec", recursive=True)
    assert system.find("spec") == ["spec/a.txt", "spec/b/c.txt", "spec/b/ünïcode"]
    assert system.glob("spec/**/*.txt") == ["spec/a.txt", "spec/b/c.txt"]
    system.get("spec", str(tmp_path / "back"), recursive=True)
    assert (tmp_path / "back/b/ünïcode").read_text() == "b/ünïcode"
    with system.open("spec/large", "wb") as file:
        file.write(CONTENT)
    with system.open("spec/large", "rb", block_size=10_000) as file:
        file.seek(-20, os.SEEK_END)
        assert file.read() == CONTENT[-20:]
    assert system.info("spec/large")["size"] == len(CONTENT)
    system.mv("spec/b", "spec/moved", recursive=True)
    assert system.cat_file("spec/moved/c.txt") == b"b/c.txt"
    system.rm("spec", recursive=True)
    assert not (vfolder.root / "spec").exists()

"""Names of files as names of blobs."""

from __future__ import annotations

import pytest
from azure.storage.blob import ContainerClient
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.azureblob.conftest import type_make
from tests.conformance.harness import at, names_in, new_folder
from tests.support.azurite import KEY, Azurite
from vfgateway.backends.azureblob.names import blob_name, file_name
from vfgateway.errors import NameTooLong
from vfgateway.model import ANY
from vfgateway.paths import ROOT, FolderPath

NAMES = st.binary(min_size=1, max_size=40).filter(lambda raw: not {0, 47} & set(raw) and raw not in (b".", b".."))


@given(NAMES)
def test_every_name_comes_back(raw: bytes) -> None:
    """Whatever the bytes are, and what is stored is text that XML and URLs can carry."""
    name = raw.decode("utf-8", "surrogateescape")
    stored = blob_name(FolderPath((name,)))
    assert file_name(stored) == name
    stored.encode("utf-8")
    assert not stored.endswith(".")
    assert not {"\\", "\ufffe", "\uffff", *map(chr, range(32))} & set(stored)


@given(st.text(max_size=20))
def test_no_two_stored_names_are_one_file(stored: str) -> None:
    """What other tools have made is shown under a name that leads back to it, or not at all."""
    try:
        stored.encode("utf-8")
    except UnicodeEncodeError:
        return
    name = file_name(stored)
    assert name is None or blob_name(FolderPath((name,))) == stored


def test_ordinary_names_are_the_same_on_both_sides() -> None:
    """So that other tools see what people see."""
    for name in ("a b", "100%", "%20", "ünï", "日本", "~", "a+b", "q?x", "h#x", "'", " x ", "a.b", ".hidden"):
        assert blob_name(FolderPath((name, "x"))) == f"{name}/x"


def test_a_path_that_is_too_long() -> None:
    """A blob's name has a thousand characters and some."""
    with pytest.raises(NameTooLong):
        blob_name(FolderPath(("x" * 250,) * 5))


async def test_what_other_tools_have_made(make: type_make, azurite: Azurite) -> None:
    """Files without directories, directories as each tool marks them, and a file beside what lies below its name: all are found once."""
    folder = await new_folder(await make())
    there = ContainerClient(azurite.url, folder._container.name, credential=KEY, api_version="2022-11-02")
    for name in ("implied/deep/file", "slash/", "slash/inner", "file", "file/below"):
        there.upload_blob(name, b"x")
    there.upload_blob("marked", b"", metadata={"hdi_isfolder": "true"})
    there.upload_blob("marked/inner", b"x")
    assert await names_in(folder) == ["file", "implied", "marked", "slash"]
    assert await names_in(folder, "slash") == ["inner"]
    assert await names_in(folder, "implied") == ["deep"]
    assert not (await folder.stat(at("file"))).is_dir
    assert (await folder.walk_usage(ROOT)).total.bytes == 5 - 1 + 1
    assert (await folder.walk_usage(at("implied"))).total.files == 2
    await folder.rename(at("implied"), at("moved"), ANY)
    assert await names_in(folder, "moved/deep") == ["file"]
    assert await names_in(folder) == ["file", "marked", "moved", "slash"]

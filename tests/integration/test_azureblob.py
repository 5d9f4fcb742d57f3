"""Vfolders on Azure through every door, tokens of the storage itself, and downloads that the storage answers: with a real Azurite."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContainerClient

from tests.behaviour.doors import DavDoor, HttpDoor, SftpDoor
from tests.behaviour.on_storage import *  # noqa: F403
from tests.support.azure_site import VERSION, AzureSite
from tests.support.azurite import Azurite
from tests.support.process import ALICE, PATIENCE, GatewayProcess, VFolderOfAlice


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureSite]:
    """One gateway on one Azurite for everything here."""
    with Azurite() as azurite:
        site = AzureSite(tmp_path_factory.mktemp("azure") / "site", azurite, redirect="true", redirect_from="8MiB")
        with GatewayProcess(site):
            site.populate(name="first")
            site.admit_key()
            yield site


@pytest.fixture(autouse=True)
def nothing_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What SFTP writes is seen when it is closed, on storage that changes nothing in place."""
    monkeypatch.setattr(SftpDoor, "grows", False)


def test_a_lock_taken_while_sftp_writes(site: AzureSite, data: VFolderOfAlice, dav: DavDoor) -> None:
    """Refuses the end of it: what was written is not published. (The client does not tell what its close was answered.)"""
    site.let_in("bob", data, "rwd")
    with SftpDoor(site, data) as sftp, dav.of("bob") as theirs:
        sftp.put("f", b"old")
        sending = sftp.begin("f", 2 << 20)
        sending.send(bytes(1 << 20))
        token = theirs.lock("f")
        sending.send(bytes(1 << 20))
        sending.finish()
        assert theirs.get("f") == b"old"
        theirs.unlock("f", token)
    assert data.charged == (3, 1)


# --- tokens of the storage itself ---


def token(site: AzureSite, vfolder: VFolderOfAlice, **more: object) -> requests.Response:
    return site.call_manager("POST", "/vfgateway/v1/tokens/storage", {"vfolder": vfolder.vfid, **more})


def opened(url: str, query: str) -> ContainerClient:
    """The vendor's own client, with nothing but the token."""
    return ContainerClient.from_container_url(f"{url}?{query}", api_version=VERSION)


def test_a_token_reads_and_lists(site: AzureSite, data: VFolderOfAlice) -> None:
    """What is in the vfolder, until it ends, and changes nothing."""
    data.put("dir/picture.png", b"content").raise_for_status()
    made = token(site, data, expires=time.time() + 600)
    assert made.status_code == 201
    assert made.json()["write"] is False
    there = opened(made.json()["url"], made.json()["token"])
    assert [blob.name for blob in there.list_blobs()] == ["dir", "dir/picture.png"]
    blob = there.get_blob_client("dir/picture.png")
    assert blob.download_blob().readall() == b"content"
    assert blob.get_blob_properties().content_settings.content_type == "image/png"
    for attempt in (lambda: there.upload_blob("new", b"x"), lambda: there.delete_blob("dir/picture.png")):
        with pytest.raises(HttpResponseError) as caught:
            attempt()
        assert caught.value.status_code == 403
    short = token(site, data, expires=time.time() + 1).json()
    deadline = time.monotonic() + PATIENCE
    with pytest.raises(HttpResponseError, match=r"Authoriz|Authentic"):
        while time.monotonic() < deadline:
            list(opened(short["url"], short["token"]).list_blobs())


def test_a_token_to_write_passes_no_limit_by(site: AzureSite, data: VFolderOfAlice) -> None:
    """It is refused where there is one, and where nobody is to write."""
    made = token(site, data, write=True).json()
    opened(made["url"], made["token"]).upload_blob("from/outside", b"content")
    with HttpDoor(site, data) as http:
        assert http.get("from/outside") == b"content"
        assert http.list()["from"].size == 0
    site.limit(data, limit_bytes=1000)
    refused = token(site, data, write=True)
    assert refused.status_code == 409
    assert "limit" in refused.json()["msg"]
    assert token(site, data).status_code == 201
    site.manager("PATCH", f"/vfgateway/v1/vfolders/{data.vfid[-32:]}", {"limit_bytes": None, "read_only": True})
    assert token(site, data, write=True).status_code == 409


def test_a_token_that_cannot_be(site: AzureSite, data: VFolderOfAlice) -> None:
    """For too long, for the past, for nobody."""
    for wrong in ({"expires": time.time() + 30 * 86400}, {"expires": 1.0}, {"address": "999.1.1.1"}, {"write": "yes"}):
        assert token(site, data, **wrong).status_code == 400
    asked = {"vfolder": "0" * 32}
    assert site.call_manager("POST", "/vfgateway/v1/tokens/storage", asked).status_code == 404


def test_the_command_mints_a_token(site: AzureSite, data: VFolderOfAlice) -> None:
    """And prints the URL, for the vendor's tools."""
    data.put("f", b"x").raise_for_status()
    command = [str(Path(sys.executable).parent / "vfgateway"), "--config", str(site.config)]
    asked = [*command, "token", "storage", f"alice/{data.name}", "--expires", "1h", "--address", "127.0.0.1"]
    url, _, query = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip().partition("?")
    assert "sip=127.0.0.1" in query
    assert [blob.name for blob in opened(url, query).list_blobs()] == ["f"]


# --- downloads ---


def test_large_downloads_come_from_the_storage(site: AzureSite, data: VFolderOfAlice) -> None:
    """By a URL that is good for a while, with ranges, conditions and the name; small ones, and all by WebDAV, come from us."""
    content = random.Random(3).randbytes((8 << 20) + 5)
    data.put("large ü.bin", content).raise_for_status()
    data.put("small", b"x").raise_for_status()
    sent = requests.get(data.url("large ü.bin"), auth=ALICE, allow_redirects=False, timeout=PATIENCE)
    assert sent.status_code == 307
    where = sent.headers["Location"]
    assert where.startswith(site.azurite.url)
    whole = requests.get(where, timeout=PATIENCE)
    assert whole.content == content
    assert whole.headers["Content-Disposition"] == "attachment; filename*=UTF-8''large%20%C3%BC.bin"
    asked = requests.head(data.url("large ü.bin"), auth=ALICE, timeout=PATIENCE)
    assert (asked.status_code, asked.headers["ETag"]) == (200, whole.headers["ETag"])
    part = requests.get(data.url("large ü.bin"), auth=ALICE, headers={"Range": "bytes=5-9"}, timeout=PATIENCE)
    assert (part.status_code, part.content) == (206, content[5:10])
    known = {"If-None-Match": whole.headers["ETag"]}
    assert requests.get(data.url("large ü.bin"), auth=ALICE, headers=known, timeout=PATIENCE).status_code == 304
    small = requests.get(data.url("small"), auth=ALICE, allow_redirects=False, timeout=PATIENCE)
    assert (small.status_code, small.content) == (200, b"x")
    by_token = requests.get(data.download_url("large ü.bin"), timeout=PATIENCE)
    assert (by_token.content, [each.status_code for each in by_token.history]) == (content, [307])


def test_large_downloads_by_webdav(site: AzureSite, data: VFolderOfAlice) -> None:
    """Come from us: its clients do not go elsewhere."""
    content = random.Random(4).randbytes(9 << 20)
    data.put("large", content).raise_for_status()
    answer = requests.get(f"{site.dav_url}/{data.name}/large", auth=ALICE, allow_redirects=False, timeout=PATIENCE)
    assert (answer.status_code, answer.content) == (200, content)


def test_nothing_is_left(site: AzureSite, data: VFolderOfAlice) -> None:
    """Uploads by every door leave nothing aside, and their leases have ended."""
    content = random.Random(5).randbytes((20 << 20) + 1)
    data.put("file", content).raise_for_status()
    with SftpDoor(site, data) as sftp:
        sftp.put("by sftp", content)
    there = list(site.container(data.vfid).list_blobs())
    assert [(blob.name, blob.size, blob.lease.state) for blob in there] == [
        ("by sftp", len(content), "available"),
        ("file", len(content), "available"),
    ]
    assert data.charged == (2 * len(content), 2)

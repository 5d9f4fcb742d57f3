"""Unmodified tus clients against a real gateway: tuspy, tus-js-client, and the reference's own Python uploader."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from aiotusclient.client import TusClient as ReferenceClient
from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

from tests.support.process import ALICE, PATIENCE, GatewayProcess, Site, VFolderOfAlice

NODE = Path(__file__).parent / "node"
CONTENT = os.urandom(3 << 20)
LOGIN = {"Authorization": "Basic " + base64.b64encode(":".join(ALICE).encode()).decode()}


@pytest.fixture(scope="module")
def vfolder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VFolderOfAlice]:
    """A vfolder behind a gateway that runs for all tests here."""
    site = Site(tmp_path_factory.mktemp("site") / "site")
    with GatewayProcess(site):
        yield site.populate()


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """The file to send."""
    path = tmp_path / "local.bin"
    path.write_bytes(CONTENT)
    return path


def collection(vfolder: VFolderOfAlice) -> str:
    """Where people create uploads."""
    return f"{vfolder.site.client_url}/vfgateway/v1/uploads"


def nothing_left(vfolder: VFolderOfAlice) -> bool:
    """Whether no stage is left of anything."""
    return not vfolder.stages


# --- tuspy ---


def test_tuspy(vfolder: VFolderOfAlice, local: Path) -> None:
    """tuspy in chunks, each with its SHA-1."""
    client = TusClient(collection(vfolder), headers=LOGIN)
    client.uploader(
        str(local),
        chunk_size=1 << 20,
        metadata={"vfolder": "data", "path": "tuspy/sync.bin"},
        upload_checksum=True,
    ).upload()
    assert vfolder.get("tuspy/sync.bin") == CONTENT
    assert nothing_left(vfolder)


def test_tuspy_async(vfolder: VFolderOfAlice, local: Path) -> None:
    """tuspy's asynchronous client."""
    client = TusClient(collection(vfolder), headers=LOGIN)
    uploader = client.async_uploader(
        str(local), chunk_size=1 << 20, metadata={"vfolder": "data", "path": "tuspy/async.bin"}, upload_checksum=True
    )
    asyncio.new_event_loop().run_until_complete(uploader.upload())
    assert vfolder.get("tuspy/async.bin") == CONTENT


def test_tuspy_resumes(vfolder: VFolderOfAlice, local: Path, tmp_path: Path) -> None:
    """tuspy in another run goes on where the first one stopped, by what it had stored."""
    options: dict[str, Any] = {
        "chunk_size": 1 << 20,
        "metadata": {"vfolder": "data", "path": "tuspy/resumed.bin"},
        "store_url": True,
    }
    client = TusClient(collection(vfolder), headers=LOGIN)
    first = FileStorage(str(tmp_path / "urls"))
    client.uploader(str(local), url_storage=first, **options).upload(stop_at=1 << 20)
    first.close()
    assert vfolder.get("tuspy/resumed.bin") is None
    second = FileStorage(str(tmp_path / "urls"))
    uploader = client.uploader(str(local), url_storage=second, **options)
    assert uploader.offset == 1 << 20
    uploader.upload()
    second.close()
    assert vfolder.get("tuspy/resumed.bin") == CONTENT


def test_tuspy_empty_file(vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """tuspy sends nothing for an empty file; asking for a URL is enough."""
    empty = tmp_path / "empty"
    empty.touch()
    client = TusClient(collection(vfolder), headers=LOGIN)
    uploader = client.uploader(str(empty), metadata={"vfolder": "data", "path": "tuspy/empty"})
    uploader.create_url()
    assert vfolder.get("tuspy/empty") == b""


# --- tus-js-client ---


def tus_js(vfolder: VFolderOfAlice, file: Path, path: str, **task: Any) -> dict[str, Any]:
    """Run tus-js-client; what it tells."""
    options = {
        "endpoint": collection(vfolder),
        "headers": LOGIN,
        "metadata": {"vfolder": "data", "path": path},
        **task.pop("options", {}),
    }
    command = ["node", "tus_client.js", json.dumps({"file": str(file), "options": options, **task})]
    done = subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("protocol", ["tus-v1", "ietf-draft-03", "ietf-draft-05"])
def test_tus_js(vfolder: VFolderOfAlice, local: Path, protocol: str) -> None:
    """tus-js-client by each of its protocols, in chunks."""
    path = f"js/{protocol}.bin"
    tus_js(vfolder, local, path, options={"protocol": protocol, "chunkSize": 1 << 20})
    assert vfolder.get(path) == CONTENT
    assert nothing_left(vfolder)


@pytest.mark.parametrize("protocol", ["tus-v1", "ietf-draft-03", "ietf-draft-05"])
def test_tus_js_with_the_creation(vfolder: VFolderOfAlice, local: Path, protocol: str) -> None:
    """Everything in the creating request."""
    path = f"js/at-once-{protocol}.bin"
    told = tus_js(vfolder, local, path, options={"protocol": protocol, "uploadDataDuringCreation": True})
    assert vfolder.get(path) == CONTENT
    assert len(told["requests"]) == 1


def test_tus_js_in_parallel(vfolder: VFolderOfAlice, local: Path) -> None:
    """Four connections, joined at the end; the parts carry no metadata but the vfolder."""
    options = {"parallelUploads": 4, "metadataForPartialUploads": {"vfolder": "data"}}
    tus_js(vfolder, local, "js/parallel.bin", options=options)
    assert vfolder.get("js/parallel.bin") == CONTENT
    assert nothing_left(vfolder)


def test_tus_js_in_parallel_without_metadata(vfolder: VFolderOfAlice, local: Path) -> None:
    """The same with nothing said of the parts: the endpoint's URL names the vfolder."""
    options = {"parallelUploads": 3, "endpoint": collection(vfolder) + "?vfolder=data"}
    tus_js(vfolder, local, "js/parallel-url.bin", options=options)
    assert vfolder.get("js/parallel-url.bin") == CONTENT


def test_tus_js_deferred_length(vfolder: VFolderOfAlice, local: Path) -> None:
    """A stream whose length turns out at its end. (The client never notices the end of one that is a multiple of its chunks.)"""
    options = {"uploadLengthDeferred": True, "chunkSize": 1_000_000}
    tus_js(vfolder, local, "js/stream.bin", stream=True, options=options)
    assert vfolder.get("js/stream.bin") == CONTENT


def test_tus_js_resumes(vfolder: VFolderOfAlice, local: Path, tmp_path: Path) -> None:
    """Stopped half-way, and resumed from the stored URL."""
    told = tus_js(
        vfolder,
        local,
        "js/resumed.bin",
        abortAt=1 << 20,
        storage=str(tmp_path / "urls"),
        options={"chunkSize": 1 << 20},
    )
    assert sum(request.startswith("POST") for request in told["requests"]) == 1
    assert vfolder.get("js/resumed.bin") == CONTENT


def test_tus_js_repairs_a_broken_connection(vfolder: VFolderOfAlice, local: Path) -> None:
    """The connection breaks under a PATCH: the client's own retry finds the offset and completes."""
    told = tus_js(vfolder, local, "js/broken.bin", breakAt=1 << 20)
    assert [request.split()[0] for request in told["requests"]][-2:] == ["HEAD", "PATCH"]
    assert vfolder.get("js/broken.bin") == CONTENT


def test_tus_js_empty_file(vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """An empty file by the client's own creation."""
    empty = tmp_path / "empty"
    empty.touch()
    tus_js(vfolder, empty, "js/empty", options={"uploadSize": 0})
    assert vfolder.get("js/empty") == b""


# --- on the orchestrator's URLs ---


@pytest.mark.parametrize("chunk_size", [None, 1 << 20])
def test_web_interface(vfolder: VFolderOfAlice, local: Path, chunk_size: int | None) -> None:
    """The web interface: tus-js-client on a minted URL, HEAD first."""
    path = f"web/{chunk_size}.bin"
    url = vfolder.upload_url(path, len(CONTENT))
    options: dict[str, Any] = {"uploadUrl": url, "headers": {}, "endpoint": url}
    if chunk_size is not None:
        options["chunkSize"] = chunk_size
    told = tus_js(vfolder, local, path, options=options)
    assert told["requests"][0] == "HEAD /upload"
    assert vfolder.get(path) == CONTENT


def test_web_interface_empty_file(vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """The web interface reports success after its HEAD, and the file is there."""
    empty = tmp_path / "empty"
    empty.touch()
    url = vfolder.upload_url("web/empty", 0)
    tus_js(vfolder, empty, "web/empty", options={"uploadUrl": url, "endpoint": url, "headers": {}, "uploadSize": 0})
    assert vfolder.get("web/empty") == b""


def reference_upload(file: Path, url: str) -> None:
    """The reference's uploader, with its own chunk size."""

    async def run() -> None:
        with file.open("rb") as stream:
            uploader = ReferenceClient().async_uploader(
                file_stream=stream, url=url, upload_checksum=False, chunk_size=1 << 20
            )
            await uploader.upload()

    asyncio.new_event_loop().run_until_complete(run())


def test_reference_uploader(vfolder: VFolderOfAlice, local: Path) -> None:
    """The reference's Python uploader, unmodified."""
    reference_upload(local, vfolder.upload_url("reference/file.bin", len(CONTENT)))
    assert vfolder.get("reference/file.bin") == CONTENT


def test_reference_uploader_into_a_directory(vfolder: VFolderOfAlice, local: Path) -> None:
    """With ``dst_dir`` added to the URL, as its command line does."""
    reference_upload(local, vfolder.upload_url("file.bin", len(CONTENT)) + "&dst_dir=reference/deep")
    assert vfolder.get("reference/deep/file.bin") == CONTENT


def test_reference_uploader_empty_file(vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """It sends nothing for an empty file, which was made with the token."""
    empty = tmp_path / "empty"
    empty.touch()
    reference_upload(empty, vfolder.upload_url("reference/empty", 0))
    assert vfolder.get("reference/empty") == b""


# --- curl ---


def test_curl_speaks_tus(vfolder: VFolderOfAlice, local: Path) -> None:
    """tus by hand, as an administrator tries it: create, send, look."""
    named = ",".join(
        f"{key} {base64.b64encode(value.encode()).decode()}"
        for key, value in {"vfolder": "data", "path": "curl.bin"}.items()
    )
    common = ["curl", "-sS", "-f", "-u", ":".join(ALICE), "-H", "Tus-Resumable: 1.0.0", "-D", "-", "-o", os.devnull]
    create = ["-X", "POST", "-H", f"Upload-Length: {len(CONTENT)}", "-H", f"Upload-Metadata: {named}"]
    answer = subprocess.run([*common, *create, collection(vfolder)], capture_output=True, text=True, check=True).stdout
    url = next(line.split(": ")[1] for line in answer.splitlines() if line.lower().startswith("location: "))
    send = ["-X", "PATCH", "-H", "Upload-Offset: 0", "-H", "Content-Type: application/offset+octet-stream"]
    subprocess.run([*common, *send, "-H", "Expect: 100-continue", "--data-binary", f"@{local}", url], check=True)
    look = requests.head(url, headers={"Tus-Resumable": "1.0.0"}, auth=ALICE, timeout=PATIENCE)
    assert look.headers["Upload-Offset"] == str(len(CONTENT))
    assert vfolder.get("curl.bin") == CONTENT

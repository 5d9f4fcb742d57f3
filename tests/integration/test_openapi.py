"""The OpenAPI document, held against the running API by Schemathesis."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

from tests.support.manager import HEADER, SECRET, Serving, serving_manager
from vfgateway.paths import parse_text
from vfgateway.principals import ORCHESTRATOR, Origin

HOOKS = Path(__file__).with_name("openapi_hooks.py")


async def _furnish(serving: Serving) -> dict[str, str]:
    """Some of everything; what is there, by the names of parameters."""
    client = serving.client
    for name in ("alice", "bob"):
        await client.post("/vfgateway/v1/users", {"name": name}, 201)
    await client.post("/vfgateway/v1/groups", {"name": "crew"}, 201)
    made = await client.post("/vfgateway/v1/vfolders", {"owner": "alice", "name": "data"}, 201)
    folder = await serving.gateway.session(ORCHESTRATOR, Origin("test")).folder_named("data")
    async with await folder.upload(parse_text("0"), size=5) as upload:
        await upload.write([b"hello"])
        await upload.commit()
    started = await client.post("/folder/delete", {"volume": "mem", "vfid": made["scope"] + "/" + "0" * 32}, 202)
    return {
        "vfid": made["id"],
        "src_vfid": made["id"],
        "virtual_folder_id": made["id"],
        "vfolder": made["folder"],
        "owner": "alice",
        "subject": "bob",
        "user": "bob",
        "group": "crew",
        "task": started["bgtask_id"],
    }


async def test_the_document_is_true(tmp_path: Path) -> None:
    """Whatever the document allows is answered as it says, and what it forbids is refused, for every operation."""
    async with serving_manager(tmp_path, clone_patience=0.5) as serving:
        environment: dict[str, Any] = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": str(HOOKS),
            "VFGATEWAY_KNOWN": json.dumps(await _furnish(serving)),
        }
        arguments = [
            *("run", f"{serving.client.url}/openapi.json", "--no-color", "--seed", "20230919", "--max-examples", "8"),
            *("--header", f"{HEADER}: {SECRET}", "--phases", "coverage,fuzzing", "--continue-on-failure"),
            # A stream that ends with its client.
            *("--exclude-path", "/vfgateway/v1/audit/events"),
            # What a request means for things that are not there is not in the document.
            *("--checks", "all", "--exclude-checks", "positive_data_acceptance", "--generation-database", "none"),
        ]
        judge = str(Path(sys.executable).with_name("st"))
        out, err, code = await getProcessOutputAndValue(
            judge, arguments, env=environment, path=str(tmp_path), reactor=reactor
        )
        assert code == 0, (out + err).decode("utf-8", "replace")

"""The OpenAPI document of the people's API, held against the running API by Schemathesis."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

from tests.support.client_api import PASSWORD, ClientApi, client_api
from tests.support.people_api import V1, Person

HOOKS = Path(__file__).with_name("people_openapi_hooks.py")


async def _furnish(api: ClientApi) -> dict[str, str]:
    """Some of everything; what is there, by the names of parameters."""
    alice = Person(api, "alice")
    await alice.ask("PUT", "/vfolders/data/content", b"hello", {"path": "d/0"})
    await alice.ask("PUT", "/vfolders/data/content", b"hello", {"path": "gone"})
    gone = await alice.do("DELETE", "/vfolders/data/entry", query={"path": "gone"})
    link = await alice.do("POST", "/vfolders/data/links", {"path": "d"}, status=201)
    offer = {"user": "bob", "role": "ro"}
    invitation = await alice.do("POST", "/vfolders/data/invitations", offer, status=201)
    return {
        "folder": "data",
        "user": "bob",
        "subject": "bob",
        "path": "d/0",
        "source": "d/0",
        "item": gone["trash"],
        "link": link["id"],
        "invitation": invitation["id"],
    }


async def test_the_document_is_true(tmp_path: Path) -> None:
    """Whatever the document allows is answered as it says, and what it forbids is refused, for every operation."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        environment: dict[str, Any] = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": str(HOOKS),
            "VFGATEWAY_KNOWN": json.dumps(await _furnish(api)),
        }
        login = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
        arguments = [
            *("run", f"{api.base}{V1}/openapi.json", "--no-color", "--seed", "20230919", "--max-examples", "4"),
            *("--header", f"Authorization: Basic {login}", "--phases", "coverage,fuzzing", "--continue-on-failure"),
            # What a request means for things that are not there is not in the document; and after some wrong logins the answer is 429.
            *("--checks", "all", "--exclude-checks", "positive_data_acceptance,ignored_auth"),
            *("--generation-database", "none"),
        ]
        judge = str(Path(sys.executable).with_name("st"))
        out, err, code = await getProcessOutputAndValue(
            judge, arguments, env=environment, path=str(tmp_path), reactor=reactor
        )
        assert code == 0, (out + err).decode("utf-8", "replace")

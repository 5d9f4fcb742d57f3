"""The family of errors in WebDAV's words."""

from __future__ import annotations

import inspect
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.gateway import ALICE
from tests.support.webdav import responses, webdav
from vfgateway import errors
from vfgateway.errors import GatewayError
from vfgateway.model import VFolderId
from vfgateway.protocols.webdav.faults import Fault, Refused, fault_of, status_line

#: What only administration meets.
ELSEWHERE = {
    GatewayError,
    errors.ConfigurationError,
    errors.AccountExists,
    errors.UnknownAccount,
    errors.QuotaScopeExists,
    errors.QuotaScopeNotFound,
    errors.TaskNotFound,
}
KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, GatewayError)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ELSEWHERE])
def test_every_error_has_its_status(kind: type[GatewayError]) -> None:
    """None is a bug to WebDAV, and each status has its proper words, also those that HTTP's own list does not have."""
    fault = fault_of(kind.__new__(kind))
    assert fault is not None
    assert 400 <= fault.status < 600
    assert status_line(fault.status).split(b" ", 2)[2] not in (b"Error", b"Unknown Status", b"")


async def test_storage_that_was_taken_out_of_the_configuration(tmp_path: Path) -> None:
    """The list of vfolders shows all; whoever enters one without storage is told to come again, not that it is gone."""
    async with webdav(tmp_path) as dav:
        vfid = VFolderId(dav.vfolder.id.scope, uuid4())
        await dav.gateway.vfolders.create("elsewhere", vfid, name="lost", owner=ALICE)
        assert set(responses(await dav.ask("PROPFIND", "/", Depth="1"))) == {"/", "/data/", "/lost/"}
        for method, fields in (("PROPFIND", {"Depth": "1"}), ("PUT", {}), ("GET", {})):
            answer = await dav.ask(method, "/lost/f", b"" if method == "PUT" else None, **fields)
            assert (answer.status, answer.headers["content-type"]) == (503, 'application/xml; charset="utf-8"')
            assert "retry-after" in answer.headers


def test_what_the_protocol_forbids() -> None:
    """Is answered as it says."""
    assert fault_of(Refused(424, "a member", "some-condition")) == Fault(424, "some-condition")
    assert fault_of(ValueError("a bug")) is None

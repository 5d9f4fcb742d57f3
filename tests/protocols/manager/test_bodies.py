"""Requests that cannot be read, and how failures look: always JSON that a manager can parse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from tests.support.manager import HEADER, SECRET, Serving

HERE = {"volume": "mem", "vfid": "user:11111111-1111-4111-8111-111111111111/" + "0" * 32}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe{}",
        b'{"volume": NaN}',
        b"[" * 50_000,
        b'{"volume": ' + b"1" * 5000 + b"}",
    ],
)
async def test_a_body_that_is_no_object_is_refused(shared: Serving, raw: bytes) -> None:
    """Nothing that may stand in a body brings an internal error."""
    answer = await shared.client.call("POST", "/folder/create", raw=raw)
    assert answer.status == 400
    assert answer.json["type"].startswith("https://api.backend.ai/probs/")


async def test_a_body_over_one_mebibyte_is_refused(shared: Serving) -> None:
    """The gateway does not read what no manager would send."""
    answer = await shared.client.call("POST", "/folder/create", {"volume": "x" * (1 << 20), "vfid": ""})
    assert answer.status == 413
    assert answer.json["status"] == 413


async def test_an_unknown_parameter_is_named(shared: Serving) -> None:
    """Parameter objects are closed, and say which key they do not know."""
    problem = await shared.client.refused("POST", "/folder/delete", {**HERE, "extra": 1}, 400)
    assert problem["data"] == {"extra": "extra is not allowed key"}
    assert problem["error_code"] == "storage-proxy_request_invalid-parameters"
    assert problem["type"] == "https://api.backend.ai/probs/storage/invalid-api-params"


async def test_clone_tolerates_extras(shared: Serving) -> None:
    """The 23.09 line sends ``options``."""
    params: dict[str, Any] = {
        "src_volume": "mem",
        "src_vfid": HERE["vfid"],
        "dst_vfid": HERE["vfid"],
        "options": {},
        "dst_volume": None,
    }
    problem = await shared.client.refused("POST", "/folder/clone", params, 404)
    assert problem["error_code"] == "vfolder_read_not-found"


@pytest.mark.parametrize(
    "qsid", ["foo:bar", "user:xyz", "user", "", 5, None, "user:11111111-1111-4111-8111-111111111111/x", ["user"]]
)
async def test_a_wrong_scope_is_a_bad_parameter(shared: Serving, qsid: Any) -> None:
    """The reference answers some of these with an internal error in plain text."""
    problem = await shared.client.refused("POST", "/quota-scope", {"volume": "mem", "qsid": qsid}, 400)
    assert list(problem["data"]) == ["qsid"]


async def test_a_body_where_none_is_taken_is_refused(shared: Serving) -> None:
    """As in the reference."""
    problem = await shared.client.refused("GET", "/volumes", {"volume": "mem"}, 400)
    assert problem["type"] == "https://api.backend.ai/probs/storage/malformed-request"


@pytest.mark.parametrize(
    "path", ["/nothing", "/folder//usage", "/volumes/", "/folder", "/v1/storages", "/%ff", "/a%00b"]
)
async def test_an_unknown_path_is_a_problem(shared: Serving, path: str) -> None:
    """Managers read only JSON."""
    answer = await shared.client.call("GET", path)
    assert answer.status in (400, 404)
    assert answer.json["status"] == answer.status


async def test_a_wrong_method_says_which_are_right(shared: Serving) -> None:
    """405 with ``Allow`` (RFC 9110 section 15.5.6)."""
    answer = await shared.client.call("PUT", "/quota-scope", {})
    assert answer.status == 405
    allowed = answer.headers.getRawHeaders("allow", [""])[0]
    assert {"GET", "POST", "PATCH"} <= set(allowed.split(", "))
    assert answer.json["title"]


async def test_an_unknown_volume_is_a_bad_parameter(shared: Serving) -> None:
    """400 with the domain ``storage``, as managers expect."""
    problem = await shared.client.refused("GET", "/folder/fs-usage", {"volume": "none"}, 400)
    assert problem["error_code"] == "storage_access_invalid-parameters"


async def test_every_problem_names_its_request(shared: Serving) -> None:
    """So that the log can be searched for it."""
    answer = await shared.client.call("GET", "/folder/fs-usage", {"volume": "none"})
    assert answer.json["request_id"] == answer.headers.getRawHeaders("x-request-id", [""])[0]


class _Collecting(Protocol):
    def __init__(self) -> None:
        self.received = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(self.received)


@pytest.mark.parametrize("host", [b"[::1", b"a b", b"\xff\xfe", b"x" * 300, b"..", b"xn--\xff"])
async def test_a_wild_host_header_does_no_harm(shared: Serving, host: bytes) -> None:
    """Whatever a client calls us, it gets an answer, and no page of HTML."""
    port = int(shared.client.url.rpartition(":")[2])
    connection = await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", port), _Collecting())
    head = b"GET /volumes HTTP/1.1\r\nHost: " + host + f"\r\n{HEADER}: {SECRET}\r\nConnection: close\r\n\r\n".encode()
    connection.transport.write(head)
    received = await connection.ended
    status = int(received.split(b" ", 2)[1])
    assert status in (200, 400)
    body = received.partition(b"\r\n\r\n")[2]
    if b"application/" in received:
        json.loads(body)
    else:
        assert not body

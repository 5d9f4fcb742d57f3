"""What the OpenAPI document says; whether it is true is judged in ``tests/integration/test_openapi.py``."""

from __future__ import annotations

from tests.support.manager import ManagerClient

#: The reference's routes (its sections 2.2 to 2.6).
REFERENCE = [
    "GET",
    "/",
    "GET",
    "/status",
    "GET",
    "/health",
    "GET",
    "/livez",
    "GET",
    "/readyz",
    "GET",
    "/volumes",
    "GET",
    "/volume/hwinfo",
    "GET",
    "/volume/performance-metric",
    "GET",
    "/folder/fs-usage",
    "GET",
    "/volume/quota",
    "PATCH",
    "/volume/quota",
    "POST",
    "/quota-scope",
    "GET",
    "/quota-scope",
    "PATCH",
    "/quota-scope",
    "DELETE",
    "/quota-scope/quota",
    "POST",
    "/folder/create",
    "POST",
    "/folder/delete",
    "POST",
    "/folder/clone",
    "GET",
    "/folder/mount",
    "GET",
    "/folder/usage",
    "GET",
    "/folder/used-bytes",
    "GET",
    "/folder/metadata",
    "POST",
    "/folder/metadata",
    "POST",
    "/folder/file/mkdir",
    "POST",
    "/folder/file/list",
    "POST",
    "/folder/file/rename",
    "POST",
    "/folder/file/move",
    "POST",
    "/folder/file/fetch",
    "POST",
    "/folder/file/download",
    "POST",
    "/folder/file/archive-download-token",
    "POST",
    "/folder/file/upload",
    "POST",
    "/folder/file/delete",
    "POST",
    "/folder/file/delete-async",
]


async def test_every_route_of_the_reference_is_there(client: ManagerClient) -> None:
    """With its method; parameters of GET and DELETE in the body."""
    paths = (await client.get("/openapi.json"))["paths"]
    for method, path in zip(REFERENCE[::2], REFERENCE[1::2], strict=True):
        assert method.lower() in paths[path], (method, path)
    assert "requestBody" in paths["/folder/usage"]["get"]
    assert "requestBody" in paths["/quota-scope/quota"]["delete"]


async def test_operations_can_be_told_apart(client: ManagerClient) -> None:
    """For programs that are made from the document: by identifier, and with a summary for people."""
    paths = (await client.get("/openapi.json"))["paths"]
    operations = [operation for methods in paths.values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(operation["summary"].endswith((".", "?")) for operation in operations)


async def test_volumes_are_named(client: ManagerClient) -> None:
    """The document is this gateway's: it says which volumes there are."""
    schemas = (await client.get("/openapi.json"))["components"]["schemas"]
    assert schemas["OfVolume"]["properties"]["volume"]["enum"] == ["mem", "noop"]
    assert schemas["DownloadToken"]["additionalProperties"] is False

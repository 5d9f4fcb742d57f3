"""The operations of Azure's protocol that a volume needs, on one container.

https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api; answers that refuse are raised as
:class:`vfgateway.backends.azureblob.faults.Refused`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import attrs
from lxml import etree

from vfgateway.backends.azureblob.credentials import Pass
from vfgateway.backends.azureblob.facts import Blob, parse_date
from vfgateway.backends.azureblob.faults import Refused
from vfgateway.backends.azureblob.transport import Answer, Transport
from vfgateway.interfaces import type_chunk

_META = "x-ms-meta-"

#: Nothing may have the name.
FREE = {"If-None-Match": "*"}


def same(etag: str) -> dict[str, str]:
    """It must be the one that was seen."""
    return {"If-Match": f'"{etag}"'}


@attrs.frozen
class Block:
    """A part of a blob in the making, or of one that was committed."""

    id: str
    size: int


@attrs.frozen
class Page:
    """A part of a listing.

    :ivar prefixes: names that end in the delimiter, below which there are blobs
    :ivar marker: where the next page begins; empty after the last one
    """

    blobs: Sequence[Blob]
    prefixes: Sequence[str]
    marker: str


class Container:
    """One container, which need not exist."""

    def __init__(self, transport: Transport, name: str) -> None:
        self.transport = transport
        self.name = name

    async def _ask(
        self,
        method: str,
        blob: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Sequence[type_chunk] = (),
    ) -> Answer:
        return await self.transport.request(method, f"{self.name}/{blob}", query, headers, body)

    async def _ask_container(
        self, method: str, query: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Answer:
        return await self.transport.request(method, self.name, {"restype": "container", **query}, headers)

    # --- the container

    async def create(self, metadata: Mapping[str, str]) -> None:
        """Make it."""
        await self._ask_container("PUT", {}, _meta(metadata))

    async def properties(self) -> Blob:
        """What is known of it, as of a blob."""
        return _blob("", await self._ask_container("HEAD", {}))

    async def set_container_metadata(self, metadata: Mapping[str, str]) -> None:
        """Replace it."""
        await self._ask_container("PUT", {"comp": "metadata"}, _meta(metadata))

    async def remove(self) -> None:
        """Remove it with all that is in it. Missing is success."""
        try:
            await self._ask_container("DELETE", {})
        except Refused as refused:
            if not refused.missing_container:
                raise

    # --- looking

    async def head(self, blob: str) -> Blob | None:
        """What is known of a blob; ``None`` if there is none."""
        try:
            return _blob(blob, await self._ask("HEAD", blob))
        except Refused as refused:
            if refused.missing:
                return None
            raise

    async def get(self, blob: str, start: int, length: int, etag: str = "") -> tuple[Blob, bytes]:
        """Up to ``length`` bytes, at least one of which must be there, and what is known of the blob."""
        headers = {"x-ms-range": f"bytes={start}-{start + length - 1}", **(same(etag) if etag else {})}
        answer = await self._ask("GET", blob, headers=headers)
        return _blob(blob, answer), answer.body

    async def list(self, prefix: str, delimiter: str = "", marker: str = "", most: int = 5000) -> Answer:
        """A page of names in their order; :func:`parse_page` reads it."""
        query = {"comp": "list", "include": "metadata", "prefix": prefix, "maxresults": str(most)}
        if delimiter:
            query["delimiter"] = delimiter
        if marker:
            query["marker"] = marker
        return await self._ask_container("GET", query)

    async def any_below(self, blob: str, but: str = "") -> bool:
        """Whether there is a blob below the directory ``blob``, which is ``""`` for the top."""
        prefix = f"{blob}/" if blob else ""
        page = parse_page((await self.list(prefix, most=2)).body)
        return any(found.name not in (prefix, but) for found in page.blobs)

    # --- writing

    async def put(
        self, blob: str, chunks: Sequence[type_chunk], metadata: Mapping[str, str], headers: Mapping[str, str]
    ) -> Blob:
        """Replace or create a blob in one step."""
        sent = {"x-ms-blob-type": "BlockBlob", **_meta(metadata), **headers}
        answer = await self._ask("PUT", blob, headers=sent, body=chunks)
        return _written(blob, answer, sum(map(len, chunks)), metadata)

    async def put_block(self, blob: str, block: str, chunks: Sequence[type_chunk]) -> None:
        """Add a block, which is seen once it is in a list that was committed."""
        await self._ask("PUT", blob, {"comp": "block", "blockid": _encoded(block)}, body=chunks)

    async def put_block_from(
        self, blob: str, block: str, source: tuple[Container, Blob], start: int, size: int, headers: Mapping[str, str]
    ) -> None:
        """The same with bytes of another blob, which the storage fetches by itself."""
        container, origin = source
        let_in = await self.transport.credential.source(container.name, origin.name)
        sent = {
            "x-ms-copy-source": self.transport.address(f"{container.name}/{origin.name}", {}, let_in),
            "x-ms-source-if-match": f'"{origin.etag}"',
            "x-ms-source-range": f"bytes={start}-{start + size - 1}",
            **dict(let_in.source_headers),
            **headers,
        }
        await self._ask("PUT", blob, {"comp": "block", "blockid": _encoded(block)}, sent)

    async def commit(
        self, blob: str, blocks: Sequence[Block], metadata: Mapping[str, str], headers: Mapping[str, str]
    ) -> Blob:
        """Make the blob what these blocks are. All others that were not committed are dropped, whoever sent them."""
        listed = "".join(f"<Latest>{_encoded(block.id)}</Latest>" for block in blocks)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
        answer = await self._ask("PUT", blob, {"comp": "blocklist"}, {**_meta(metadata), **headers}, [body])
        return _written(blob, answer, sum(block.size for block in blocks), metadata)

    async def blocks(self, blob: str) -> tuple[Blob, Sequence[Block], Sequence[Block]]:
        """The blob, its blocks, and those that are not committed."""
        answer = await self._ask("GET", blob, {"comp": "blocklist", "blocklisttype": "all"})
        root = _parsed(answer.body)
        committed, waiting = (
            [
                Block(_decoded(each.findtext("Name")), int(each.findtext("Size")))
                for each in root.iterfind(f"{kind}/Block")
            ]
            for kind in ("CommittedBlocks", "UncommittedBlocks")
        )
        return _blob(blob, answer), committed, waiting

    async def copy(
        self, blob: str, source: tuple[Container, Blob], metadata: Mapping[str, str], headers: Mapping[str, str]
    ) -> Blob:
        """Replace or create a blob with the content of another one, in one step, as Azurite does it: without asking what lets us read the
        source, for it would fetch all of it to see that, and at once. Metadata must be given, or the source's is taken."""
        address = self.transport.address(f"{source[0].name}/{source[1].name}", {}, Pass())
        matched = {"x-ms-copy-source": address, "x-ms-source-if-match": f'"{source[1].etag}"'}
        sent = {**matched, **_meta(metadata), **headers}
        answer = await self._ask("PUT", blob, headers=sent)
        return _written(blob, answer, source[1].size, metadata)

    async def set_metadata(self, blob: Blob, metadata: Mapping[str, str]) -> Blob:
        """Replace it, if the blob is still the one that was seen."""
        answer = await self._ask("PUT", blob.name, {"comp": "metadata"}, {**_meta(metadata), **same(blob.etag)})
        written = _written(blob.name, answer, blob.size, metadata)
        return attrs.evolve(written, content_type=blob.content_type)

    async def delete(self, blob: str, headers: Mapping[str, str]) -> bool:
        """Remove a blob, and whether there was one. Snapshots that others took go with it."""
        try:
            await self._ask("DELETE", blob, headers={"x-ms-delete-snapshots": "include", **headers})
        except Refused as refused:
            if refused.repeated and (refused.missing or refused.conflict) and await self.head(blob) is None:
                return True
            if refused.missing:
                return False
            raise
        return True

    async def lease(self, blob: str, action: str, lease: str, seconds: int = 0) -> None:
        """``acquire``, ``renew`` or ``release`` the sole right to write a blob; ``lease`` is a UUID of our choice."""
        headers = {"x-ms-lease-action": action}
        headers["x-ms-proposed-lease-id" if action == "acquire" else "x-ms-lease-id"] = lease
        if seconds:
            headers["x-ms-lease-duration"] = str(seconds)
        await self._ask("PUT", blob, {"comp": "lease"}, headers)


def parse_page(body: bytes) -> Page:
    """A page of a listing from its XML. Takes milliseconds for each thousand of names."""
    root = _parsed(body)
    blobs, prefixes = [], []
    for element in root.iterfind("Blobs/*"):
        name = _name(element.find("Name"))
        if element.tag == "BlobPrefix":
            prefixes.append(name)
            continue
        properties = {each.tag: each.text or "" for each in element.find("Properties")}
        metadata = element.find("Metadata")
        blobs.append(
            Blob(
                name,
                properties["Etag"].strip('"'),
                int(properties.get("Content-Length") or 0),
                parse_date(properties["Last-Modified"]),
                {} if metadata is None else {each.tag.lower(): each.text or "" for each in metadata},
                properties.get("Content-Type", ""),
            )
        )
    return Page(blobs, prefixes, root.findtext("NextMarker") or "")


def parse_containers(body: bytes) -> tuple[Sequence[tuple[str, Mapping[str, str]]], str]:
    """Containers with their metadata, and where the next page begins."""
    root = _parsed(body)
    found = []
    for element in root.iterfind("Containers/Container"):
        metadata = element.find("Metadata")
        values = {} if metadata is None else {each.tag.lower(): each.text or "" for each in metadata}
        found.append((element.findtext("Name") or "", values))
    return found, root.findtext("NextMarker") or ""


def _parsed(body: bytes) -> Any:
    return etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))


def _name(element: Any) -> str:
    text = element.text or ""
    return unquote(text) if element.get("Encoded") == "true" else text


def _meta(metadata: Mapping[str, str]) -> dict[str, str]:
    return {f"{_META}{name}": value for name, value in metadata.items()}


def _blob(name: str, answer: Answer) -> Blob:
    headers = answer.headers
    content_range = headers.get("content-range", "").rpartition("/")[2]
    size = content_range if content_range.isdigit() else headers.get("x-ms-blob-content-length", "")
    return Blob(
        name,
        headers.get("etag", "").strip('"'),
        int(size or headers.get("content-length") or 0),
        parse_date(headers.get("last-modified", "")),
        {key[len(_META) :]: value for key, value in headers.items() if key.startswith(_META)},
        headers.get("content-type", ""),
    )


def _written(name: str, answer: Answer, size: int, metadata: Mapping[str, str]) -> Blob:
    modified = parse_date(answer.headers["last-modified"])
    return Blob(name, answer.headers["etag"].strip('"'), size, modified, dict(metadata))


def _encoded(block: str) -> str:
    return base64.b64encode(block.encode("ascii")).decode("ascii")


def _decoded(text: str | None) -> str:
    return base64.b64decode(text or "").decode("utf-8", "replace")

"""XML from clients: read with bounds, with no entities and no addresses followed (RFC 4918 section 20.6)."""

from __future__ import annotations

from typing import Any, Final

from lxml import etree

from vfgateway.errors import TooLarge
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.webdav.faults import Refused

#: Bytes of the largest document.
LARGEST: Final = 512 << 10
#: Levels of elements within each other.
DEEPEST: Final = 48
#: What some clients leave around their document.
_PADDING: Final = b"\0 \t\r\n"
#: How UTF-16 begins, of which every second byte may be one of those.
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff")

DAV: Final = "{DAV:}"


async def read_document(request: StreamingRequest) -> etree._Element | None:
    """The root of the request's body; ``None`` without a body. Raises :class:`Refused`."""
    try:
        data = await request.body.read_all(LARGEST)
    except TooLarge as error:
        raise Refused(413, str(error)) from None
    data = trimmed(data)
    return parse(data) if data else None


def trimmed(data: bytes) -> bytes:
    """A body without what some clients leave around their document."""
    return data if data.startswith(_WIDE) else data.strip(_PADDING)


def parse(data: bytes) -> etree._Element:
    """The root of a document. :class:`Refused` with 400 unless it is well-formed, shallow, and without a document type."""
    guard: Any = _Guard()
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        etree.fromstring(data, etree.XMLParser(target=guard, resolve_entities=False, no_network=True, huge_tree=False))
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        raise Refused(400, f"the body is not XML that can be used: {str(error)[:200]}") from None
    return root


class _Guard:
    """Looks at a document on its way through the parser, before anything is built of it."""

    def __init__(self) -> None:
        self._depth = 0

    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:
        """A document type serves nobody but attackers."""
        if public_id or system:
            raise Refused(403, "a document that refers to others is not taken", "no-external-entities")
        raise Refused(400, "a document type is not taken")

    def start(self, tag: str, attributes: object, namespaces: object = None) -> None:
        """An element begins."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise Refused(400, "elements are nested too deeply")

    def end(self, tag: str) -> None:
        """An element ends."""
        self._depth -= 1

    def data(self, text: str) -> None:
        """Text."""

    def close(self) -> None:
        """The end."""


def written(element: etree._Element) -> str:
    """An element as text that can be put anywhere: with the namespaces that it uses, and the language that it stands in."""
    language = element.xpath("string(ancestor-or-self::*[@xml:lang][1]/@xml:lang)")
    copied = etree.fromstring(etree.tostring(element, with_tail=False))
    if language and copied.get("{http://www.w3.org/XML/1998/namespace}lang") is None:
        copied.set("{http://www.w3.org/XML/1998/namespace}lang", str(language))
    etree.cleanup_namespaces(copied, keep_ns_prefixes=[prefix for prefix in copied.nsmap if prefix and prefix != "D"])
    return etree.tostring(copied, encoding="unicode")

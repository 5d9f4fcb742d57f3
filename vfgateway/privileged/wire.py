"""How the helper is talked to: one JSON object in each packet of a Unix socket, with open directories beside it.

A request is ``{"verb": ..., **arguments}``; an answer ``{"result": ...}``, or ``{"error": words, "errno": number}``.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final

#: Bytes of the longest packet, and the most descriptors with it.
LONGEST: Final = 16384
MOST_DESCRIPTORS: Final = 1


class Garbled(Exception):
    """What came is not a packet of this kind. The words may be told to whoever sent it."""


def send(connection: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one packet. ``OSError``; ``ValueError`` if it is too long."""
    packet = json.dumps(message, separators=(",", ":")).encode()
    if len(packet) > LONGEST:
        raise ValueError("too long a message")
    socket.send_fds(connection, [packet], list(descriptors))


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next packet, and its descriptors, which are the caller's to close; ``None`` at the end. ``OSError``, :class:`Garbled`."""
    packet, descriptors, flags, _ = socket.recv_fds(connection, LONGEST, MOST_DESCRIPTORS)
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise Garbled("too long a packet, or too many descriptors")
        if not packet:
            close(descriptors)
            return None
        try:
            message = json.loads(packet)
        except ValueError:
            raise Garbled("not JSON") from None
        if not isinstance(message, dict):
            raise Garbled("not an object")
    except Garbled:
        close(descriptors)
        raise
    return message, descriptors


def close(descriptors: Sequence[int]) -> None:
    """Close all of them."""
    for each in descriptors:
        os.close(each)

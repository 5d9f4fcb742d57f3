"""The helper's side of the socket: one thread for each connection, and no more than a few."""

from __future__ import annotations

import inspect
import os
import pwd
import socket
import struct
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from vfgateway.privileged import wire
from vfgateway.privileged.powers import Refused, type_verb

#: Connections at once: several for each process of the gateway.
MOST_CONNECTIONS: Final = 256
#: Seconds that one who is refused may take to hear it.
PATIENCE: Final = 5.0
#: ``struct ucred``: process, user, group.
_PEER: Final = struct.Struct("=iII")


def serve(listening: socket.socket, users: Collection[int], verbs: Mapping[str, type_verb]) -> None:
    """Answer for ever.

    :param users: who may ask, beside root
    """
    room = threading.BoundedSemaphore(MOST_CONNECTIONS)
    while True:
        connection, _ = listening.accept()
        room.acquire()
        answering = _Answering(connection, room, users, verbs)
        threading.Thread(target=answering.run, daemon=True).start()


class _Answering:
    """One connection."""

    def __init__(
        self,
        connection: socket.socket,
        room: threading.BoundedSemaphore,
        users: Collection[int],
        verbs: Mapping[str, type_verb],
    ) -> None:
        self._connection = connection
        self._room = room
        self._users = users
        self._verbs = verbs

    def run(self) -> None:
        """Answer until the other side closes, or says what cannot be understood."""
        try:
            with self._connection:
                self._answer_all()
        except OSError:
            pass  # it is gone
        finally:
            self._room.release()

    def _answer_all(self) -> None:
        user = _PEER.unpack(self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[1]
        allowed = user == 0 or user in self._users
        if not allowed:
            say(f"refused user {_name(user)}")
            self._connection.settimeout(PATIENCE)
        while True:
            try:
                request = wire.receive(self._connection)
            except wire.Garbled as error:
                wire.send(self._connection, _refusal(str(error)))
                return
            if request is None:
                return
            message, descriptors = request
            try:
                answer = self._answer(message, descriptors) if allowed else _refusal(f"user {_name(user)} may not ask")
            finally:
                wire.close(descriptors)
            wire.send(self._connection, answer)

    def _answer(self, message: dict[str, Any], descriptors: Sequence[int]) -> dict[str, Any]:
        verb = message.pop("verb", None)
        function = self._verbs.get(verb) if isinstance(verb, str) else None
        if function is None:
            return _refusal("no such verb")
        try:
            inspect.signature(function).bind(*descriptors, **message)
        except TypeError as error:
            return _refusal(f"{verb}: {error}")
        try:
            return {"result": function(*descriptors, **message)}
        except Refused as error:
            say(f"refused {verb}: {error}")
            return _refusal(f"{verb}: {error}")
        except OSError as error:
            return {"error": f"{verb}: {error.strerror or error}", "errno": error.errno}


def _refusal(words: str) -> dict[str, Any]:
    return {"error": words, "refused": True}


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def say(sentence: str) -> None:
    """To whatever keeps our log."""
    print(f"vfgateway helper {os.getpid()}: {sentence}", file=sys.stderr, flush=True)

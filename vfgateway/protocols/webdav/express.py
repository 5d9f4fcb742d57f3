"""The verbs that the fast lane (:mod:`vfgateway.protocols.web.lane`) knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from vfgateway.paths import FolderPath
from vfgateway.protocols.web.lane import CONDITIONS, Answer, Asked, Route, place_in
from vfgateway.protocols.webdav import get, propfind
from vfgateway.protocols.webdav.settings import WebDavSettings
from vfgateway.services.session import FolderSession

type_verb = Callable[[Asked, FolderSession, FolderPath], Answer | None]

_VERBS: Final[Mapping[bytes, tuple[type_verb, frozenset[bytes]]]] = {
    b"GET": (get.answer_at_hand, CONDITIONS),
    b"HEAD": (get.answer_at_hand, CONDITIONS),
    b"PROPFIND": (propfind.answer_at_hand, frozenset({b"depth"})),
}


@attrs.frozen
class _Serve:
    """Enters the vfolder and leaves the rest to a verb."""

    verb: type_verb
    guarded: bool

    def __call__(self, asked: Asked) -> Answer | None:
        name, path = place_in(asked.target)
        folder = asked.enter(name, self.guarded)
        return None if folder is None else self.verb(asked, folder, path)


def routes(settings: WebDavSettings) -> Mapping[bytes, Route]:
    """By method."""
    guarded = not settings.allow_plain_login
    return {method: Route(_Serve(verb, guarded), fields) for method, (verb, fields) in _VERBS.items()}

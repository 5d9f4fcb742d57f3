"""The verbs that the fast lane (:mod:`vfgateway.protocols.web.lane`) knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from vfgateway.paths import FolderPath
from vfgateway.protocols.web.asked import Asked, Route, place_in, type_served
from vfgateway.protocols.web.plainhead import CONDITIONS
from vfgateway.protocols.webdav import get, look, put
from vfgateway.protocols.webdav.settings import WebDavSettings
from vfgateway.services.session import FolderSession

type_verb = Callable[[Asked, FolderSession, FolderPath], type_served]


@attrs.frozen
class _Serve:
    """Enters the vfolder and leaves the rest to a verb.

    :ivar waits: for who has to enter anew
    """

    verb: type_verb
    guarded: bool
    waits: bool = False

    def __call__(self, asked: Asked) -> type_served:
        name, path = place_in(asked.target)
        folder = asked.enter(name, self.guarded)
        if folder is not None:
            return self.verb(asked, folder, path)
        return asked.enter_again(name, lambda late: self.verb(asked, late, path), self.guarded) if self.waits else None


def routes(settings: WebDavSettings) -> Mapping[bytes, Route]:
    """By method."""
    guarded = not settings.allow_plain_login
    reading = Route(_Serve(get.answer_at_hand, guarded), CONDITIONS)
    return {
        b"GET": reading,
        b"HEAD": reading,
        b"PROPFIND": Route(_Serve(look.answer_at_hand, guarded), frozenset({b"depth"})),
        b"PUT": Route(_Serve(put.answer_at_hand(settings.max_upload_size), guarded, waits=True), body=True),
    }

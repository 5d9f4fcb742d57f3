"""The least that a web server on Twisted can be. Argument: port."""

from __future__ import annotations

import sys

from twisted.internet import endpoints, reactor
from twisted.web.resource import Resource
from twisted.web.server import Site


class Status(Resource):
    """Answers everything alike."""

    isLeaf = True

    def render_GET(self, request: object) -> bytes:
        """A few bytes."""
        return b'{"status": "ok"}'


if __name__ == "__main__":
    endpoints.serverFromString(reactor, f"tcp:{sys.argv[1]}:interface=127.0.0.1").listen(Site(Status()))  # type: ignore[no-untyped-call]
    reactor.run()

"""The routes of the client front end, and what is done to every request on the way to them."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from klein import Klein
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from vfgateway import __version__
from vfgateway.blocking import Pool
from vfgateway.protocols.client import content, download, linkpages
from vfgateway.protocols.client.faults import fail
from vfgateway.protocols.client.linkpages import LinkPages
from vfgateway.protocols.client.people import api as people
from vfgateway.protocols.client.people.entering import enter
from vfgateway.protocols.client.query import Query
from vfgateway.protocols.client.settings import ClientSettings
from vfgateway.protocols.client.tus_routes import PeoplesUploads
from vfgateway.protocols.client.tus_token import TokenUploads
from vfgateway.protocols.web.cors import Cors
from vfgateway.protocols.web.faults import PROBLEMS, answer_json, answer_problem
from vfgateway.protocols.web.handling import answer_errors, handle
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.services.gateway import Gateway

#: Paths whose handlers answer browsers' preflight requests themselves.
OWN_PREFLIGHT = (b"/upload", content.PREFIX + b"uploads")

type_handler = Callable[["ClientApp", StreamingRequest], Awaitable[None]]


class ClientApp:
    """What the handlers of this front end share.

    :ivar klein: the routes
    :ivar pool: threads for what would keep the reactor, but is no storage call
    """

    def __init__(self, gateway: Gateway, settings: ClientSettings) -> None:
        self.gateway = gateway
        self.settings = settings
        self.klein = Klein()
        self.pool = Pool(gateway.reactor, 2, "archives")
        answer_errors(self.klein, fail)
        self.route("/", status)
        self.route("/download", download.download)
        self.route("/download-archive", download.download_archive)
        TokenUploads(gateway).mount(self.klein)
        PeoplesUploads(gateway, partial(enter, gateway)).mount(self.klein)
        people.install(self)
        self.links = LinkPages(self)

    def route(self, path: str, handler: type_handler, *methods: str) -> None:
        """Add a route (GET and HEAD by default)."""

        async def run(request: Any, **parts: Any) -> None:
            await handler(self, request, **parts)

        self.klein.route(path, methods=methods or ("GET", "HEAD"), endpoint=path + " ".join(methods))(run)

    @property
    def templates(self) -> Sequence[str]:
        """All routes, with their variable parts in angle brackets."""
        others = [prefix.decode("ascii") + "<path>" for prefix in (content.PREFIX + b"files/", linkpages.PREFIX)]
        return [*others, *(rule.rule for rule in self.klein.url_map.iter_rules())]

    def resource(self) -> Resource:
        """The root of the site."""
        return Root(self)


class Root(Resource):
    """Cross-origin rules, then the content API, whose paths Klein would decode too early, then Klein."""

    isLeaf = True

    def __init__(self, app: ClientApp) -> None:
        super().__init__()
        self._app = app
        self._klein = app.klein.resource()
        origins = app.settings.cors_origins
        self._by_token = Cors(origins)
        self._by_login = Cors(origins, open_credentials=False)

    def render(self, request: StreamingRequest) -> Any:
        """Every request of the site comes here."""
        ours = request.path.startswith(content.PREFIX)
        cors = self._by_login if ours else self._by_token
        cors.apply(request)
        if request.method == b"OPTIONS" and not request.path.startswith(OWN_PREFLIGHT):
            return self._preflight(request, cors)
        if ours and content.serves(request.path):
            return handle(request, content.answer(self._app, request), fail)
        if request.path.startswith(linkpages.PREFIX):
            return handle(request, self._app.links.answer(request), self._app.links.fail)
        return self._klein.render(request)

    def _preflight(self, request: StreamingRequest, cors: Cors) -> int:
        if not cors.preflight(request):
            problem = {"type": PROBLEMS + "generic-forbidden", "title": "Not a preflight request that is let in"}
            answer_problem(request, 403, problem)
        request.finish()
        return NOT_DONE_YET


async def status(app: ClientApp, request: StreamingRequest) -> None:
    """Say that we are here."""
    Query(request, ())
    answer_json(request, {"status": "ok", "type": "client-facing", "storage-proxy": __version__})

"""What a route is: one line of a table from which both the dispatcher and the OpenAPI document are made."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs
from pydantic import BaseModel

from vfgateway.principals import Origin, Principal

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

P = TypeVar("P", bound=BaseModel)

JSON = "application/json"
PROBLEM = "application/problem+json"
BYTES = "application/octet-stream"
EVENT_STREAM = "text/event-stream"

#: Variable parts of paths that have one length only: what is shorter or longer belongs to another route, or to none.
PATH_LENGTHS = {"vfolder": 32}


class Source(enum.Enum):
    """Where a route's parameters come from."""

    BODY = "body"
    QUERY = "query"


@attrs.frozen
class Nothing:
    """A reply without a body."""


@attrs.frozen
class Raw:
    """A reply that is not JSON: its media type, and in a word or two what it is."""

    media_type: str
    what: str


@attrs.frozen
class Events:
    """A stream of server-sent events, each a model as JSON under one of these names."""

    model: type[BaseModel]
    names: tuple[str, ...]


type_reply_body = type[BaseModel] | Raw | Events | Nothing
NOTHING = Nothing()


@attrs.frozen
class Call:
    """One request that may be answered: who asks, from where, and what the path named.

    :ivar request: to stream an answer; others return a :class:`Reply`
    :ivar path: the variable parts of the path, decoded
    """

    request: Any
    principal: Principal
    origin: Origin
    path: Mapping[str, str]


@attrs.frozen
class Reply:
    """An answer. ``body`` is a model, or bytes together with their ``media_type``; ``None`` is an empty body."""

    status: int = 200
    body: BaseModel | bytes | None = None
    media_type: str = JSON
    headers: Mapping[str, str] = attrs.Factory(dict)


NO_CONTENT = Reply(204)


class NoParameters(BaseModel):
    """For routes that take none."""


@attrs.frozen
class Route(Generic[P]):
    """One operation.

    :ivar path: with variable parts in braces (``/users/{user}``)
    :ivar handler: answers a :class:`Call`, or what the front end makes of one; returns ``None`` when it has written the whole answer to ``call.request`` by itself. Its name is the
        operation's identifier, its docstring the operation's description
    :ivar params: checked before the handler is called; :class:`NoParameters` for none
    :ivar replies: every status of success with its body
    :ivar faults: statuses of failure beyond those that every route has
    :ivar reference: whether the route is the reference's, whose failures look as they always did
    :ivar public: answered without the secret
    :ivar deprecated: there only to say that it is gone
    :ivar tag: groups operations in the document
    """

    method: str
    path: str
    handler: Callable[[Any, P], Awaitable[Reply | None]]
    params: type[P]
    replies: Mapping[int, type_reply_body]
    faults: Sequence[int] = ()
    source: Source = Source.BODY
    reference: bool = False
    public: bool = False
    deprecated: bool = False
    tag: str = ""

    @property
    def operation(self) -> str:
        """The name of the operation: ``folder_create``."""
        return self.handler.__name__

    @property
    def takes_parameters(self) -> bool:
        return self.params is not NoParameters

    @property
    def needs_body(self) -> bool:
        """Whether there has to be a body: where nothing has to be in it, it may be left out. The reference always wants one."""
        return self.reference or any(field.is_required() for field in self.params.model_fields.values())


class Routes:
    """Collects routes that belong together.

    :param prefix: put before each path
    :param options: what all of them share
    """

    def __init__(self, gateway: Gateway, prefix: str = "", **options: Any) -> None:
        self.gateway = gateway
        self.table: list[Route[Any]] = []
        self._prefix = prefix
        self._options = options

    def add(
        self,
        method: str,
        path: str,
        handler: Callable[[Any, P], Awaitable[Reply | None]],
        params: type[P],
        replies: Mapping[int, type_reply_body],
        *faults: int,
        **options: Any,
    ) -> None:
        """Enter one operation; see :class:`Route`."""
        settings = self._options | options
        self.table.append(Route(method, self._prefix + path, handler, params, replies, faults, **settings))

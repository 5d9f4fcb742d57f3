"""Talks to the gateway's manager API: through its socket, which knows the caller, or over the network with a secret or a key."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import click
import httpx

from vfgateway import __version__, secretfile
from vfgateway.cli import place
from vfgateway.cli.failures import CommandFailed, Exit
from vfgateway.errors import ConfigurationError

#: Our own routes.
PREFIX = "/vfgateway/v1"
#: Where the gateway expects the orchestrator's secret.
SECRET_HEADER = "X-BackendAI-Storage-Auth-Token"
#: Seconds to wait for a connection, and for an answer that needs no long work.
CONNECT, ANSWER = 5.0, 60.0

_START = "start it with `make run` or `systemctl start vfgateway`"
_CODES = {
    400: Exit.USAGE,
    401: Exit.REFUSED,
    403: Exit.REFUSED,
    404: Exit.NOT_FOUND,
    423: Exit.REFUSED,
    507: Exit.REFUSED,
}


def path(*parts: str) -> str:
    """One of our routes, each part of it quoted."""
    return "/".join((PREFIX, *(quote(part, safe="") for part in parts)))


@attrs.frozen
class Choice:
    """How the caller wants to reach the gateway.

    :ivar config: the configuration that tells where the socket lies; ``None`` to look for it
    :ivar url: of a manager front end, instead of the socket; then a secret or a key is needed
    :ivar secret_file: holds the orchestrator's secret
    :ivar key_file: holds an administrator's API key
    :ivar ca_file: certificates to trust instead of the system's
    :ivar certificate_file: a certificate with its key, for a front end that asks for one
    """

    config: Path | None = None
    url: str | None = None
    secret_file: Path | None = None
    key_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None


class Client:
    """Requests and answers. Connects when it is first used. Every method raises :class:`CommandFailed`."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice

    @cached_property
    def place(self) -> place.Place:
        """Where the gateway of this machine lies."""
        return place.find(self.choice.config)

    def close(self) -> None:
        """Close connections, if there are any."""
        if "_http" in self.__dict__:
            self._http.close()

    # --- verbs ---

    def get(self, where: str, **query: str | None) -> Any:
        """The body of the answer."""
        params = {name: value for name, value in query.items() if value is not None}
        return self.call("GET", where, params=params)

    def post(self, where: str, body: Mapping[str, Any] | None = None) -> Any:
        """The body of the answer; without ``body`` nothing is sent."""
        return self.call("POST", where, json=body)

    def put(self, where: str, body: Mapping[str, Any]) -> None:
        """No answer."""
        self.call("PUT", where, json=body)

    def patch(self, where: str, body: Mapping[str, Any]) -> Any:
        """The body of the answer."""
        return self.call("PATCH", where, json=body)

    def delete(self, where: str, **query: str | None) -> Any:
        """The body of the answer, if it has one."""
        params = {name: value for name, value in query.items() if value is not None}
        return self.call("DELETE", where, params=params)

    def call(self, method: str, where: str, timeout: float | None = ANSWER, **content: Any) -> Any:
        """Any request.

        :param timeout: seconds to wait for the answer; ``None`` for ever
        """
        try:
            reply = self._http.request(method, where, timeout=httpx.Timeout(CONNECT, read=timeout), **content)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        _refuse_failure(reply)
        return _body(reply)

    def events(self, where: str, **query: str | None) -> Iterator[dict[str, Any]]:
        """What a stream of server-sent events tells, until it ends."""
        params = {name: value for name, value in query.items() if value is not None}
        try:
            with self._http.stream("GET", where, params=params, timeout=httpx.Timeout(CONNECT, read=None)) as reply:
                if not reply.is_success:
                    reply.read()
                    _refuse_failure(reply)
                for line in reply.iter_lines():
                    if line.startswith("data:"):
                        yield json.loads(line.removeprefix("data:"))
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None

    def resolve(self, name: str) -> dict[str, Any]:
        """The vfolder that ``name`` means: ``OWNER/NAME``, ``NAME``, or an identifier."""
        found: dict[str, Any] = self.get(path("vfolders", "resolve"), vfolder=name)
        return found

    # --- the connection ---

    @cached_property
    def _http(self) -> httpx.Client:
        headers = {"User-Agent": f"vfgateway/{__version__}"}
        if self.choice.url is not None:
            verify = self._tls() if self.choice.url[:5] == "https" else False
            # No proxy of the environment ever sees the secret.
            return httpx.Client(
                base_url=self.choice.url, headers=headers | self._credential(), verify=verify, trust_env=False
            )
        if self.choice.secret_file or self.choice.key_file:
            raise click.UsageError("--secret-file and --key-file go with --url")
        transport = httpx.HTTPTransport(uds=str(self._socket()))
        return httpx.Client(transport=transport, base_url="http://localhost", headers=headers, trust_env=False)

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.choice.ca_file)
            if self.choice.certificate_file is not None:
                context.load_cert_chain(self.choice.certificate_file)
        except (OSError, ssl.SSLError) as error:
            raise CommandFailed(f"cannot use the certificates: {error.strerror or error}") from None
        return context

    def _credential(self) -> dict[str, str]:
        if (self.choice.secret_file is None) == (self.choice.key_file is None):
            raise click.UsageError("--url needs either --secret-file or --key-file")
        if self.choice.secret_file is not None:
            return {SECRET_HEADER: _first_line(self.choice.secret_file)}
        assert self.choice.key_file is not None
        return {"Authorization": f"Bearer {_first_line(self.choice.key_file)}"}

    def _socket(self) -> Path:
        socket = self.place.socket
        if socket is None:
            raise CommandFailed(
                f"{self.place.source} gives this command no socket: use --url with --secret-file or --key-file"
            )
        if len(bytes(socket)) > place.LONGEST_SOCKET:
            raise CommandFailed(
                f"{socket} is too long for a socket: set `socket` in [frontends.manager], or use --url with --secret-file"
            )
        return socket

    def _unreachable(self, error: httpx.HTTPError) -> CommandFailed:
        """What to do about a request that got no answer."""
        cause = _cause(error)
        if isinstance(error, httpx.ReadTimeout):
            return CommandFailed(f"the gateway gave no answer within {ANSWER:.0f} seconds", Exit.UNREACHABLE)
        if self.choice.url is not None:
            return CommandFailed(f"cannot reach the gateway at {self.choice.url}: {error}", Exit.UNREACHABLE)
        if isinstance(cause, PermissionError):
            return CommandFailed(
                f"you may not use {self.place.socket}: run this as root or as the gateway's account, "
                "or use --url with --key-file",
                Exit.REFUSED,
            )
        if isinstance(cause, FileNotFoundError | ConnectionRefusedError):
            where = "" if self.place.source else f" in {self.place.folder}"
            return CommandFailed(
                f"the gateway is not running{where} (nothing listens on {self.place.socket}): {_START}",
                Exit.UNREACHABLE,
            )
        return CommandFailed(f"the gateway went away before it answered ({error}): is it running?", Exit.UNREACHABLE)


def _cause(error: BaseException) -> BaseException:
    """The error of the operating system behind it, if one is there."""
    while not isinstance(error, OSError) and (below := error.__cause__ or error.__context__) is not None:
        error = below
    return error


def _first_line(file: Path) -> str:
    """A secret: the current one stands first. Never taken from a file that everybody can read."""
    try:
        return secretfile.load(file).splitlines()[0].strip()
    except ConfigurationError as error:
        raise CommandFailed(str(error)) from None


def _refuse_failure(reply: httpx.Response) -> None:
    if reply.is_success:
        return
    problem = _body(reply)
    kind = str(problem.get("type", ""))
    if kind.endswith("url-not-found"):
        raise CommandFailed(
            f"the gateway does not know {reply.request.method} {reply.request.url.path}: is it of another version?"
        )
    message = str(problem.get("detail") or problem.get("title") or f"the gateway answered {reply.status_code}")
    code = _CODES.get(reply.status_code, Exit.FAILURE)
    if kind.endswith("volume/invalid"):
        code = Exit.NOT_FOUND
    if kind.endswith("not-ready"):
        code, message = Exit.UNREACHABLE, "the gateway is still starting: try again in a moment"
    if reply.status_code >= 500 and "request_id" in problem:
        message += f" (request {problem['request_id']} in the gateway's log)"
    raise CommandFailed(message, code)


def _body(reply: httpx.Response) -> Any:
    if not reply.content:
        return {}
    try:
        body = reply.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise CommandFailed(f"what answers at {reply.request.url} is not a vfgateway's manager API")
    return body

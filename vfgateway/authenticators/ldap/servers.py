"""Connections to the servers of one directory: kept, handed out, and moved to the next server when one does not answer.

Everything here blocks, and runs in the threads of a pool. ldap3 brings pools and fail-over of its own, which wait in loops that nobody
can end; so it is used for one connection at a time.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs
import ldap3
from ldap3.core.exceptions import (
    LDAPBindError,
    LDAPCommunicationError,
    LDAPException,
    LDAPResponseTimeoutError,
    LDAPStartTLSError,
)
from twisted.logger import Logger

from vfgateway.authenticators.ldap.settings import LdapSettings

T = TypeVar("T")

#: Seconds for which a server that failed is left alone.
REST = 15.0
#: Seconds after which a connection that nobody used is not used again: firewalls forget them.
LONGEST_IDLE = 60.0
_SUCCESS, _SIZE_LIMIT, _NO_SUCH_OBJECT, _REFERRAL = 0, 4, 32, 10
#: A bind with one of these says that the name or password is wrong, or that the account may not log in (RFC 4511 appendix A).
_REFUSED = frozenset({16, 19, 32, 34, 48, 49, 50, 53})
#: The server has no time for anybody.
_BUSY = frozenset({51, 52})


class Unanswered(Exception):
    """No server of the directory gives an answer that can be used; says why, for the administrator."""


class Lost(Exception):
    """This server does not answer."""


@attrs.frozen
class Entry:
    """One entry: its DN, and the values of its attributes, by their names in small letters."""

    dn: str
    values: Mapping[str, Sequence[bytes]]

    def all(self, attribute: str) -> Sequence[bytes]:
        """The values of an attribute; none for an attribute without a name."""
        return self.values.get(attribute.lower(), ())

    def texts(self, attribute: str) -> list[str]:
        """Those values that are text."""
        return [value.decode("utf-8") for value in self.all(attribute) if _is_text(value)]

    def text(self, attribute: str) -> str | None:
        """The first value that is text."""
        return next(iter(self.texts(attribute)), None)


def _is_text(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class _Tls(ldap3.Tls):
    """TLS as the standard library does it, names of servers included: ldap3's own check knows no addresses on newer Pythons."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        super().__init__(validate=context.verify_mode)
        self._context = context
        self._host = host

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Called by ldap3 for ``ldaps`` and after StartTLS."""
        connection.socket = self._context.wrap_socket(connection.socket, server_hostname=self._host)


class Link:
    """One connection."""

    def __init__(self, url: str, settings: LdapSettings, context: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        server = ldap3.Server(
            url if parts.scheme == "ldapi" else f"{parts.scheme}://{parts.netloc}",
            use_ssl=parts.scheme == "ldaps",
            get_info=ldap3.NONE,
            connect_timeout=settings.timeout,
            mode=ldap3.IP_V4_PREFERRED,
            tls=_Tls(context, host) if context is not None else None,
            allowed_referral_hosts=[],
        )
        self._limit = max(1, round(settings.timeout))
        self._connection = ldap3.Connection(
            server,
            client_strategy=ldap3.SYNC,
            auto_referrals=False,
            check_names=False,
            read_only=True,
            receive_timeout=self._limit,
        )
        self._start_tls = settings.start_tls and parts.scheme == "ldap"
        self.idle_since = 0.0

    def open(self) -> None:
        """Connect, and begin TLS. ``Lost``."""
        with _told():
            self._connection.open(read_server_info=False)
            if self._start_tls and not self._connection.start_tls(read_server_info=False):
                raise Lost(f"StartTLS failed: {self._connection.last_error or 'no reason given'}")

    def bind(self, dn: str, password: bytes) -> bool:
        """Whether that is the password. An empty one would be no question at all (RFC 4513 section 5.1.2): it is never asked. ``Lost``,
        ``Unanswered``."""
        if not dn or not password:
            return False
        with _told():
            try:
                self._connection.rebind(dn, password, authentication=ldap3.SIMPLE, read_server_info=False)
            finally:
                self._connection.password = self._connection.request = None
        return _check("a bind", self._connection.result, _SUCCESS, *_REFUSED) == _SUCCESS

    def be_anonymous(self) -> None:
        """Ask as nobody. ``Lost``, ``Unanswered``."""
        self._connection.user = None
        with _told():
            self._connection.rebind(authentication=ldap3.ANONYMOUS, read_server_info=False)
        _check("an anonymous bind", self._connection.result, _SUCCESS)

    def search(
        self, base: str, filter: str, attributes: Sequence[str], *, most: int, here: bool = False
    ) -> list[Entry]:
        """Entries below ``base`` (``here``: that one alone), ``most`` of them at most. Referrals are not followed. ``Lost``,
        ``Unanswered``."""
        with _told():
            self._connection.search(
                base,
                filter,
                search_scope=ldap3.BASE if here else ldap3.SUBTREE,
                attributes=[name for name in attributes if name],
                size_limit=most,
                time_limit=self._limit,
            )
        what = f"a search below {base}"
        _check(what, self._connection.result, _SUCCESS, _SIZE_LIMIT, _NO_SUCH_OBJECT, _REFERRAL)
        return [
            Entry(found["dn"], {name.lower(): tuple(values) for name, values in found["raw_attributes"].items()})
            for found in self._connection.response or ()
            if found["type"] == "searchResEntry"
        ][:most]

    def cut(self) -> None:
        """Let whoever waits for an answer fail. Called from another thread."""
        waiting = self._connection.socket
        if waiting is not None:
            with suppress(OSError):  # it is not connected yet, or not any more
                socket.socket.shutdown(waiting, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go."""
        try:
            self._connection.unbind()
        except (LDAPException, OSError):
            self._connection.strategy.close()


@contextmanager
def _told() -> Iterator[None]:
    """Turns what ldap3 raises into :class:`Lost` where it concerns the connection, else into :class:`Unanswered`."""
    try:
        yield
    except (LDAPCommunicationError, LDAPBindError, LDAPStartTLSError, LDAPResponseTimeoutError, OSError) as error:
        raise Lost(_sentence(error)) from error
    except LDAPException as error:
        raise Unanswered(f"{type(error).__name__}: {error}") from error
    except (
        Exception
    ) as error:  # what the library's decoder raises for bytes that are no LDAP, and for a socket that went
        raise Lost(f"it does not answer as a directory does ({type(error).__name__})") from error


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "CERTIFICATE_VERIFY_FAILED" in text:
        reason = text.partition("verify failed: ")[2].partition(" (_ssl")[0]
        return f"its certificate is not good ({reason or text}); if its authority is your own, name that in ca_file"
    if isinstance(error, LDAPResponseTimeoutError) or "timed out" in text or "temporarily unavailable" in text:
        return "no answer in time"
    return text or type(error).__name__


def _check(what: str, result: Mapping[str, Any], *good: int) -> int:
    """The code of a result, if it is one of these. What a question was at fault for does not speak against the server."""
    code = int(result["result"])
    if code in good:
        return code
    message = f" ({result['message']})" if result.get("message") else ""
    sentence = f"{what} was answered with {result['description']}{message}"
    raise Lost(sentence) if code in _BUSY else Unanswered(sentence)


@attrs.define(eq=False)
class _Server:
    """One server. ``rest_until``: when it may be tried again; ``tried``: somebody is trying whether it is back."""

    url: str
    rest_until: float = 0.0
    reason: str = ""
    tried: bool = False
    idle: list[Link] = attrs.Factory(list)


class Job:
    """What is done for one question; it can be cut off from another thread.

    :ivar since: when it was asked
    """

    def __init__(self, since: float) -> None:
        self.since = since
        self.late = False
        self._links: set[Link] = set()
        self._lock = threading.Lock()

    def add(self, link: Link) -> None:
        """The job waits for this connection now."""
        with self._lock:
            self._links.add(link)
        if self.late:
            link.cut()

    def done_with(self, link: Link) -> None:
        """It does so no more."""
        with self._lock:
            self._links.discard(link)

    def cut(self) -> None:
        """It has taken too long."""
        self.late = True
        with self._lock:
            links = list(self._links)
        for link in links:
            link.cut()


class Servers:
    """All servers of a directory.

    :param seconds: tells the time
    """

    log = Logger()

    def __init__(self, settings: LdapSettings, seconds: Callable[[], float]) -> None:
        self._settings = settings
        self._seconds = seconds
        self._lock = threading.Lock()
        self._servers = [_Server(url) for url in settings.servers]
        self._context: ssl.SSLContext | None = None

    def call(self, job: Job, work: Callable[[Link], T]) -> T:
        """What ``work`` makes of a connection that may search, from the first server that answers; it may be called once for each.
        ``Unanswered``."""
        reasons = []
        for server in self._willing():
            try:
                outcome = self._call(server, job, work)
            except Lost as error:
                reason = f"no answer within {self._settings.patience:g} seconds" if job.late else str(error)
                self._failed(server, reason)
                reasons.append(f"{server.url}: {reason}")
                if job.late:
                    break
            except Unanswered:
                self._answered(server)
                raise
            else:
                self._answered(server)
                return outcome
        raise Unanswered("; ".join(reasons or [f"{server.url}: {server.reason}" for server in self._servers]))

    def _call(self, server: _Server, job: Job, work: Callable[[Link], T]) -> T:
        """From this server. A kept connection may have gone meanwhile, without the server: then a new one is used."""
        while link := self._kept(server):
            try:
                return self._use(server, job, link, work)
            except Lost:
                if job.late:
                    raise
        link = Link(server.url, self._settings, self._tls_context())
        return self._use(server, job, link, work, new=True)

    def _use(self, server: _Server, job: Job, link: Link, work: Callable[[Link], T], new: bool = False) -> T:
        job.add(link)
        try:
            if new:
                link.open()
                self.enter(link)
            outcome = work(link)
        except BaseException:  # in what state the connection is, nobody knows
            job.done_with(link)
            link.close()
            raise
        job.done_with(link)
        self._keep(server, link)
        return outcome

    def enter(self, link: Link) -> None:
        """Become whoever searches: the account for that, or nobody. Where only users search, each for itself, that is no question."""
        if self._settings.bind_dn:
            password = self._settings.bind_password.load()[0].encode("utf-8")
            if not link.bind(self._settings.bind_dn, password):
                raise Lost(f"it does not let {self._settings.bind_dn} in: check bind_dn and bind_password")
        elif self._settings.can_search:
            link.be_anonymous()

    # --- which server ---

    def _willing(self) -> Iterator[_Server]:
        """Those that may be tried, in their order. Of all who want to know whether a server is back, one tries."""
        for server in self._servers:
            with self._lock:
                if server.rest_until:
                    if server.tried or self._seconds() < server.rest_until:
                        continue
                    server.tried = True
            yield server

    def _failed(self, server: _Server, reason: str) -> None:
        with self._lock:
            known, server.reason, server.tried = bool(server.rest_until), reason, False
            server.rest_until = self._seconds() + REST
            links, server.idle = server.idle, []
        for link in links:
            link.close()
        if not known:
            self.log.warn("{server} does not answer: {reason}", server=server.url, reason=reason)

    def _answered(self, server: _Server) -> None:
        with self._lock:
            back, server.rest_until, server.tried = bool(server.rest_until), 0.0, False
        if back:
            self.log.info("{server} answers again", server=server.url)

    # --- connections ---

    def _tls_context(self) -> ssl.SSLContext | None:
        if self._context is None and (
            self._settings.start_tls or any("ldaps" in url for url in self._settings.servers)
        ):
            try:
                context = ssl.create_default_context(cafile=self._settings.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise Lost(f"cannot read ca_file {self._settings.ca_file}: {error}") from None
            if not self._settings.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._context = context
        return self._context

    def _kept(self, server: _Server) -> Link | None:
        with self._lock:
            while server.idle:
                link = server.idle.pop()
                if 0 <= self._seconds() - link.idle_since < LONGEST_IDLE:
                    return link
                link.close()
        return None

    def _keep(self, server: _Server, link: Link) -> None:
        link.idle_since = self._seconds()
        with self._lock:
            if len(server.idle) < self._settings.connections:
                server.idle.append(link)
                return
        link.close()

    def close(self) -> None:
        """Let go of all connections that nobody uses."""
        for server in self._servers:
            with self._lock:
                links, server.idle = server.idle, []
            for link in links:
                link.close()

    def check(self, job: Job, work: Callable[[Link], T]) -> list[tuple[str, T | str]]:
        """Ask every server by itself, whether it rests or not: its URL, and what ``work`` makes of it or why it does not answer."""
        found: list[tuple[str, T | str]] = []
        for server in self._servers:
            try:
                found.append((server.url, self._call(server, job, work)))
                self._answered(server)
            except Unanswered as error:
                found.append((server.url, str(error)))
            except Lost as error:
                self._failed(server, str(error))
                found.append((server.url, str(error)))
        return found

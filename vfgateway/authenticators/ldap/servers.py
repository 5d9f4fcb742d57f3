"""Connections to the servers of one directory: kept, handed out, and moved to the next server when one does not answer.

Everything here blocks, and runs in the threads of a pool. ldap3 brings pools and fail-over of its own, which wait in loops that nobody
can end; so it is used for one connection at a time.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import attrs
from twisted.logger import Logger

from vfgateway.authenticators.ldap.link import Link, Lost, Unanswered
from vfgateway.authenticators.ldap.settings import LdapSettings

T = TypeVar("T")

#: Seconds for which a server that failed is left alone.
REST = 15.0
#: Seconds after which a connection that nobody used is not used again: firewalls forget them.
LONGEST_IDLE = 60.0


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

"""Who takes alerts: a web server for webhooks, which can be down, and a mail server."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tests.support.process import free_port
from tests.support.tls import certificate


class Delivery(dict[str, str]):
    """The headers of a request, with its ``body``."""

    def __init__(self, request: Request) -> None:
        headers = request.requestHeaders.getAllRawHeaders()
        super().__init__({name.decode().lower(): values[0].decode() for name, values in headers})
        assert request.content is not None
        self.body: bytes = request.content.read()


class WebhookReceiver(Resource):
    """Takes what is posted to it.

    :ivar taken: what came, whatever the answer
    :ivar answers: the status of the next answers, ``None`` for none at all; then 204
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.taken: list[Delivery] = []
        self.answers: list[int | None] = []
        self.port = 0
        self._listening: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/s3cret-path"

    def render_POST(self, request: Request) -> Any:
        self.taken.append(Delivery(request))
        status = self.answers.pop(0) if self.answers else 204
        if status is None:
            request.notifyFinish().addErrback(lambda _: None)
            return NOT_DONE_YET
        request.setResponseCode(status)
        if status in (301, 302, 307, 308):
            request.setHeader("location", self.url)
        return b"" if status == 204 else b"the words of the receiver"

    def up(self) -> None:
        """Listen; always on the same port."""
        site: Any = Site(self)
        self._listening = reactor.listenTCP(self.port, site, interface="127.0.0.1")
        self.port = self._listening.getHost().port

    async def down(self) -> None:
        """Refuse connections."""
        listening, self._listening = self._listening, None
        if listening is not None:
            await listening.stopListening()


@asynccontextmanager
async def webhook_receiver() -> AsyncIterator[WebhookReceiver]:
    """A receiver that is up."""
    receiver = WebhookReceiver()
    receiver.up()
    try:
        yield receiver
    finally:
        await receiver.down()


@attrs.define
class MailReceiver:
    """A mail server; it runs in a thread of its own.

    :ivar taken: the mails that were handed over
    :ivar answer: what it says to a mail
    :ivar logins: user and password of those who logged in
    """

    port: int
    taken: list[Envelope] = attrs.Factory(list)
    answer: str = "250 taken"
    logins: list[tuple[str, str]] = attrs.Factory(list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Called by the server."""
        if self.answer.startswith("250"):
            self.taken.append(envelope)
        return self.answer

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        """Called by the server."""
        if isinstance(data, LoginPassword):
            self.logins.append((data.login.decode(), data.password.decode()))
            if self.logins[-1] == ("gateway", "s3cret-word"):
                return AuthResult(success=True)
        return AuthResult(success=False, handled=False)


@contextmanager
def mail_receiver(tls: Path | None = None) -> Iterator[MailReceiver]:
    """A mail server on 127.0.0.1. With ``tls``, a folder for its certificate: it speaks STARTTLS, and wants a login after it."""
    receiver = MailReceiver(free_port())
    options: dict[str, Any] = {}
    if tls is not None:
        options = {"tls_context": _context(tls), "require_starttls": True, "auth_required": True}
        options["authenticator"] = receiver.authenticate
    controller = Controller(receiver, hostname="127.0.0.1", port=receiver.port, **options)
    controller.start()
    try:
        yield receiver
    finally:
        controller.stop()


def _context(folder: Path) -> ssl.SSLContext:
    both = certificate()
    authority, key = folder / "ca.pem", folder / "key.pem"
    authority.write_bytes(both.dumpPEM())
    key.write_bytes(both.privateKey.dump(1))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, key)
    return context

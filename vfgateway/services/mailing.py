"""Sends one mail through a server. A module of its own, to be imported when it is needed: Twisted's client chooses a reactor when it is imported."""

from __future__ import annotations

from email.message import EmailMessage
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.mail.smtp import ESMTPSender, ESMTPSenderFactory, SMTPClientError
from twisted.python.failure import Failure

from vfgateway.alert_settings import MailSettings

#: Seconds that the server has for each answer.
TIMEOUT = 10.0


class _Sender(ESMTPSender):
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.factory.clientConnectionLost(None, reason)  # which only connectors would tell it, not endpoints


class _SenderFactory(ESMTPSenderFactory):
    protocol = _Sender


async def send(mail: MailSettings, password: bytes, text: EmailMessage, reactor: Any) -> None:
    """Hand a mail to the server. Raises what the connection or the server had against it."""
    sent: Deferred[Any] = Deferred()
    encrypts = mail.security == "starttls"
    factory = _SenderFactory(  # type: ignore[no-untyped-call]
        None if mail.user is None else mail.user.encode("utf-8"),
        password,
        mail.sender,
        list(mail.recipients),
        BytesIO(text.as_bytes()),
        sent,
        retries=0,
        timeout=TIMEOUT,
        contextFactory=optionsForClientTLS(mail.host) if encrypts else None,
        heloFallback=mail.user is None and not encrypts,
        requireAuthentication=mail.user is not None,
        requireTransportSecurity=encrypts,
        hostname=mail.host,
    )
    endpoint: Any = HostnameEndpoint(reactor, mail.host, mail.effective_port, timeout=TIMEOUT)
    if mail.security == "tls":
        endpoint = wrapClientTLS(optionsForClientTLS(mail.host), endpoint)
    await endpoint.connect(factory)
    await sent


def reason(error: Exception) -> str:
    """What went wrong, without the words of a server."""
    if isinstance(error, SMTPClientError) and error.code > 0:
        return f"answered {error.code}"
    return type(error).__name__

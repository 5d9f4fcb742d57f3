"""Carries alerts out of the gateway: by a signed webhook and by mail. Each delivery is a background task of its own, tried again until it
succeeds or a day has passed, and carried on by another process when this one dies.

Webhooks are signed as https://www.standardwebhooks.com describes, so that receivers find a library that verifies them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Any, TypeVar

from treq.client import HTTPClient
from treq.content import collect
from twisted.internet.defer import CancelledError, Deferred
from twisted.web.client import ResponseFailed

from vfgateway.alert_settings import AlertSettings, MailSettings, WebhookSettings
from vfgateway.errors import GatewayError
from vfgateway.services.tasks import RunningTask, Tasks

#: Seconds that a delivery may take.
TIMEOUT = 30.0
#: How often a delivery is tried: for more than a day, with the longest wait of ``Tasks`` between the later ones.
ATTEMPTS = 160
WEBHOOK, MAIL = "deliver_webhook", "deliver_mail"

T = TypeVar("T")
type_notice = Mapping[str, Any]


class DeliveryFailed(GatewayError):
    """An alert could not be delivered; the reason names the receiver."""


class Notifications:
    """What is configured to carry alerts.

    :param reactor: provides time and network
    :param agent: sends requests
    """

    def __init__(self, settings: AlertSettings, tasks: Tasks, reactor: Any, agent: Any) -> None:
        self._webhook = settings.webhook
        self._mail = settings.mail
        self._reactor = reactor
        self._client = HTTPClient(agent)
        self._secrets: Sequence[bytes] = ()
        self._password = b""
        #: The tasks to enter for each notice.
        self.tasks: Sequence[str] = ()
        for name, settled, deliver in (
            (WEBHOOK, self._webhook, self._deliver_webhook),
            (MAIL, self._mail, self._deliver_mail),
        ):
            if settled is not None:
                self.tasks = (*self.tasks, name)
                tasks.register(name, deliver, retriable=True, attempts=ATTEMPTS, lane=name)

    def start(self) -> None:
        """Read the secrets. ``ConfigurationError``."""
        if self._webhook is not None:
            self._secrets = [_key(secret) for secret in self._webhook.secret.load()]
        if self._mail is not None and self._mail.password:
            self._password = self._mail.password.load()[0].encode("utf-8")

    # --- webhook ---

    async def _deliver_webhook(self, task: RunningTask, notice: type_notice) -> None:
        assert self._webhook is not None
        try:
            status = await self._bounded(self._post(self._webhook, notice))
        except CancelledError:
            raise
        except Exception as error:  # of many libraries
            raise DeliveryFailed(f"the webhook does not answer: {_reason(error)}") from None
        if not 200 <= status < 300:
            raise DeliveryFailed(f"the webhook answered {status}")

    async def _post(self, webhook: WebhookSettings, notice: type_notice) -> int:
        body = json.dumps(payload(notice)).encode("utf-8")
        now = str(int(self._reactor.seconds()))
        signed = signature(self._secrets, notice["id"], now, body)
        headers: dict[bytes | str, bytes | str] = {
            "content-type": "application/json",
            "webhook-id": notice["id"],
            "webhook-timestamp": now,
            "webhook-signature": signed,
        }
        answer = await self._client.post(
            webhook.url, data=body, headers=headers, reactor=self._reactor, allow_redirects=False, unbuffered=True
        )
        await collect(answer, lambda _: None)  # nobody reads what it says, but the connection can be used again
        return int(answer.code)

    async def _bounded(self, work: Coroutine[Any, Any, T]) -> T:
        return await Deferred.fromCoroutine(work).addTimeout(TIMEOUT, self._reactor)

    # --- mail ---

    async def _deliver_mail(self, task: RunningTask, notice: type_notice) -> None:
        assert self._mail is not None
        from vfgateway.services import mailing  # its library brings a reactor of its own choice

        text = message(self._mail, notice)
        try:
            await self._bounded(mailing.send(self._mail, self._password, text, self._reactor))
        except CancelledError:
            raise
        except Exception as error:
            raise DeliveryFailed(f"the mail was not taken: {mailing.reason(error)}") from None


def _reason(error: Exception) -> str:
    """What went wrong, without anything that a peer or a library may have put in."""
    kind = type(error)
    if isinstance(error, ResponseFailed) and error.reasons:
        kind = error.reasons[0].type
    return "TimeoutError" if kind is CancelledError else str(kind.__name__)


# --- what is said ---


def _key(secret: str) -> bytes:
    """The key that a secret stands for: after ``whsec_`` in base64, otherwise as it is written."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            pass
    return secret.encode("utf-8")


def signature(keys: Sequence[bytes], notice_id: str, timestamp: str, body: bytes) -> str:
    """The value of ``webhook-signature``: HMAC-SHA256 over identifier, time and body, one for each key."""
    signed = b".".join((notice_id.encode("ascii"), timestamp.encode("ascii"), body))
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode('ascii')}" for digest in digests)


def payload(notice: type_notice) -> Mapping[str, Any]:
    """The body of a webhook."""
    about = {key: notice[key] for key in ("subject", "words", "resource", "crossed", "used", "limit")}
    when = datetime.fromtimestamp(notice["at"], UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"type": "quota.alert", "timestamp": when, "data": {**about, "message": sentence(notice)}}


def sentence(notice: type_notice) -> str:
    """An alert in words."""
    used, limit, resource = notice["used"], notice["limit"], notice["resource"]
    amount = f"{used} of {limit} {resource} used"
    said = {
        "soft": f"is over its soft limit: {amount}",
        "grace": f"may grow no more, for the time of grace of its soft limit is over: {amount}",
        "over": f"is over its limit: {amount}",
        "refused": f"has refused a change that would pass its limit: {amount}",
    }
    crossed = notice["crossed"]
    return f"{notice['words']} {said.get(crossed, f'has reached {crossed} % of its limit: {amount}')}"


def message(mail: MailSettings, notice: type_notice) -> EmailMessage:
    """An alert as a mail."""
    text = EmailMessage()
    text["Subject"] = " ".join(f"[vfgateway] {sentence(notice).partition(':')[0]}".split())
    text["From"] = mail.sender
    text["To"] = ", ".join(mail.recipients)
    text["Date"] = format_datetime(datetime.fromtimestamp(notice["at"], UTC))
    text["Message-ID"] = make_msgid(notice["id"], mail.sender.rpartition("@")[2])
    text["Auto-Submitted"] = "auto-generated"  # RFC 3834
    text.set_content(f"{sentence(notice)}\n\nsubject: {notice['subject']}\nalert: {notice['id']}\n")
    return text

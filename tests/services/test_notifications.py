"""Alerts leave the gateway: signed webhooks and mail, to real receivers, tried until they are taken."""

from __future__ import annotations

import email
import email.policy
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from twisted.internet import reactor
from twisted.internet.task import Clock

from tests.services.test_session import put
from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from tests.support.lookouts import LookOut, looking_out
from tests.support.processes import turn, while_time_passes
from tests.support.receivers import Delivery, MailReceiver, WebhookReceiver, mail_receiver, webhook_receiver
from vfgateway.alert_settings import AlertSettings, MailSettings, WebhookSettings
from vfgateway.errors import ConfigurationError
from vfgateway.model import Limits, Usage
from vfgateway.paths import parse_text as path
from vfgateway.section import Secret
from vfgateway.services.notifications import TIMEOUT
from vfgateway.services.taskrecords import Task, TaskState
from vfgateway.services.tasks import LOOK

SECRET = "whsec_" + b64encode(b"0123456789abcdef0123456789abcdef").decode()
HOUR = 3600.0


def to(receiver: WebhookReceiver, *secrets: str) -> AlertSettings:
    """Settings that post to a receiver."""
    return AlertSettings(webhook=WebhookSettings(url=receiver.url, secret=Secret(secrets or (SECRET,))))


def by_mail(receiver: MailReceiver, **more: Any) -> AlertSettings:
    """Settings that send mail."""
    settings: dict[str, Any] = {"host": "127.0.0.1", "port": receiver.port, "security": "none"} | more
    people: dict[str, Any] = {"sender": "gateway@example.org", "recipients": ("ops@example.org", "boss@example.org")}
    return AlertSettings(mail=MailSettings(**people, **settings))


async def cross(by: LookOut, step: int = 0) -> None:
    """Have one alert entered."""
    vfolder = await by.at.vfolder(limits=Limits(bytes=1000))
    await by.store(vfolder, Usage(800 + step, 1))


async def delivery(by: LookOut) -> Task:
    """The only delivery."""
    (task,) = await by.at.tasks.list()
    return task


async def until(by: LookOut, reached: Callable[[Task], bool], most: float) -> Task:
    """The delivery, when it is so. Time passes only while nothing is on its way to a receiver."""
    deadline = by.at.clock.seconds() + most
    while not reached(task := await delivery(by)):
        if task.state is not TaskState.RUNNING:
            assert by.at.clock.seconds() < deadline, "it takes too long"
            by.at.clock.advance(LOOK)
        for _ in range(5):
            await turn()
    return task


async def delivered(by: LookOut, most: float = 60.0) -> Task:
    """The delivery, when it has ended."""
    return await until(by, lambda task: task.finished is not None, most)


async def tried(by: LookOut, attempts: int) -> Task:
    """The delivery, when it has failed that often."""
    return await until(by, lambda task: task.attempt >= attempts and task.state is not TaskState.RUNNING, 60.0)


def verified(taken: Delivery, secret: str = SECRET) -> Any:
    """The content of a webhook, if the signature is right and the time is near, as the public library sees it."""
    return Webhook(secret).verify(taken.body, taken)


# --- webhooks ---


async def test_a_webhook_is_signed(tmp_path: Path) -> None:
    """As the public library for it verifies, at the present time; nobody else's secret fits."""
    clock = Clock()
    clock.advance(datetime.now(UTC).timestamp())
    async with webhook_receiver() as receiver, looking_out(tmp_path / "db", clock, settings=to(receiver)) as by:
        await by.at.tasks.resume()
        await cross(by)
        assert (await delivered(by)).state is TaskState.DONE
        (taken,) = receiver.taken
        content = verified(taken)
        assert content["type"] == "quota.alert"
        assert datetime.fromisoformat(content["timestamp"]).timestamp() == pytest.approx(clock.seconds(), abs=60)
        about = content["data"]
        assert (about["crossed"], about["resource"], about["used"], about["limit"]) == ("80", "bytes", 800, 1000)
        assert about["message"].endswith("has reached 80 % of its limit: 800 of 1000 bytes used")
        with pytest.raises(WebhookVerificationError):
            verified(taken, "whsec_" + b64encode(b"another").decode())


async def test_a_secret_can_be_rotated(tmp_path: Path) -> None:
    """Both sign, so a receiver may have either."""
    clock = Clock()
    clock.advance(datetime.now(UTC).timestamp())
    other = "plain words of a secret"
    async with webhook_receiver() as receiver:
        async with looking_out(tmp_path / "db", clock, settings=to(receiver, other, SECRET)) as by:
            await by.at.tasks.resume()
            await cross(by)
            await delivered(by)
        verified(receiver.taken[0])
        verified(receiver.taken[0], b64encode(other.encode()).decode())


async def test_a_receiver_that_is_down_for_an_hour(tmp_path: Path, clock: Clock) -> None:
    """It is tried less and less often, and gets the alert once, when it is up again."""
    async with webhook_receiver() as receiver, looking_out(tmp_path / "db", clock, settings=to(receiver)) as by:
        await receiver.down()
        await by.at.tasks.resume()
        await cross(by)
        began = clock.seconds()
        while clock.seconds() < began + HOUR:
            task = await tried(by, (await delivery(by)).attempt + 1)
            assert task.state is TaskState.QUEUED
            assert task.not_before is not None
            clock.advance(max(0.0, task.not_before - clock.seconds() - 2 * LOOK))
        assert 8 <= task.attempt <= 16
        assert "s3cret" not in task.message
        receiver.up()
        assert (await delivered(by, HOUR)).state is TaskState.DONE
        assert len(receiver.taken) == 1


@pytest.mark.parametrize("answer", [500, 404, 302])
async def test_another_answer_than_success(tmp_path: Path, clock: Clock, answer: int) -> None:
    """It is tried again, under the same identifier; nobody is followed elsewhere, and what the receiver says is not repeated."""
    async with webhook_receiver() as receiver, looking_out(tmp_path / "db", clock, settings=to(receiver)) as by:
        receiver.answers = [answer]
        await by.at.tasks.resume()
        await cross(by)
        task = await tried(by, 1)
        assert task.message == f"the webhook answered {answer}"
        assert len(receiver.taken) == 1
        assert (await delivered(by)).state is TaskState.DONE
        first, second = receiver.taken
        assert first["webhook-id"] == second["webhook-id"]
        assert first["webhook-timestamp"] != second["webhook-timestamp"]


class OwnTime:
    """The network of the real reactor with timers that a test moves."""

    def __init__(self, clock: Clock) -> None:
        self.seconds = clock.seconds
        self.callLater = clock.callLater

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


async def test_a_receiver_that_never_answers(tmp_path: Path, clock: Clock) -> None:
    """It is given up after a time, and tried again."""
    async with webhook_receiver() as receiver, looking_out(tmp_path / "db", clock, settings=to(receiver)) as by:
        by.alerts._notifications._reactor = OwnTime(clock)
        receiver.answers = [None]
        await by.at.tasks.resume()
        await cross(by)
        clock.advance(LOOK)
        while not receiver.taken:
            await turn()
        clock.advance(TIMEOUT)
        assert (await tried(by, 1)).message == "the webhook does not answer: TimeoutError"


async def test_a_process_that_dies_while_it_tells(tmp_path: Path, clock: Clock) -> None:
    """Another one tells; receivers know by the identifier that it is the same."""
    alive: set[int] = set()
    async with webhook_receiver() as receiver, looking_out(tmp_path / "db", clock, 1, to(receiver), alive) as here:
        receiver.answers = [None]
        async with looking_out(tmp_path / "db", clock, 2, to(receiver), alive) as there:
            await there.at.tasks.resume()
            await cross(there)
            clock.advance(LOOK)
            while not receiver.taken:
                await turn()
            there.at.die()
            alive.discard(2)
            await there.alerts.stop()
        await here.at.tasks.resume()
        await here.at.processes.beat()
        assert (await delivered(here)).state is TaskState.DONE
        first, second = receiver.taken
        assert first["webhook-id"] == second["webhook-id"]


async def test_a_gateway_as_it_is_configured(tmp_path: Path) -> None:
    """From the configuration to the receiver, with nothing replaced."""
    secret = tmp_path / "hook.secret"
    secret.touch(0o600)
    secret.write_text(SECRET + "\n")
    async with webhook_receiver() as receiver:
        configuration = f"""
            [authenticators.accounts]
            [alerts]
            thresholds = [50]
            [alerts.webhook]
            url = "{receiver.url}"
            secret_file = "hook.secret"
        """
        async with running_gateway(tmp_path, configuration=configuration) as gateway:
            vfolder = await new_vfolder(gateway, limit_bytes=10)
            await put(await orchestrator_in(gateway, vfolder), path("file"), b"12345")
            while not receiver.taken:
                await turn()
        assert verified(receiver.taken[0])["data"]["crossed"] == "50"


async def test_a_secret_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    """Not the first alert, a month later."""
    configuration = '[alerts.webhook]\nurl = "http://127.0.0.1:1/"\nsecret_file = "missing"\n'
    with pytest.raises(ConfigurationError, match="missing"):
        async with running_gateway(tmp_path, configuration=configuration):
            pass


# --- mail ---


def content_of(receiver: MailReceiver) -> EmailMessage:
    """The only mail."""
    (envelope,) = receiver.taken
    assert isinstance(envelope.content, bytes)
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


async def test_a_mail(tmp_path: Path, clock: Clock) -> None:
    """One to all, with what to know in its subject."""
    with mail_receiver() as receiver:
        async with looking_out(tmp_path / "db", clock, settings=by_mail(receiver)) as by:
            await by.at.tasks.resume()
            await cross(by)
            assert (await delivered(by)).state is TaskState.DONE
        (envelope,) = receiver.taken
        assert (envelope.mail_from, envelope.rcpt_tos) == (
            "gateway@example.org",
            ["ops@example.org", "boss@example.org"],
        )
        message = content_of(receiver)
        assert message["subject"].startswith("[vfgateway] vfolder ")
        assert message["subject"].endswith("has reached 80 % of its limit")
        assert message["auto-submitted"] == "auto-generated"
        assert "800 of 1000 bytes used" in message.get_content()


async def test_a_name_cannot_write_headers(tmp_path: Path, clock: Clock) -> None:
    """Names of vfolders are chosen by their users."""
    with mail_receiver() as receiver:
        async with looking_out(tmp_path / "db", clock, settings=by_mail(receiver)) as by:
            notice = {"id": "1" * 32, "at": clock.seconds(), "subject": "vfolder:1", "crossed": "80"}
            notice |= {"resource": "bytes", "used": 8, "limit": 10}
            await by.at.tasks.resume()
            await by.at.tasks.start("deliver_mail", {"notice": {**notice, "words": "vfolder ä\r\nBcc: x@example.org"}})
            await delivered(by)
        message = content_of(receiver)
        assert message["bcc"] is None
        assert receiver.taken[0].rcpt_tos == ["ops@example.org", "boss@example.org"]
        assert "ä" in message["subject"]


async def test_a_mail_over_tls_with_a_login(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is checked before anything is told."""
    with mail_receiver(tls=tmp_path) as receiver:
        login = {"host": "localhost", "security": "starttls", "user": "gateway", "password": Secret(("s3cret-word",))}
        async with looking_out(tmp_path / "db", clock, settings=by_mail(receiver, **login)) as by:
            await by.at.tasks.resume()
            await cross(by)
            task = await tried(by, 1)
            assert task.state is TaskState.QUEUED
            assert receiver.logins == []
            assert "s3cret" not in task.message
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
            assert (await delivered(by)).state is TaskState.DONE
        assert receiver.logins == [("gateway", "s3cret-word")]
        assert "has reached 80 %" in content_of(receiver)["subject"]


async def test_a_server_without_tls_is_told_nothing(tmp_path: Path, clock: Clock) -> None:
    """Where TLS was asked for."""
    with mail_receiver() as receiver:
        async with looking_out(tmp_path / "db", clock, settings=by_mail(receiver, security="starttls")) as by:
            await by.at.tasks.resume()
            await cross(by)
            task = await tried(by, 1)
            assert task.message.startswith("the mail was not taken")
        assert receiver.taken == []


async def test_a_mail_server_that_wants_it_later(tmp_path: Path, clock: Clock) -> None:
    """It gets it later; its words stay out of the records."""
    with mail_receiver() as receiver:
        receiver.answer = "451 come back, s3cret user"
        async with looking_out(tmp_path / "db", clock, settings=by_mail(receiver)) as by:
            await by.at.tasks.resume()
            await cross(by)
            task = await tried(by, 1)
            assert task.message == "the mail was not taken: answered 451"
            receiver.answer = "250 taken"
            assert (await delivered(by)).state is TaskState.DONE
        assert len(receiver.taken) == 1


async def test_one_receiver_does_not_wait_for_the_other(tmp_path: Path, clock: Clock) -> None:
    """A webhook that is down keeps no mail back."""
    with mail_receiver() as receiver:
        down = WebhookSettings(url="http://127.0.0.1:1/", secret=Secret((SECRET,)))
        settings = AlertSettings(webhook=down, mail=by_mail(receiver).mail)
        async with looking_out(tmp_path / "db", clock, settings=settings) as by:
            await by.at.tasks.resume()
            await cross(by)

            async def mailed() -> None:
                while not receiver.taken:
                    await turn()

            await while_time_passes(clock, mailed(), step=LOOK)
            states = {task.name: task.state for task in await by.at.tasks.list()}
            assert states["deliver_webhook"] is not TaskState.DONE

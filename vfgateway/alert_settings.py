"""``[alerts]``: when people are told of limits, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from vfgateway.section import Seconds, Secret, Section

#: The port that each kind of security is spoken on (RFC 8314 section 7.3; RFC 5321 section 4.5.4.2).
_PORTS = {"tls": 465, "starttls": 587, "none": 25}

Percent = Annotated[int, Field(ge=1, le=100)]


#: An address of mail.
type_address = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]


class WebhookSettings(Section):
    """``[alerts.webhook]``.

    :ivar url: where alerts are posted
    :ivar secret: signs them; several sign at once, so that it can be rotated
    """

    url: str = Field(pattern="^https?://[^/]")
    secret: Secret


class MailSettings(Section):
    """``[alerts.mail]``.

    :ivar host: the mail server
    :ivar security: ``tls`` from the start, ``starttls``, or ``none``
    :ivar port: by default that of the security: 465, 587 or 25
    :ivar user: logs in with ``password``; not at all without it
    :ivar password: of ``user``
    :ivar sender: an address
    :ivar recipients: addresses
    """

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    security: Literal["tls", "starttls", "none"] = "starttls"
    user: str | None = None
    password: Secret = Secret()
    sender: type_address
    recipients: Annotated[tuple[type_address, ...], Field(min_length=1)]

    @property
    def effective_port(self) -> int:
        """The port to connect to."""
        return self.port or _PORTS[self.security]


class AlertSettings(Section):
    """``[alerts]``.

    :ivar thresholds: percent of a limit, each told once when it is reached
    :ivar hysteresis: percent points that usage must fall below a threshold before that is told again
    :ivar quiet: seconds after a refusal was told in which another is not, whatever the usage
    """

    thresholds: tuple[Percent, ...] = (80, 95, 100)
    hysteresis: Annotated[float, Field(ge=0, lt=100)] = 5.0
    quiet: Seconds = 3600.0
    webhook: WebhookSettings | None = None
    mail: MailSettings | None = None

    @field_validator("thresholds")
    @classmethod
    def _sorted(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(value)))

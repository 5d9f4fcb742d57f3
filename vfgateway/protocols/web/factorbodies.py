"""What both APIs are sent and answer about second factors."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vfgateway.protocols.web.fields import Answer, Closed


class FactorInfo(Answer):
    """How a user stands with the second factor: whether codes are asked for, whether a secret was handed out of which no code was shown yet, and how
    many recovery codes are left."""

    enabled: bool
    begun: bool
    recovery_codes: int


class NewFactorInfo(Answer):
    """What an authenticator app is told, this once: the secret in Base32, and the same as a link for a QR code."""

    secret: str
    uri: str


class FactorCode(Closed):
    """What the app shows."""

    code: Annotated[str, Field(min_length=1, max_length=64)]


class RecoveryCodes(Answer):
    """Codes for when the app is lost, each good once; they are told this once."""

    recovery_codes: list[str]

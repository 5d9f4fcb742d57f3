"""People whom the orchestrator knows: it is asked who somebody is, and which vfolders it opens to them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from urllib.parse import quote

from pydantic import Field, ValidationError, field_validator, model_validator
from twisted.conch.ssh.keys import BadKeyError, Key
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import DeferredSemaphore
from zope.interface import implementer

from vfgateway.authenticators.asking import Answer, Asking
from vfgateway.authenticators.manager import contract
from vfgateway.authenticators.manager.contract import KeyProof, PasswordProof, Person, TokenProof
from vfgateway.authenticators.outside import outside_name, outside_password
from vfgateway.authenticators.remembered import Remembered
from vfgateway.authenticators.urls import is_private, is_web
from vfgateway.credentials import IBearer, IProvenKey
from vfgateway.errors import AuthenticationFailed, AuthenticatorUnavailable, InvalidArgument, NotMine
from vfgateway.identity import Identity
from vfgateway.interfaces import IAuthenticator, IAuthenticatorFactory, ICheckable, IRunning
from vfgateway.model import Health, HealthState
from vfgateway.principals import Principal, PrincipalKind
from vfgateway.section import ConfigPath, Seconds, Secret, Section
from vfgateway.services.passwords import KEY_PREFIX
from vfgateway.services.provisioning import Source
from vfgateway.services.sharing import Shared

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

__all__ = ["ManagerAuthenticator", "ManagerFactory", "ManagerSettings"]

T = TypeVar("T")

#: Questions that wait, for each that may be asked at once; more are refused.
MOST_WAITING = 50
#: Characters of the longest token that is passed on.
LONGEST_TOKEN = 16384
_KINDS = {"password": IUsernamePassword, "public_key": IProvenKey, "token": IBearer}


class ManagerSettings(Section):
    """``[authenticators.manager]``.

    :ivar url: where the orchestrator offers what ``docs/manager-authenticator.openapi.json`` says
    :ivar secret: shown to it
    :ivar kinds: what it is asked about
    :ivar ca_file: authorities that its certificate must come from; by default those of the system
    :ivar allow_plain: show passwords and the secret over connections that others could read
    :ivar timeout: seconds for an answer
    :ivar connections: questions at once
    :ivar cache_life: seconds for which an answer holds
    :ivar grace: seconds for which keys and open connections are still good when it cannot be asked
    """

    url: str
    secret: Secret
    kinds: tuple[Literal["password", "public_key", "token"], ...] = Field(
        default=("password", "public_key", "token"), min_length=1
    )
    ca_file: ConfigPath | None = None
    allow_plain: bool = False
    timeout: Seconds = 5.0
    connections: int = Field(default=16, ge=1, le=256)
    cache_life: Seconds = 300.0
    grace: Seconds = 3600.0

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        if not is_web(value):
            raise ValueError("should be an https address")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _private(self) -> Self:
        if not (self.allow_plain or is_private(self.url)):
            raise ValueError("passwords to url could be read on the way: use https, or allow_plain = true")
        return self


@implementer(IAuthenticatorFactory)
class ManagerFactory:
    """The plugin."""

    name = "manager"
    summary = "people whom the orchestrator knows, and the vfolders that it opens to them"

    def configure(self, name: str, settings: Mapping[str, Any], gateway: Gateway) -> ManagerAuthenticator:
        """See ``IAuthenticatorFactory.configure``."""
        return ManagerAuthenticator(name, ManagerSettings.model_validate(settings), gateway)


@implementer(IAuthenticator, IRunning, ICheckable)
class ManagerAuthenticator:
    """Passes proofs on to the orchestrator, and makes accounts of its answers."""

    def __init__(self, name: str, settings: ManagerSettings, gateway: Gateway) -> None:
        self.name = name
        self._settings = settings
        self._gateway = gateway
        self._asking = Asking(name, gateway, settings.timeout, settings.ca_file)
        self._remembered = Remembered(gateway, settings.cache_life)
        self._proofs: Shared[bytes, Identity] = Shared()
        self._places = DeferredSemaphore(settings.connections)
        self._waiting = 0
        self.credential_interfaces = tuple(_KINDS[kind] for kind in settings.kinds)
        gateway.provisioning.register(Source(name, settings.cache_life, settings.grace, self._look_up))

    async def start(self) -> None:
        """See ``IRunning``."""

    async def stop(self) -> None:
        """See ``IRunning``."""
        await self._asking.stop()

    # --- logging in ---

    async def authenticate(self, credentials: Any) -> Principal:
        """See ``IAuthenticator``."""
        proof = _proof(credentials)
        ticket = self._remembered.ticket(proof.model_dump_json())
        if (known := await self._remembered.recall(ticket)) is not None:
            return known
        mark = await self._remembered.mark()
        try:
            identity = await self._proofs.run(ticket, lambda: self._identify(proof.model_dump(mode="json")))
        except AuthenticationFailed:
            self._remembered.refuse(ticket)
            raise
        if isinstance(proof, KeyProof) and not proof.proved:
            return Principal(PrincipalKind.USER, identity.name)
        principal = await self._gateway.provisioning.admit(identity)
        await self._remembered.keep(ticket, principal, mark)
        return principal

    async def _identify(self, proof: Mapping[str, Any]) -> Identity:
        answer = await self._in_turn(lambda: self._ask("POST", contract.IDENTIFY, proof))
        if answer.status == 404:
            raise NotMine
        if answer.status == 401:
            raise AuthenticationFailed
        return self._identity(answer)

    async def _look_up(self, subject: str, name: str) -> Identity | None:
        who = quote(subject or name, safe="")
        answer = await self._in_turn(lambda: self._ask("GET", f"{contract.IDENTITIES}/{who}"))
        return None if answer.status == 404 else self._identity(answer)

    def _identity(self, answer: Answer) -> Identity:
        if answer.status != 200:
            hint = "; check secret" if answer.status == 403 else ""
            raise AuthenticatorUnavailable(self.name, f"{self._settings.url} answers {answer.status}{hint}")
        try:
            return Person.model_validate(answer.body).identity(self.name)
        except (ValidationError, InvalidArgument) as error:
            reason = f"{self._settings.url} does not answer as agreed: {contract.fault(error)}"
            raise AuthenticatorUnavailable(self.name, reason) from None

    # --- asking ---

    async def _in_turn(self, ask: Callable[[], Awaitable[T]]) -> T:
        if self._waiting >= MOST_WAITING * self._settings.connections:
            raise AuthenticatorUnavailable(self.name, "too many logins wait for the orchestrator")
        self._waiting += 1
        try:
            await self._places.acquire()
            try:
                return await ask()
            finally:
                self._places.release()
        finally:
            self._waiting -= 1

    async def _ask(self, method: str, path: str, body: Any = None) -> Answer:
        headers = {contract.HEADER: self._settings.secret.load()[0]}
        return await self._asking.ask(method, self._settings.url + path, headers, body)

    async def health(self) -> Health:
        """See ``ICheckable``."""
        try:
            answer = await self._ask("GET", contract.HEALTH)
        except AuthenticatorUnavailable as error:
            return Health(HealthState.UNAVAILABLE, error.reason)
        if answer.status == 200:
            return Health(HealthState.HEALTHY)
        hint = "; check secret" if answer.status == 403 else "; does it offer what vfgateway asks there?"
        return Health(HealthState.UNAVAILABLE, f"{self._settings.url}{contract.HEALTH} answers {answer.status}{hint}")


def _proof(credentials: Any) -> PasswordProof | KeyProof | TokenProof:
    """What is passed on. ``NotMine`` for what is not."""
    if IBearer.providedBy(credentials):
        token = credentials.token
        if not token or token.startswith(KEY_PREFIX) or len(token) > LONGEST_TOKEN:
            raise NotMine
        return TokenProof(token=token)
    name = outside_name(credentials)
    if not IProvenKey.providedBy(credentials):
        return PasswordProof(name=name, password=outside_password(credentials))
    try:
        line = Key.fromString(credentials.blob, type="blob").public().toString("openssh")
    except (BadKeyError, ValueError, IndexError):
        raise NotMine from None
    digest = base64.b64encode(hashlib.sha256(credentials.blob).digest()).rstrip(b"=").decode()
    return KeyProof(
        name=name,
        fingerprint=f"SHA256:{digest}",
        public_key=line.decode(),
        address=credentials.address,
        proved=credentials.proved,
    )

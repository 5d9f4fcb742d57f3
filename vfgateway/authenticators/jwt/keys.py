"""The keys that an identity provider signs with: fetched when they are needed, again when they are old or one is missing, and kept while it
does not answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import jwt
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from vfgateway.authenticators.asking import Asking
from vfgateway.authenticators.jwt.settings import JwtSettings
from vfgateway.errors import AuthenticatorUnavailable
from vfgateway.services.sharing import Shared

#: Seconds between two looks for a key that is missing, whoever asks for however many.
REFRESH_EVERY = 30.0
#: Keys of a provider that are looked at.
MOST_KEYS = 100


@attrs.frozen
class Key:
    """One key.

    :ivar id: ``kid``; ``None`` if it has none
    :ivar algorithm: the only one that it is for, if the provider says so
    """

    id: str | None
    algorithm: str | None
    family: str
    key: Any = attrs.field(repr=False)

    def may_sign(self, header: Mapping[str, Any]) -> bool:
        """Whether a token with this header may have been signed with it."""
        algorithm = str(header.get("alg"))
        if self.algorithm not in (None, algorithm) or not algorithm.startswith(_FAMILIES[self.family]):
            return False
        return "kid" not in header or self.id == header["kid"]


#: Algorithms by the kind of key (RFC 7518 section 6.1, RFC 8037).
_FAMILIES = {"RSA": ("RS", "PS"), "EC": ("ES",), "OKP": ("EdDSA",), "secret": ("HS",)}


class Keys:
    """See the module.

    :ivar problem: why the last look failed; ``None`` if it did not
    """

    log = Logger()

    def __init__(self, name: str, settings: JwtSettings, asking: Asking, clock: Any) -> None:
        self._name = name
        self._settings = settings
        self._asking = asking
        self._clock = clock
        self._keys: Sequence[Key] = ()
        self._looked = float("-inf")
        self._fetched = float("-inf")
        self._looks: Shared[str, None] = Shared()
        self.problem: str | None = None

    @property
    def count(self) -> int:
        """How many there are now."""
        return len(self._keys)

    @property
    def stale(self) -> bool:
        """Whether they are so old that they should be fetched again."""
        return not 0 <= self._clock.seconds() - self._fetched < self._settings.keys_life

    async def for_token(self, header: Mapping[str, Any]) -> Sequence[Key]:
        """The keys with which it may have been signed. ``AuthenticatorUnavailable`` while there are none at all."""
        if not self._keys:
            await self.look()
        elif self.stale and self._may_look():
            Deferred.fromCoroutine(self.look()).addErrback(self._unseen)  # nobody waits: those that are there are good
        found = [key for key in self._keys if key.may_sign(header)]
        if not found and self._may_look():
            await self.look()
            found = [key for key in self._keys if key.may_sign(header)]
        if not self._keys:
            raise AuthenticatorUnavailable(self._name, self.problem or "it has no keys that can be used")
        return found

    def _may_look(self) -> bool:
        return not 0 <= self._clock.seconds() - self._looked < REFRESH_EVERY

    @staticmethod
    def _unseen(failure: Failure) -> None:
        Keys.log.failure("could not look for keys", failure)

    async def look(self) -> None:
        """Fetch them now, unless that is under way, or was tried in vain just now."""
        if self.problem is None or self._may_look():
            await self._looks.run("", self._look)

    async def _look(self) -> None:
        self._looked = self._clock.seconds()
        try:
            found = await self._read()
        except AuthenticatorUnavailable as error:
            if self.problem is None:
                self.log.warn("cannot get the keys of {name}: {reason}", name=self._name, reason=error.reason)
            self.problem = error.reason
            return
        self._keys, self._fetched, self.problem = found, self._looked, None

    async def _read(self) -> Sequence[Key]:
        if self._settings.secret:
            return [Key(None, None, "secret", secret.encode("utf-8")) for secret in self._settings.secret.load()]
        if self._settings.jwks_file is not None:
            try:
                document = json.loads(self._settings.jwks_file.read_bytes())
            except (OSError, ValueError) as error:
                raise AuthenticatorUnavailable(self._name, f"cannot read jwks_file: {error}") from None
        else:
            answer = await self._asking.ask("GET", self._settings.jwks_url, {})
            if answer.status != 200:
                raise AuthenticatorUnavailable(self._name, f"{self._settings.jwks_url} answers {answer.status}")
            document = answer.body
        found = keys_of(document)
        if not found:
            raise AuthenticatorUnavailable(self._name, "there is no key among them that can be used")
        return found


def keys_of(document: Any) -> Sequence[Key]:
    """The keys of a JWK set that sign; others are left out, secrets above all."""
    told = document.get("keys") if isinstance(document, dict) else None
    found = []
    for data in told[:MOST_KEYS] if isinstance(told, list) else ():
        if not isinstance(data, dict) or data.get("kty") not in ("RSA", "EC", "OKP") or data.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK.from_dict(data).key
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        kid, algorithm = data.get("kid"), data.get("alg")
        found.append(
            Key(
                kid if isinstance(kid, str) else None,
                algorithm if isinstance(algorithm, str) else None,
                str(data["kty"]),
                key,
            )
        )
    return found

"""An identity provider: keys that rotate, and tokens signed with them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.support.web_service import Asked, Reply, WebService

AUDIENCE = "vfgateway"


def new_key(algorithm: str) -> Any:
    """A private key for an algorithm."""
    if algorithm.startswith(("RS", "PS")):
        return rsa.generate_private_key(65537, 2048)
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(
        {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}[algorithm]
    )


def as_jwk(key: Any, algorithm: str, kid: str | None, **more: Any) -> dict[str, Any]:
    """The public half, as a set of keys has it."""
    made: dict[str, Any] = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
    made.pop("key_ops", None)
    return made | ({"kid": kid} if kid else {}) | more


class Provider(WebService):
    """See the module.

    :ivar keys: private keys by ``kid``, with their algorithm; all of them are published
    :ivar extra: what else is in the set
    :ivar reply: what is answered instead, if anything
    """

    def __init__(self) -> None:
        super().__init__(self._reply)
        self.keys: dict[str, tuple[Any, str]] = {}
        self.extra: list[Any] = []
        self.reply: Reply | None = None
        self.add("first")

    @property
    def issuer(self) -> str:
        return "https://id.example.org/realms/site"

    @property
    def jwks_url(self) -> str:
        return f"{self.url}/keys"

    def add(self, kid: str, algorithm: str = "ES256") -> None:
        """Begin to sign with a new key."""
        self.keys[kid] = (new_key(algorithm), algorithm)

    @property
    def document(self) -> dict[str, Any]:
        """The set of keys."""
        return {
            "keys": [as_jwk(key, algorithm, kid, use="sig") for kid, (key, algorithm) in self.keys.items()] + self.extra
        }

    def write(self, path: Path) -> None:
        """The set, into a file."""
        path.write_text(json.dumps(self.document))

    def _reply(self, asked: Asked) -> Reply:
        return self.reply or Reply(200, self.document)

    @property
    def looks(self) -> int:
        """How often somebody has asked for the keys."""
        return len(self.asked)

    def claims(self, name: str = "alice", **more: Any) -> dict[str, Any]:
        """What a token says; what is ``None`` is left out."""
        now = time.time()
        said = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": f"id-of-{name}",
            "preferred_username": name,
            "email": f"{name}@example.org",
            "groups": ["/staff", "hpc"],
            "iat": now,
            "nbf": now,
            "exp": now + 300,
        } | more
        return {key: value for key, value in said.items() if value is not None}

    def token(
        self, name: str = "alice", *, kid: str | None = None, headers: dict[str, Any] | None = None, **more: Any
    ) -> str:
        """A token, signed with the newest key unless told otherwise."""
        kid = kid or list(self.keys)[-1]
        key, algorithm = self.keys[kid]
        payload = json.dumps(
            self.claims(name, **more)
        ).encode()  # jwt.encode would not write what should not be written
        return jwt.PyJWS().encode(payload, key, algorithm, headers={"kid": kid} if headers is None else headers)

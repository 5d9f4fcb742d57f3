"""An orchestrator that knows people, as ``docs/manager-authenticator.openapi.json`` asks for; and that misbehaves when told to."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

from pydantic import TypeAdapter

from tests.support.web_service import Asked, Reply, WebService
from vfgateway.authenticators.manager import contract
from vfgateway.authenticators.manager.contract import KeyProof, PasswordProof, Person, TokenProof

SECRET = "between the two of us"

_PROOF: TypeAdapter[PasswordProof | KeyProof | TokenProof] = TypeAdapter(PasswordProof | KeyProof | TokenProof)
_NAMES = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")


def number(name: str) -> UUID:
    """The UUID of whoever is called so."""
    return uuid5(_NAMES, name)


class Orchestrator(WebService):
    """See the module.

    :ivar people: what is answered about people, by name
    :ivar passwords: by name
    :ivar keys: fingerprints of public keys, by name
    :ivar tokens: names by token
    :ivar reply: what is answered instead, if anything
    """

    def __init__(self) -> None:
        super().__init__(self._reply)
        self.people: dict[str, dict[str, Any]] = {}
        self.passwords: dict[str, str] = {}
        self.keys: dict[str, set[str]] = {}
        self.tokens: dict[str, str] = {}
        self.reply: Reply | None = None

    def add(self, name: str, password: str = "", **facts: Any) -> UUID:
        """Know somebody."""
        self.people[name] = {"id": str(number(name)), "name": name} | facts
        self.passwords[name] = password
        return number(name)

    def looks(self, path: str = "") -> int:
        """How often it was asked."""
        return sum(asked.path.startswith(path) for asked in self.asked)

    def _reply(self, asked: Asked) -> Reply:
        if asked.headers.get(contract.HEADER.lower()) != SECRET:
            return Reply(403)
        if asked.path == contract.HEALTH and self.reply is None:
            return Reply(200, {})
        if asked.path == contract.IDENTIFY:
            proof = _PROOF.validate_python(asked.body)
            return self.reply or self._judge(proof)
        who = asked.path.removeprefix(f"{contract.IDENTITIES}/")
        found = [person for person in self.people.values() if who in (person["id"], person["name"])]
        return self.reply or (Reply(200, found[0]) if found else Reply(404))

    def _judge(self, proof: PasswordProof | KeyProof | TokenProof) -> Reply:
        if isinstance(proof, TokenProof):
            name = self.tokens.get(proof.token, "")
            good = True
        elif isinstance(proof, PasswordProof):
            name, good = proof.name, self.passwords.get(proof.name) == proof.password
        else:
            name, good = proof.name, proof.fingerprint in self.keys.get(proof.name, ())
        person = self.people.get(name)
        if person is None:
            return Reply(404)
        if not good:
            return Reply(401)
        Person.model_validate(person)
        return Reply(200, person)

"""What is asked of an orchestrator, and what it answers: the bodies, and the OpenAPI document that is made of them.

``python -m vfgateway.authenticators.manager.contract`` prints the document that is kept as ``docs/manager-authenticator.openapi.json``.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from vfgateway.errors import InvalidArgument
from vfgateway.identity import Identity, OutsideGrant, OutsideGroup
from vfgateway.model import Actor, Permission, VFolderId

#: Carries the shared secret.
HEADER = "X-VFGateway-Auth-Token"
#: Where it is asked, below the configured address.
IDENTIFY, IDENTITIES, HEALTH = "/identify", "/identities", "/health"

_Name = Annotated[str, Field(min_length=1, max_length=255)]
_Number = Annotated[int, Field(ge=0, lt=(1 << 32) - 1)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PasswordProof(_Asked):
    """Somebody has typed a name and a password. Never empty."""

    kind: Literal["password"] = "password"
    name: _Name
    password: Annotated[str, Field(min_length=1, max_length=1024)]


class KeyProof(_Asked):
    """Somebody comes over SSH with a public key. While `proved` is false, the question is only whether the key would do; no account is made
    of the answer."""

    kind: Literal["public_key"] = "public_key"
    name: _Name
    fingerprint: str = Field(
        pattern=r"^SHA256:[A-Za-z0-9+/]{43}$", description="As OpenSSH shows it: SHA-256 in Base64 without padding"
    )
    public_key: str = Field(description="As OpenSSH writes it, without a comment")
    address: str = Field(description="Where the client is; empty where that is not known")
    proved: bool


class TokenProof(_Asked):
    """Somebody comes with a bearer token that is none of the gateway's own."""

    kind: Literal["token"] = "token"
    token: Annotated[str, Field(min_length=1, max_length=16384)]


class Group(BaseModel):
    """A group (a project) of a person. It gets this UUID, so that vfolders of ``project:<id>`` are its own."""

    id: UUID
    name: _Name
    administrator: bool = False


class VFolder(BaseModel):
    """A vfolder that a person may enter beyond those of its own and of its groups. Here ``rw`` does not delete what others made: where the
    orchestrator's own ``rw`` does, it says ``rwd``."""

    volume: _Name
    id: str = Field(description="user:<uuid>/<32 hex digits>, or project:...", max_length=128)
    permission: Literal["ro", "rw", "rwd"]
    name: _Name | None = None
    expires: float | None = Field(default=None, description="Epoch seconds")


class Person(BaseModel):
    """Who it is. What is left out, or null, is left to the gateway; a list that is there is all there is. The account gets this UUID, so
    that vfolders of `user:<id>` are its own."""

    id: UUID
    name: _Name
    email: Annotated[str, Field(max_length=255)] | None = None
    administrator: bool | None = Field(default=None, description="Whether it administers the whole gateway")
    uid: _Number | None = Field(default=None, description="Owner of its files on storage")
    gid: _Number | None = Field(default=None, description="Group of its files on storage")
    groups: Annotated[list[Group], Field(max_length=1000)] | None = None
    vfolders: Annotated[list[VFolder], Field(max_length=1000)] | None = None

    def identity(self, source: str) -> Identity:
        """As the gateway knows it. ``InvalidArgument`` for a vfolder whose identifier is none."""
        groups, vfolders = self.groups, self.vfolders
        return Identity(
            source=source,
            subject=str(self.id),
            name=self.name,
            email=self.email,
            actor=Actor(self.uid, self.gid),
            administrator=self.administrator,
            groups=None
            if groups is None
            else frozenset(OutsideGroup(str(each.id), each.name, each.administrator, each.id) for each in groups),
            grants=None if vfolders is None else frozenset(map(_grant, vfolders)),
            id=self.id,
        )


def _grant(vfolder: VFolder) -> OutsideGrant:
    permission = Permission.parse(vfolder.permission)
    return OutsideGrant(vfolder.volume, VFolderId.parse(vfolder.id), permission, vfolder.name, vfolder.expires)


def fault(error: Exception) -> str:
    """What of an answer is not as it was agreed upon."""
    return str(error) if isinstance(error, InvalidArgument) else " ".join(str(error).split())[:300]


# --- the document ---

_DESCRIPTION = """What an orchestrator offers to vfgateway's `manager` authenticator, so that its people can log in by SFTP, WebDAV and HTTP.

The gateway shows the shared secret in `X-VFGateway-Auth-Token`; answer 403 without it. Fields that are not named here may be added to
answers, and are ignored. Answers are remembered for as long as the gateway is configured to (`cache_life`); when something about a
person changes, call `POST /vfgateway/v1/authenticators/{authenticator}/invalidate` of the gateway's manager API, and it asks again.

What is neither a success nor one of the refusals below means that nobody can be judged now: whoever is known to belong here is told to
try later, and open connections go on for a while (`grace`)."""


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    models: list[type[BaseModel]] = [PasswordProof, KeyProof, TokenProof, Person]
    _, shared = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    proofs = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models[:3]]
    person = {"$ref": "#/components/schemas/Person"}
    found = {"description": "Who it is", "content": {"application/json": {"schema": person}}}
    identify = {
        "operationId": "identify",
        "summary": "Say who comes with this proof",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"oneOf": proofs, "discriminator": {"propertyName": "kind"}}}},
        },
        "responses": {
            "200": found,
            "401": {"description": "Somebody known, but not with this proof, or who may not log in"},
            "403": {"description": "The secret is wrong"},
            "404": {"description": "Nobody known: the gateway asks elsewhere"},
        },
    }
    look_up = {
        "operationId": "look_up",
        "summary": "Say whether somebody may still log in",
        "description": "Asked when an answer has grown old, about people who come with keys of the gateway, or have connections open.",
        "parameters": [
            {
                "name": "who",
                "in": "path",
                "required": True,
                "description": "The person's `id`, or the name of somebody who has not logged in yet",
                "schema": {"type": "string"},
            }
        ],
        "responses": {
            "200": found,
            "403": {"description": "The secret is wrong"},
            "404": {"description": "Nobody who may log in: connections are ended"},
        },
    }
    health = {
        "operationId": "health",
        "summary": "Answer, if questions can be answered",
        "responses": {"200": {"description": "They can"}, "403": {"description": "The secret is wrong"}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "What vfgateway asks an orchestrator about people",
            "version": "1",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{"secret": []}],
        "paths": {
            IDENTIFY: {"post": identify},
            f"{IDENTITIES}/{{who}}": {"get": look_up},
            HEALTH: {"get": health},
        },
        "components": {
            "schemas": shared["$defs"],
            "securitySchemes": {"secret": {"type": "apiKey", "in": "header", "name": HEADER}},
        },
    }


if __name__ == "__main__":
    print(json.dumps(document(), indent=2))

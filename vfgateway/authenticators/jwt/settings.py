"""``[authenticators.jwt]``: whose tokens are good, and what they say of whom."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from vfgateway.authenticators.urls import is_private, is_web
from vfgateway.section import ConfigPath, Seconds, Secret, Section

#: Signed with a key that only the provider has.
ASYMMETRIC = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
#: Signed with a secret that both sides have.
SYMMETRIC = ("HS256", "HS384", "HS512")


class JwtSettings(Section):
    """``[authenticators.jwt]``. Claims within claims are named with dots (``realm_access.roles``).

    :ivar issuer: the provider (``iss``)
    :ivar audience: for whom its tokens are (``aud``): one of these
    :ivar jwks_url: where its keys are (RFC 7517)
    :ivar jwks_file: or a file with them
    :ivar secret: or a secret shared with it
    :ivar algorithms: with which tokens may be signed
    :ivar leeway: seconds by which clocks may differ
    :ivar subject_claim: what never changes and is never given twice
    :ivar name_claim: what a person is called here
    :ivar email_claim: a person's address
    :ivar uid_claim: number of the owner of new files, where the volume asks for it
    :ivar gid_claim: the same of their group
    :ivar groups_claim: a list of names of groups; empty: groups are left to people here. A token without it says that there are none
    :ivar require: claims with the values that they must have, or hold
    :ivar required_groups: only their members may log in
    :ivar administrator_groups: their members are administrators of the gateway, and nobody else from here is
    :ivar as_password: take a token in the place of the password, for clients that know nothing else
    :ivar ca_file: authorities that the provider's certificate must come from; by default those of the system
    :ivar allow_plain: fetch keys over connections that others could change
    :ivar timeout: seconds to fetch keys
    :ivar keys_life: seconds after which keys are fetched again
    :ivar grace: seconds after a token for which keys and open connections of its person are good, since nobody can be asked
    """

    issuer: str = Field(min_length=1)
    audience: tuple[str, ...] = Field(min_length=1)
    jwks_url: str = ""
    jwks_file: ConfigPath | None = None
    secret: Secret = Secret()
    algorithms: tuple[str, ...] = ()
    leeway: Seconds = 60.0
    subject_claim: str = "sub"
    name_claim: str = "preferred_username"
    email_claim: str = "email"
    groups_claim: str = "groups"
    uid_claim: str = ""
    gid_claim: str = ""
    require: dict[str, Any] = Field(default_factory=dict)
    required_groups: tuple[str, ...] = ()
    administrator_groups: tuple[str, ...] = ()
    as_password: bool = False
    ca_file: ConfigPath | None = None
    allow_plain: bool = False
    timeout: Seconds = 10.0
    keys_life: Seconds = 3600.0
    grace: Seconds = 43200.0

    @field_validator("algorithms")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in ASYMMETRIC + SYMMETRIC:
                raise ValueError(f"{name!r} should be one of {', '.join(ASYMMETRIC + SYMMETRIC)}")
        return value

    @field_validator("jwks_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value and not is_web(value):
            raise ValueError("should be an https address")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if [bool(self.jwks_url), self.jwks_file is not None, bool(self.secret)].count(True) != 1:
            raise ValueError("give one of jwks_url, jwks_file and secret")
        # Kinds of keys are never mixed: a public key would make a fine secret for whoever signs a token with it.
        good = SYMMETRIC if self.secret else ASYMMETRIC
        if wrong := [name for name in self.algorithms if name not in good]:
            what = "a secret" if self.secret else "the keys of a provider"
            raise ValueError(f"algorithms: {wrong[0]} does not go with {what}, which goes with {', '.join(good)}")
        if (self.required_groups or self.administrator_groups) and not self.groups_claim:
            raise ValueError("required_groups and administrator_groups need groups_claim")
        if self.jwks_url and not (self.allow_plain or is_private(self.jwks_url)):
            raise ValueError("keys from jwks_url could be changed on the way: use https, or allow_plain = true")
        return self

    @property
    def accepted(self) -> tuple[str, ...]:
        """The algorithms that are taken."""
        return self.algorithms or (SYMMETRIC[:1] if self.secret else ASYMMETRIC)

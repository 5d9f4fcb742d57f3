"""Tables about logging in: what keys permit, second factors, and wrong logins."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from vfgateway.services.schema import metadata

# What a key permits at most; a key without a row permits all that its user may do. vfolders are kept as numbers and not referred to: a key to
# what is gone opens nothing, rather than everything.
key_scopes = Table(
    "key_scopes",
    metadata,
    Column("credential", String(32), ForeignKey("credentials.id", ondelete="CASCADE"), primary_key=True),
    Column("protocols", Text),  # JSON: a list of names, NULL for all
    Column("vfolders", Text),  # JSON: a list of numbers, NULL for all
    Column("permission", String(8), nullable=False),
)

second_factors = Table(
    "second_factors",
    metadata,
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("secret", String(64), nullable=False),  # Base32, as authenticator apps take it
    Column("created", Float, nullable=False),
    Column("confirmed", Float),  # NULL: not shown yet that the app has the secret; is not asked for
    Column("last_step", BigInteger, nullable=False, server_default="0"),  # codes up to this one are used up
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", String(64), primary_key=True),  # SHA-256 of a random code
)

# subject: "name:NAME", "address:ADDRESS" or "login:ADDRESS NAME"
login_failures = Table(
    "login_failures",
    metadata,
    Column("subject", String(400), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last", Float, nullable=False),
    Column("until", Float, nullable=False),  # nothing is judged before
    Index("ix_login_failures_last", "last"),
)

# From where people have logged in: who is known there is not kept out by what others do.
login_places = Table(
    "login_places",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("address", String(64), primary_key=True),
    Column("last", Float, nullable=False),
)

"""Lines of ``authorized_keys``: what they demand, and whom they let in."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.gateway import running_gateway
from vfgateway.credentials import ProvenKey
from vfgateway.errors import AuthenticationFailed, InvalidArgument
from vfgateway.services import publickeys

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
LINE = KEY.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
BLOB = base64.b64decode(LINE.split()[1])


@pytest.mark.parametrize(
    ("sources", "address", "good"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8,!10.1.0.0/16", "10.1.2.3", False),
        ("10.0.*", "10.0.7.7", True),
        ("2001:db8::/32", "2001:db8::1", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("!192.0.2.1", "192.0.2.2", False),
        ("10.0.0.0/8", "", False),
    ],
)
def test_from_is_as_sshd_has_it(sources: str, address: str, good: bool) -> None:
    """One pattern has to match, and none that is negated."""
    line = publickeys.parse(f'from="{sources}" {LINE} at home')
    assert line.comment == "at home"
    assert publickeys.is_good_from(line.data, address) is good
    assert publickeys.is_key(line.data, BLOB)


def test_options_that_forbid_what_is_not_there_are_dropped() -> None:
    """A line that was made for sshd is taken as it is."""
    line = publickeys.parse(f'restrict,no-pty,command="internal-sftp",expiry-time="20300102Z" {LINE}')
    assert (line.data, line.expires) == (LINE, 1893542400.0)
    assert publickeys.is_good_from(line.data, "")


@pytest.mark.parametrize(
    "options",
    [
        'command="/bin/sh"',
        "cert-authority",
        'from="example.org"',
        'from="10.0.0.0/99"',
        'expiry-time="soon"',
        "nonsense ,",
    ],
)
def test_options_that_cannot_be_kept_are_refused(options: str) -> None:
    """Rather than a key that does less, or more, than its owner believes."""
    with pytest.raises(InvalidArgument):
        publickeys.parse(f"{options} {LINE}")


async def test_a_key_opens_what_it_says_and_no_more(tmp_path: Path) -> None:
    """By its owner's name, from where it is good, until it expires, and not for an account that is closed."""
    async with running_gateway(tmp_path) as gateway:
        user = await gateway.accounts.create_user("alice")
        await gateway.accounts.create_user("bob")
        await gateway.accounts.add_key(user.id, "public_key", public_key=f'from="10.0.0.0/8" {LINE} laptop')
        assert (await gateway.authenticate(ProvenKey("alice", BLOB, "10.9.8.7"))).name == "alice"
        refused = [
            ("bob", BLOB, "10.9.8.7"),
            ("alice", BLOB, "192.0.2.1"),
            ("alice", BLOB[:-1], "10.9.8.7"),
            ("\0", BLOB, ""),
        ]
        for name, blob, address in refused:
            with pytest.raises(AuthenticationFailed):
                await gateway.authenticate(ProvenKey(name, blob, address))
        await gateway.accounts.update_user(user.id, active=False)
        with pytest.raises(AuthenticationFailed):
            await gateway.authenticate(ProvenKey("alice", BLOB, "10.9.8.7"))


async def test_an_expired_key_opens_nothing(tmp_path: Path) -> None:
    """The time in the line counts."""
    async with running_gateway(tmp_path) as gateway:
        user = await gateway.accounts.create_user("alice")
        made = await gateway.accounts.add_key(user.id, "public_key", public_key=f'expiry-time="20200101" {LINE}')
        assert made.credential.expires == 1577836800.0
        with pytest.raises(AuthenticationFailed):
            await gateway.authenticate(ProvenKey("alice", BLOB))

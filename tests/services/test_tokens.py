"""Tokens open what they were minted for, and nothing that was tampered with opens anything."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from vfgateway.errors import GatewayError, InvalidArgument, InvalidClaims, InvalidToken, TokenExpired
from vfgateway.model import QuotaScopeId, ScopeKind, VFolderId
from vfgateway.principals import PrincipalKind, TokenScope
from vfgateway.services.tokens import Tokens

SECRET = b"a secret that is long enough for every algorithm, not just HS256"
OLDER = b"the secret that was in use before that one"
VFID = VFolderId(QuotaScopeId(ScopeKind.USER, UUID(int=1)), UUID(int=2))
SESSION = "0123456789abcdef0123456789abcdef"

DOWNLOAD = {"op": "download", "volume": "local", "vfid": str(VFID), "relpath": "a/b"}
UPLOAD = {"op": "upload", "volume": "local", "vfid": str(VFID), "relpath": "a/b", "size": 5, "session": SESSION}
ARCHIVE = {"operation": "download", "volume": "local", "virtual_folder_id": str(VFID), "files": ["a"], "filename": None}


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    return Tokens([SECRET], clock, 60.0)


@pytest.fixture
def sign(clock: Clock) -> Callable[..., str]:
    """Signs any claims as the gateway or an orchestrator that knows the secret would, good for a minute."""

    def sign(claims: dict[str, Any], key: bytes | None = SECRET, algorithm: str = "HS256") -> str:
        return jwt.encode({"exp": int(clock.seconds()) + 60, **claims}, key, algorithm=algorithm)  # type: ignore[arg-type]  # none for "none"

    return sign


def payload(token: str) -> dict[str, Any]:
    decoded: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return decoded


def test_minted_claims_are_those_of_the_reference(tokens: Tokens, clock: Clock) -> None:
    """An orchestrator's tools that look into a token find the claims they know, no others, and an integer expiry."""
    clock.advance(0.75)
    expires = int(clock.seconds() + 60)
    assert payload(tokens.mint_download("local", VFID, "a/b")) == DOWNLOAD | {"exp": expires}
    assert payload(tokens.mint_upload("local", VFID, "a/b", 5, SESSION)) == UPLOAD | {"exp": expires}
    assert payload(tokens.mint_archive("local", VFID, ["a"])) == ARCHIVE | {"exp": expires}
    assert jwt.get_unverified_header(tokens.mint_download("local", VFID, "a"))["alg"] == "HS256"


def test_download_comes_back(tokens: Tokens) -> None:
    """A download token names its file, and its bearer may read that vfolder alone."""
    claims = tokens.verify_download(tokens.mint_download("local", VFID, "dir/ü \udcff.txt"))
    assert (claims.volume, claims.vfid, claims.relpath) == ("local", VFID, "dir/ü \udcff.txt")
    assert claims.principal.kind is PrincipalKind.TOKEN
    assert claims.principal.token == TokenScope("download", "local", VFID)


def test_upload_comes_back(tokens: Tokens) -> None:
    """An upload token names its target, size and session, down to zero bytes."""
    claims = tokens.verify_upload(tokens.mint_upload("local", VFID, "x", 0, SESSION))
    assert (claims.relpath, claims.size, claims.session) == ("x", 0, SESSION)
    assert claims.principal.token == TokenScope("upload", "local", VFID)


def test_archive_comes_back(tokens: Tokens) -> None:
    """An archive token names its files and what the archive is called."""
    claims = tokens.verify_archive(tokens.mint_archive("local", VFID, ["a", "b/c"], "my files.zip"))
    assert (claims.files, claims.filename) == (("a", "b/c"), "my files.zip")
    assert claims.principal.token == TokenScope("archive", "local", VFID)


def test_token_ends_with_its_time(tokens: Tokens, clock: Clock) -> None:
    """A token is good until its expiry by the gateway's clock, and not a moment longer."""
    token = tokens.mint_download("local", VFID, "a")
    clock.advance(59)
    tokens.verify_download(token)
    clock.advance(1)
    with pytest.raises(TokenExpired, match="expired"):
        tokens.verify_download(token)


def test_secret_is_rotated_without_a_break(clock: Clock) -> None:
    """Tokens of the secret before are still believed while it is listed; new ones are signed with the first."""
    old, both, new = (Tokens(secrets, clock, 60.0) for secrets in ([OLDER], [SECRET, OLDER], [SECRET]))
    both.verify_download(old.mint_download("local", VFID, "a"))
    new.verify_download(both.mint_download("local", VFID, "a"))
    with pytest.raises(InvalidToken, match="Signature verification failed"):
        new.verify_download(old.mint_download("local", VFID, "a"))


@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
def test_only_hs256_counts(tokens: Tokens, sign: Callable[..., str], algorithm: str) -> None:
    """A token that is unsigned, or signed some other way, is no token, whatever its header claims."""
    forged = sign(DOWNLOAD, None if algorithm == "none" else SECRET, algorithm=algorithm)
    with pytest.raises(InvalidToken):
        tokens.verify_download(forged)


@pytest.mark.parametrize(
    ("claims", "verify"),
    [
        (UPLOAD, Tokens.verify_download),
        (ARCHIVE, Tokens.verify_download),
        (DOWNLOAD, Tokens.verify_upload),
        (ARCHIVE, Tokens.verify_upload),
        (DOWNLOAD, Tokens.verify_archive),
        (UPLOAD, Tokens.verify_archive),
    ],
)
def test_token_for_something_else_is_refused(
    tokens: Tokens, sign: Callable[..., str], claims: dict[str, Any], verify: Callable[[Tokens, str], Any]
) -> None:
    """A token is good for its own operation only; the refusal tells a wrong claim from a wrong signature."""
    with pytest.raises(InvalidClaims):
        verify(tokens, sign(claims))


@pytest.mark.parametrize(
    "wrong",
    [
        {"volume": None},
        {"volume": ""},
        {"vfid": "user:nobody/x"},
        {"vfid": 7},
        {"relpath": ["a"]},
        {"size": -1},
        {"size": "5"},
        {"size": 5.0},
        {"size": True},
        {"session": "../../etc/passwd"},
        {"session": SESSION.upper()},
        {"exp": 4e9},
        {"exp": "4000000000"},
    ],
)
def test_upload_claims_must_be_usable(tokens: Tokens, sign: Callable[..., str], wrong: dict[str, Any]) -> None:
    """What was signed is still checked, since the secret is the orchestrator's too."""
    with pytest.raises(InvalidToken):
        tokens.verify_upload(sign(UPLOAD | wrong))


@pytest.mark.parametrize("name", [*UPLOAD, "exp"])
def test_every_claim_is_needed(tokens: Tokens, clock: Clock, name: str) -> None:
    """Nothing is filled in for a claim that is missing, least of all the expiry."""
    claims = {**UPLOAD, "exp": int(clock.seconds()) + 60}
    del claims[name]
    with pytest.raises(InvalidToken):
        tokens.verify_upload(jwt.encode(claims, SECRET, algorithm="HS256"))


def test_further_claims_are_tolerated(tokens: Tokens, sign: Callable[..., str]) -> None:
    """Claims of other versions do no harm, also those that libraries like to judge by the wall clock."""
    more: dict[str, Any] = {
        "archive": True,
        "unmanaged_path": None,
        "nbf": 9e9,
        "iat": 9e9,
        "aud": "x",
        "iss": "y",
        "sub": 3,
        "z": [],
    }
    assert tokens.verify_download(sign(DOWNLOAD | more)).relpath == "a/b"


def test_host_path_is_refused(tokens: Tokens, sign: Callable[..., str]) -> None:
    """A claim that names a directory of the host opens nothing."""
    with pytest.raises(InvalidClaims, match="unmanaged_path"):
        tokens.verify_download(sign(DOWNLOAD | {"unmanaged_path": "/etc"}))


@pytest.mark.parametrize("name", ["", "  ", ".", "..", "a/b", "a\\b", "a\nb", "\x7f", "x" * 256])
def test_archive_names_are_checked_at_mint_and_use(tokens: Tokens, sign: Callable[..., str], name: str) -> None:
    """A name that could not be a file's on some client's disk, or breaks a header, is refused both times."""
    with pytest.raises(InvalidArgument, match="filename"):
        tokens.mint_archive("local", VFID, ["a"], name)
    with pytest.raises(InvalidClaims, match="filename"):
        tokens.verify_archive(sign(ARCHIVE | {"filename": name}))


def test_archive_needs_files(tokens: Tokens, sign: Callable[..., str]) -> None:
    """An archive of nothing is refused both times."""
    with pytest.raises(InvalidArgument, match="files"):
        tokens.mint_archive("local", VFID, [])
    for files in ([], "a", [1], None):
        with pytest.raises(InvalidClaims):
            tokens.verify_archive(sign(ARCHIVE | {"files": files}))


def test_every_changed_character_is_noticed(tokens: Tokens) -> None:
    """No bit of header, payload or signature can be changed."""
    token = tokens.mint_download("local", VFID, "a")
    for position, character in enumerate(token[:-1]):  # two bits of the last character are padding
        changed = token[:position] + ("A" if character != "A" else "B") + token[position + 1 :]
        with pytest.raises(InvalidToken):
            tokens.verify_download(changed)


@given(st.text(max_size=100) | st.builds("{}.{}.{}".format, st.text("aA0_-="), st.text("aA0_-="), st.text("aA0_-=")))
def test_any_text_gets_a_refusal(text: str) -> None:
    """Whatever comes instead of a token, the answer is of the gateway's own errors."""
    with pytest.raises(InvalidToken):
        Tokens([SECRET], Clock(), 60.0).verify_download(text)


def test_deep_header_is_refused(tokens: Tokens) -> None:
    """A header nested beyond what the parser bears is a bad token, not a fault of the server."""
    deep = base64.urlsafe_b64encode(b"[" * 200_000).decode()
    with pytest.raises(InvalidToken):
        tokens.verify_download(f"{deep}.{deep}.{deep}")


def test_secrets_do_not_show(tokens: Tokens) -> None:
    """Neither the object nor its refusals show the secret."""
    with pytest.raises(GatewayError) as refusal:
        tokens.verify_download("x.y.z")
    assert SECRET.decode() not in repr(tokens) + str(refusal.value) + json.dumps(str(refusal.value))


def test_no_secret_is_no_gateway(clock: Clock) -> None:
    """Nothing is signed with an empty secret."""
    for secrets in ([], [b""], [SECRET, b""]):
        with pytest.raises(ValueError, match="at least one secret"):
            Tokens(secrets, clock, 60.0)

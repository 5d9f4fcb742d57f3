"""How the gateway is let in, and what it lets others do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas
from pydantic import ValidationError
from twisted.internet.task import Clock

from tests.backends.azureblob.conftest import type_make
from tests.conformance.harness import at, content_of, new_folder, new_vfid, put
from tests.support.azure_proxy import AzureProxy, Refusal
from tests.support.azurite import ACCOUNT, KEY, Azurite
from vfgateway.backends.azureblob import AzureBlobSettings
from vfgateway.backends.azureblob.credentials import LIFETIME, MARGIN, KeyCredential
from vfgateway.errors import Unsupported, VFolderNotFound, VolumeUnavailable
from vfgateway.model import ABSENT


def signed(minutes: float) -> str:
    """Access to everything, for so long from now; it has begun yesterday."""
    now = datetime.now(UTC)
    allowed = AccountSasPermissions(read=True, write=True, delete=True, list=True, add=True, create=True)
    kinds = ResourceTypes(service=True, container=True, object=True)
    begin, end = now - timedelta(days=1), now + timedelta(minutes=minutes)
    return generate_account_sas(ACCOUNT, KEY, kinds, allowed, end, start=begin)


def written(tmp_path: Path, token: str) -> Path:
    path = tmp_path / "sas"
    path.write_text(f"?{token}\n")
    path.chmod(0o600)
    return path


async def test_access_that_has_ended_is_read_again(make: type_make, proxy: AzureProxy, tmp_path: Path) -> None:
    """In the middle of an upload, too: whoever renews it writes the new one where the old one was."""
    first, second = signed(50), signed(60)
    folder = await new_folder(await make(proxy.url, sas_token_file=written(tmp_path, first)))
    staged = await folder.stage(at("file"), None)
    await staged.append([b"1" * (300 << 10)])
    written(tmp_path, second)
    ended = parse_qs(first)["sig"][0]
    proxy.rule = lambda asked: Refusal(403, "AuthenticationFailed") if asked.query["sig"] == ended else None
    await staged.append([b"2" * (300 << 10)])
    await staged.commit(at("file"), ABSENT)
    await folder.rename(at("file"), at("moved"), ABSENT)
    assert await content_of(folder, "moved") == b"1" * (300 << 10) + b"2" * (300 << 10)


async def test_access_that_has_ended_for_good(make: type_make, tmp_path: Path, azurite: Azurite) -> None:
    """The volume says that it is not let in, and is once there is a new one; nobody is told the old one."""
    ended = signed(-10)
    volume = await make(start=False, sas_token_file=written(tmp_path, ended))
    with pytest.raises(VolumeUnavailable, match="refuses our credentials") as caught:
        await volume.start()
    assert "sig" not in str(caught.value) and ended[-20:] not in str(caught.value)
    written(tmp_path, signed(10))
    await volume.start()
    await put(await new_folder(volume), "file", b"content")


async def test_given_access_signs_nothing(make: type_make, tmp_path: Path) -> None:
    """It takes the key to let others in."""
    volume = await make(sas_token_file=written(tmp_path, signed(10)))
    with pytest.raises(VFolderNotFound):
        await volume.share_access(new_vfid(), False, 2e9, None)
    folder = await new_folder(volume)
    with pytest.raises(Unsupported):
        await volume.share_access(folder._vfid, False, 2e9, None)


async def test_a_wrong_key(make: type_make, azurite: Azurite) -> None:
    """Is told as such, without it."""
    wrong = "d3Jvbmc="
    with pytest.raises(VolumeUnavailable, match="refuses our credentials") as caught:
        await make(account_key=wrong)
    assert wrong not in str(caught.value)


async def test_what_a_key_signs_for_us_is_renewed_in_time() -> None:
    """Before it ends, and not for each request; its beginning allows for clocks that differ."""
    clock = Clock()
    clock.advance(1_700_000_000)
    credential = KeyCredential(ACCOUNT, KEY, clock, https=True)
    first = await credential.current()
    clock.advance(LIFETIME - MARGIN - 1)
    assert await credential.current() is first
    clock.advance(2)
    second = await credential.current()
    assert second != first
    asked = parse_qs(second.query)
    assert asked["spr"] == ["https"]
    assert asked["st"][0] < "2023-11-14T23:03:22Z" < asked["se"][0]
    assert KEY not in repr(second) and asked["sig"][0] not in repr(second)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"account_key": "a", "sas_token": "b"},
        {"account_key": "a", "account": "Not-A-Name"},
        {"account_key": "a", "endpoint": "ftp://x"},
        {"account_key": "a", "endpoint": "https://user:password@host"},
        {"account_key": "a", "container_prefix": "UPPER-"},
        {"account_key": "a", "container_prefix": "two--dashes-"},
        {"sas_token": "a", "redirect": True},
        {"account_key": "a", "file_mode": "4755"},
    ],
    ids=str,
)
def test_settings_that_cannot_be(settings: dict[str, object]) -> None:
    """Are refused before anything is tried."""
    with pytest.raises(ValidationError):
        AzureBlobSettings.model_validate({"account": "account", **settings})

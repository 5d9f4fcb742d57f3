"""Servers that demand things, and logins that they do not take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.smb.conftest import type_make
from tests.conformance.harness import content_of, new_folder, put
from tests.support.process import free_port
from tests.support.samba import Samba
from vfgateway.backends.smb import links
from vfgateway.errors import VolumeUnavailable
from vfgateway.model import HealthState

CONTENT = bytes(range(256)) * 1200


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    """Everything signed; and whoever is unknown is a guest."""
    settings = {"server signing": "mandatory", "map to guest": "bad user"}
    with Samba(tmp_path_factory.mktemp("strict") / "server", settings, {"guest ok": "yes"}) as samba:
        yield samba


@pytest.fixture(scope="module")
def encrypting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    """As Azure Files is."""
    settings = {"server min protocol": "SMB3_00", "server smb encrypt": "required"}
    with Samba(tmp_path_factory.mktemp("encrypting") / "server", settings) as samba:
        yield samba


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    """From the time of Windows Vista."""
    with Samba(tmp_path_factory.mktemp("old") / "server", {"server max protocol": "SMB2_02"}) as samba:
        yield samba


async def works(volume: Any) -> None:
    """Whether a file comes back as it was."""
    folder = await new_folder(volume)
    await put(folder, "file", CONTENT)
    assert await content_of(folder, "file") == CONTENT


async def test_signing_is_required(strict: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """Both drivers sign."""
    await works(await make(strict, **{**driver, "encrypt": False}))


async def test_encryption_is_required(encrypting: Samba, make: type_make) -> None:
    """Whether or not the configuration asks for it."""
    for encrypt in (True, False):
        await works(await make(encrypting, encrypt=encrypt))


async def test_pysmb_cannot_encrypt(encrypting: Samba, make: type_make) -> None:
    """It says that it cannot be used, and does not hang."""
    with pytest.raises(VolumeUnavailable):
        await make(encrypting, driver="pysmb", encrypt=False)


async def test_smb_2_only(old: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """Where a command takes 64 KiB and nothing can be encrypted."""
    volume = await make(old, **{**driver, "encrypt": False})
    await works(volume)
    assert (await volume.health()).metadata == {"dialect": "2.0.2"}


async def test_no_encryption_to_be_had(old: Samba, make: type_make) -> None:
    """A volume that asks for it is not served without."""
    with pytest.raises(VolumeUnavailable):
        await make(old)


async def test_guests_are_refused(strict: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """Who is taken for a guest is not in, though the server would have him."""
    with pytest.raises(VolumeUnavailable):
        await make(strict, **{**driver, "encrypt": False, "username": "nobody-here"})


async def test_wrong_password(samba: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """It is said that the login is refused, and whose; not with what."""
    with pytest.raises(VolumeUnavailable, match=f"does not let {samba.user} in") as caught:
        await make(samba, **{**driver, "password": "a secret of ours"})
    assert "a secret" not in str(caught.value)


async def test_no_such_share(samba: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """It is said which one is missing."""
    with pytest.raises(VolumeUnavailable, match="no share 'nothing'"):
        await make(samba, **{**driver, "share": "nothing"})


async def test_nobody_listens(samba: Samba, make: type_make, driver: dict[str, Any]) -> None:
    """A server that is not there is an error at once, and its volume is reported as such."""
    volume = await make(samba, start=False, **{**driver, "port": free_port()})
    with pytest.raises(VolumeUnavailable):
        await volume.start()
    assert (await volume.health()).state is HealthState.UNAVAILABLE


async def test_password_that_changes(
    samba: Samba, make: type_make, driver: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a password expires, files cannot be had until the file has the new one; then they can, without a restart."""
    monkeypatch.setattr(links, "FIRST_REFUSED_PAUSE", 0.0)
    monkeypatch.setattr(links, "FIRST_PAUSE", 0.0)
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text(samba.password)
    more = {**driver, "password_file": str(file), "password": None}
    volume = await make(samba, **more)
    folder = await new_folder(volume)
    await put(folder, "file", CONTENT)
    try:
        samba.set_password("another one")
        samba.drop_connections()
        with pytest.raises(VolumeUnavailable):
            await content_of(folder, "file")
        file.write_text("another one")
        assert await content_of(folder, "file") == CONTENT
    finally:
        samba.set_password(samba.password)

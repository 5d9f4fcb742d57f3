"""The server's own keys: which there are, that they stay, and who may read them."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread

from tests.protocols.sftp.conftest import port_of, type_serve
from tests.protocols.sftp.test_frontend import with_alice
from tests.support.sftp import run
from vfgateway.errors import ConfigurationError
from vfgateway.protocols.sftp import hostkeys


@pytest.fixture
def folder(host_keys: Path, tmp_path: Path) -> Path:
    """A folder with the keys that are made by themselves."""
    hostkeys.load(host_keys)
    return Path(shutil.copytree(host_keys, tmp_path / "keys"))


def kinds(folder: Path) -> set[bytes]:
    """What keys are used."""
    return set(hostkeys.load(folder))


def test_what_is_made_by_itself(folder: Path) -> None:
    """Ed25519 and RSA of 3072 bits, for us alone to read, once; their public halves beside them."""
    assert kinds(folder) == {b"ssh-ed25519", b"ssh-rsa"}
    assert hostkeys.load(folder)[b"ssh-rsa"].size() == 3072
    private, public = sorted(folder.glob("*_key")), sorted(folder.glob("*.pub"))
    assert [path.name for path in private] == ["ssh_host_ed25519_key", "ssh_host_rsa_key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    before = [path.read_bytes() for path in (*private, *public)]
    hostkeys.load(folder)
    assert [path.read_bytes() for path in (*private, *public)] == before
    for path in private:
        told = run(["ssh-keygen", "-y", "-f", path]).stdout.split()[:2]
        assert path.with_suffix(".pub").read_text().split()[:2] == told


def test_a_key_with_a_passphrase_cannot_be_used(folder: Path) -> None:
    """Nobody is there to type it in; the mistake is told with the file's name."""
    run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "a passphrase", "-f", folder / "ssh_host_ecdsa_key"])
    with pytest.raises(ConfigurationError, match="ssh_host_ecdsa_key is not a private key without a passphrase"):
        hostkeys.load(folder)


async def test_ecdsa_only_where_somebody_put_one(tmp_path: Path, folder: Path, serve: type_serve) -> None:
    """As OpenSSH sees it."""

    def offered(port: int) -> set[str]:
        scan = ["ssh-keyscan", "-T", "20", "-t", "ed25519,rsa,ecdsa", "-p", str(port), "127.0.0.1"]
        return {line.split()[1] for line in run(scan, check=False).stdout.splitlines()}

    async with with_alice(tmp_path / "gateway") as (gateway, _):
        async with serve(gateway) as service:
            assert await deferToThread(offered, port_of(service)) == {"ssh-ed25519", "ssh-rsa"}
        run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", folder / "ssh_host_ecdsa_key"])
        async with serve(gateway, keys=folder) as service:
            assert await deferToThread(offered, port_of(service)) == {"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"}

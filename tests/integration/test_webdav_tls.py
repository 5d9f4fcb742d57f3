"""WebDAV over TLS that the gateway speaks itself: judged, trusted, renewed while it is used."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from tests.support.dav_clients import Judgement, dav_url, litmus, mounted, run
from tests.support.dav_site import DavSite
from tests.support.process import ALICE, PATIENCE, GatewayProcess, VFolderOfAlice, eventually
from tests.support.tls import certificate
from tests.support.webdav import basic


def write_pair(folder: Path) -> None:
    """A new certificate and its key, in two files, each in one step as certbot writes them."""
    pem: bytes = certificate.__wrapped__().dumpPEM()
    key = load_pem_private_key(pem, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for name, content in (("key.pem", key), ("cert.pem", load_pem_x509_certificate(pem).public_bytes(Encoding.PEM))):
        (folder / "new").write_bytes(content)
        (folder / "new").rename(folder / name)


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ``cert.pem`` and ``key.pem``."""
    folder = tmp_path_factory.mktemp("pems")
    write_pair(folder)
    return folder


@pytest.fixture(scope="module")
def vfolder(tmp_path_factory: pytest.TempPathFactory, pems: Path) -> Iterator[VFolderOfAlice]:
    """A vfolder behind a gateway that runs for all tests here."""
    options = {"certificate": str(pems / "cert.pem"), "key": str(pems / "key.pem")}
    volumes = {"local": {"path": "volume", "durability": "none"}}
    site = DavSite(tmp_path_factory.mktemp("site") / "site", volumes, options)
    with GatewayProcess(site):
        yield site.populate()


class Connection:
    """A TLS connection that trusts ``cert.pem`` and nothing else.

    :ivar shown: the certificate that the gateway showed
    """

    def __init__(self, vfolder: VFolderOfAlice, pems: Path) -> None:
        assert isinstance(vfolder.site, DavSite)
        context = ssl.create_default_context(cafile=str(pems / "cert.pem"))
        plain = socket.create_connection(("127.0.0.1", vfolder.site.dav_port), PATIENCE)
        try:
            self._tls = context.wrap_socket(plain, server_hostname="127.0.0.1")
        except BaseException:
            plain.close()
            raise
        self.shown = self._tls.getpeercert(binary_form=True)

    def send(self, method: str, target: str, body: bytes = b"", **fields: object) -> None:
        """A request, its body apart."""
        fields = {"Host": "127.0.0.1", "Authorization": basic(*ALICE), "Content_Length": len(body), **fields}
        lines = [
            f"{method} {target} HTTP/1.1",
            *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items()),
        ]
        self._tls.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def write(self, data: bytes) -> None:
        """Bytes of a body."""
        self._tls.sendall(data)

    def status(self) -> int:
        """Of the next answer, which is read to the end of its head."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self._tls.recv(1)
            assert byte, head
            head += byte
        return int(head.split()[1])

    def close(self) -> None:
        """End it."""
        self._tls.close()


def test_litmus(vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """All of litmus passes over TLS, but for the one test that it does not make there itself: see :func:`test_expect_100`."""
    assert litmus(dav_url(vfolder), tmp_path) == Judgement(103, ["expect100"])


def test_expect_100(vfolder: VFolderOfAlice, pems: Path) -> None:
    """Who asks before it sends is told to go on, or is refused, over TLS too."""
    connection = Connection(vfolder, pems)
    connection.send("PUT", f"/{vfolder.name}/expected", Expect="100-continue", Content_Length=5)
    assert connection.status() == 100
    connection.write(b"hello")
    assert connection.status() == 201
    connection.close()
    assert (vfolder.root / "expected").read_bytes() == b"hello"
    connection = Connection(vfolder, pems)
    connection.send("PUT", f"/{vfolder.name}/missing/expected", Expect="100-continue", Content_Length=1 << 30)
    assert connection.status() == 409
    connection.close()


def test_curl_and_davfs2_trust_it(vfolder: VFolderOfAlice, pems: Path, tmp_path: Path) -> None:
    """Clients that check whom they talk to are content; a large file comes and goes whole."""
    content = os.urandom(5 << 20)
    (tmp_path / "local").write_bytes(content)
    login = ("-sS", "--fail", "--cacert", str(pems / "cert.pem"), "-u", ":".join(ALICE))
    run("curl", *login, "-T", "local", f"{dav_url(vfolder)}/large", cwd=tmp_path)
    run("curl", *login, "-o", "back", f"{dav_url(vfolder)}/large", cwd=tmp_path)
    assert (tmp_path / "back").read_bytes() == content
    with TemporaryDirectory() as open_to_all:  # davfs2 reads the certificate when it is no longer root
        Path(open_to_all).chmod(0o755)
        shutil.copy(pems / "cert.pem", open_to_all)
        with mounted(dav_url(vfolder), tmp_path / "davfs", trust_ca_cert=f"{open_to_all}/cert.pem") as mount:
            (mount.point / "dir").mkdir()
            (mount.point / "dir/file").write_bytes(b"hello")
            assert (mount.point / "large").read_bytes() == content
            mount.unmount()
    assert (vfolder.root / "dir/file").read_bytes() == b"hello"


def test_it_is_renewed_while_it_is_used(vfolder: VFolderOfAlice, pems: Path) -> None:
    """New connections get the new certificate without a restart; old ones live on, in the middle of an upload too."""
    idle, busy = Connection(vfolder, pems), Connection(vfolder, pems)
    busy.send("PUT", f"/{vfolder.name}/busy", Expect="100-continue", Content_Length=10)
    assert busy.status() == 100
    busy.write(b"01234")
    before = idle.shown
    write_pair(pems)

    def renewed() -> bool:
        try:
            connection = Connection(vfolder, pems)
        except ssl.SSLCertVerificationError:
            return False
        connection.close()
        return connection.shown != before

    eventually(renewed, "the new certificate is shown")
    idle.send("OPTIONS", f"/{vfolder.name}/")
    assert idle.status() == 200
    busy.write(b"56789")
    assert busy.status() == 201
    assert (vfolder.root / "busy").read_bytes() == b"0123456789"
    idle.close()
    busy.close()

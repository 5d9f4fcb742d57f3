"""WebDAV behind nginx, which speaks TLS with the clients and is trusted to say so."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.dav_clients import Judgement, litmus
from tests.support.dav_site import DavSite
from tests.support.process import ALICE, PATIENCE, ROOT, GatewayProcess, eventually, free_port
from tests.support.tls import certificate

#: Where clients would be that are not on this machine.
FAR = "192.0.2.1"


class Proxied(DavSite):
    """A site that trusts a proxy on this machine."""

    def _configuration(self, volumes: Mapping[str, Mapping[str, object]]) -> str:
        return super()._configuration(volumes).replace("[gateway]\n", '[gateway]\ntrusted_proxies = ["127.0.0.1"]\n', 1)


class Nginx:
    """nginx with the snippet of ours, once with TLS and once without, for clients that seem to be elsewhere.

    :ivar secure: the address with TLS
    :ivar plain: that without
    :ivar certificate: what its clients have to trust
    """

    def __init__(self, folder: Path, site: DavSite) -> None:
        program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        assert program, "nginx is missing; make test installs it"
        folder.mkdir()
        self.certificate = folder / "tls.pem"
        self.certificate.write_bytes(certificate().dumpPEM())
        snippet = (ROOT / "etc/nginx-vfgateway.conf").read_text()
        ours = snippet.replace("127.0.0.1:6021", f"127.0.0.1:{site.dav_port}").replace("$remote_addr", FAR)
        ports = free_port(), free_port()
        self.secure, self.plain = f"https://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        tls = f"ssl_certificate {self.certificate}; ssl_certificate_key {self.certificate};"
        (folder / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {places}\n"
            f"server {{ listen 127.0.0.1:{ports[0]} ssl; {tls} {ours} }}\n"
            f"server {{ listen 127.0.0.1:{ports[1]}; {ours} }} }}\n"
        )
        command = [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        with (folder / "output").open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        eventually(self._answers, "nginx answers")

    def _answers(self) -> bool:
        assert self._process.poll() is None
        try:
            return requests.options(self.plain, timeout=PATIENCE).ok
        except requests.ConnectionError:
            return False

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(PATIENCE)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """nginx before a gateway with a vfolder ``data``."""
    folder = tmp_path_factory.mktemp("proxied")
    site = Proxied(folder / "site", {"local": {"path": "volume", "durability": "none"}})
    with GatewayProcess(site):
        site.populate()
        proxy = Nginx(folder / "nginx", site)
        try:
            yield proxy
        finally:
            proxy.stop()


def test_litmus(nginx: Nginx, tmp_path: Path) -> None:
    """All of it: passwords are taken, and a ``Destination`` with the scheme that only nginx speaks is ours."""
    assert litmus(f"{nginx.secure}/data", tmp_path) == Judgement(103, ["expect100"])


def test_what_came_in_clear(nginx: Nginx) -> None:
    """No password is taken, nor asked for; who asks what can be done here is told."""
    refused = requests.request("PROPFIND", f"{nginx.plain}/data/", auth=ALICE, timeout=PATIENCE)
    assert (refused.status_code, "WWW-Authenticate" in refused.headers) == (403, False)
    assert requests.options(f"{nginx.plain}/data/", timeout=PATIENCE).headers["MS-Author-Via"] == "DAV"


def test_addresses_are_those_of_the_proxy(nginx: Nginx) -> None:
    """What the gateway makes URLs of is what the client wrote."""
    fields: dict[str, Any] = {"Destination": f"{nginx.secure}/data/there", "Overwrite": "F"}
    options: dict[str, Any] = {"auth": ALICE, "verify": str(nginx.certificate), "timeout": PATIENCE}
    assert requests.put(f"{nginx.secure}/data/here", data=b"x", **options).status_code == 201
    moved = requests.request("MOVE", f"{nginx.secure}/data/here", headers=fields, **options)
    assert (moved.status_code, moved.headers["Location"]) == (201, f"{nginx.secure}/data/there")
    asked = {"Tus-Resumable": "1.0.0", "Upload-Length": "3", "Upload-Metadata": "filename Zg=="}
    made = requests.post(f"{nginx.secure}/data/", headers=asked, **options)
    assert made.headers["Location"].startswith(f"{nginx.secure}/data/.uploads/")

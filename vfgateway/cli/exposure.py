"""What others can read, hear or pretend that they should not: secrets, TLS, proxies. Changes nothing, and tells only what is wrong."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vfgateway.cli.certificates import public_url
from vfgateway.cli.mistakes import Mistake, wrong
from vfgateway.cli.place import Place, texts
from vfgateway.cli.ports import endpoints
from vfgateway.findings import Finding

#: Characters below which a secret of ours can be guessed.
SHORT = 16

_SECRET = ("secret", "password", "token")
#: Secrets that nobody but the gateway and those who trust it know, so that their length is the site's to choose.
_OURS = ("secret", "token_secret")


# --- secrets ---


def secrets(place: Place) -> Iterator[Finding]:
    """Whether others can read what only the gateway may know, or guess it."""
    files: dict[Path, str] = {}
    for key, value in texts(place.table):
        name = key.rpartition(".")[2]
        if name.endswith("_file") and any(word in name for word in (*_SECRET, "database", "url")):
            files[place.absolute(value)] = key
    inline = [key for key, value in texts(place.table) if _is_secret(key, value)]
    if inline and place.source is not None:
        files[place.source] = inline[0]
    for file, key in files.items():
        yield from _readable(f"secret {key}", file, stat.S_IRWXO)
    if "sftp" in place.section("frontends"):
        for file in _host_keys(place):
            yield from _readable(f"host key {file.name}", file, stat.S_IRWXO | stat.S_IRWXG)
    for key, value in _ours(place):
        if len(value) < SHORT:
            detail = f"it has {len(value)} characters and can be guessed: openssl rand -base64 32"
            yield wrong(Mistake.SECRET_WEAK, f"secret {key}", detail)


def _readable(what: str, file: Path, others: int) -> Iterator[Finding]:
    with suppress(OSError):
        if file.stat().st_mode & others:
            everybody = others == stat.S_IRWXO
            detail = f"{'everybody' if everybody else 'others'} can read {file}: chmod {'o=' if everybody else '0600'} {file}"
            yield wrong(Mistake.SECRET_READABLE, what, detail)


def _host_keys(place: Place) -> list[Path]:
    configured = place.section("frontends", "sftp").get("host_keys")
    folder = place.absolute(configured) if configured else place.data_dir / "hostkeys"
    with suppress(OSError):
        return sorted(folder.glob("ssh_host_*_key"))
    return []


def _ours(place: Place) -> Iterator[tuple[str, str]]:
    for key, value in texts(place.table):
        name = key.rpartition(".")[2]
        if name in _OURS:
            yield key, value
        elif name.removesuffix("_file") in _OURS:
            with suppress(OSError, UnicodeDecodeError):
                yield from (
                    (key, line.strip()) for line in place.absolute(value).read_text().splitlines() if line.strip()
                )


def _is_secret(key: str, value: str) -> bool:
    name = key.rpartition(".")[2]
    if name in (*_OURS, "password", "bind_password"):
        return True
    with suppress(ValueError):
        return "://" in value and urlsplit(value).password is not None
    return False


# --- proxies and TLS ---


def proxies(place: Place) -> Iterator[Finding]:
    """Whether the right ones are believed."""
    trusted = place.section("gateway").get("trusted_proxies") or ()
    url, client = public_url(place, "client"), place.section("frontends", "client")
    if isinstance(url, str) and url.startswith("https:") and client and not _speaks_tls(client) and not trusted:
        detail = (
            "people come by https:, and the front end speaks no TLS, so a proxy must: name it in trusted_proxies, or the "
            "gateway takes it for every caller; or give the front end a certificate and a key"
        )
        yield wrong(Mistake.PROXY_NOT_TRUSTED, "proxies", detail)
    for entry in trusted:
        with suppress(ValueError):
            if ipaddress.ip_network(str(entry)).prefixlen == 0:
                detail = (
                    f"trusted_proxies has {entry}: anybody can pretend to come from anywhere; name the proxies alone"
                )
                yield wrong(Mistake.EVERYBODY_TRUSTED, "proxies", detail)
    for name, endpoint in endpoints(place):
        if endpoint.startswith("haproxy:") and not trusted:
            detail = f"{endpoint} believes nobody's PROXY header, and so closes every connection: name the balancer in trusted_proxies"
            yield wrong(Mistake.PROXY_PROTOCOL, f"front end {name}", detail)


def openness(place: Place) -> Iterator[Finding]:
    """Whether passwords cross the network in the clear."""
    trusted = place.section("gateway").get("trusted_proxies")
    for name in place.section("frontends"):
        table = place.section("frontends", name)
        if name != "sftp" and not trusted and not _speaks_tls(table) and any(map(_is_open, _written(table))):
            detail = (
                "it can be reached from outside without TLS: give certificate and key, or let it listen on 127.0.0.1"
            )
            yield wrong(Mistake.NO_TLS, f"TLS of {name}", detail)


def _written(table: Mapping[str, Any]) -> list[str]:
    found = table.get("endpoint", [])
    return [found] if isinstance(found, str) else [each for each in found if isinstance(each, str)]


def _speaks_tls(table: Mapping[str, Any]) -> bool:
    return "certificate" in table or any(
        each.startswith(("ssl:", "haproxy:ssl:", "txsni:")) for each in _written(table)
    )


def _is_open(endpoint: str) -> bool:
    if not endpoint.removeprefix("haproxy:").startswith(("tcp:", "tcp6:")):
        return False
    _, found, interface = endpoint.partition("interface=")
    return not found or not interface.replace("\\:", ":").startswith(("127.", "::1", "localhost"))

"""Whether clients would take the certificates that the front ends show, and the front ends those of their callers. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vfgateway.cli.mistakes import Mistake, wrong
from vfgateway.cli.place import Place
from vfgateway.cli.ports import endpoints
from vfgateway.findings import Finding

if TYPE_CHECKING:  # takes longer than most commands
    from cryptography.x509 import Certificate

#: Time before its end at which a certificate should have been renewed.
RENEW = timedelta(days=14)

_PRIVATE_KEY = re.compile(r":privateKey=((?:\\:|[^:])+)")
_CERT_KEY = re.compile(r":certKey=((?:\\:|[^:])+)")


def look(place: Place) -> Iterator[Finding]:
    """Each certificate of each front end: for its time, the name under which people come, and its key."""
    for name in place.section("frontends"):
        what, host = f"certificate of {name}", _public_host(place, name)
        for file, key in _pairs(place, name):
            found = _read(what, file)
            if isinstance(found, Finding):
                yield found
            else:
                yield _time(what, file, found) or _names(what, file, found, host) or _key(what, file, found, key)
        authorities = place.section("frontends", name).get("client_ca")
        if isinstance(authorities, str):
            found = _read(f"client_ca of {name}", place.absolute(authorities))
            yield found if isinstance(found, Finding) else _authority(name, place.absolute(authorities), found)


def public_url(place: Place, front_end: str) -> object:
    """Where people reach a front end, as far as that is written down."""
    url = place.section("frontends", front_end).get("public_url")
    return place.section("frontends", "manager").get("client_url") or url if front_end == "client" else url


def _public_host(place: Place, front_end: str) -> str | None:
    url = public_url(place, front_end)
    return urlsplit(url).hostname if isinstance(url, str) else None


def _pairs(place: Place, name: str) -> Iterator[tuple[Path, Path]]:
    """The files of certificates and their keys: of the table, and of endpoints that speak TLS by themselves."""
    table = place.section("frontends", name)
    if isinstance(file := table.get("certificate"), str):
        yield place.absolute(file), place.absolute(table.get("key", file))
    for owner, endpoint in endpoints(place):
        key, certificate = _PRIVATE_KEY.search(endpoint), _CERT_KEY.search(endpoint)
        if owner == name and ":ssl:" in f":{endpoint}" and (key or certificate):
            paths = [
                place.absolute(match[1].replace("\\:", ":"))
                for match in (certificate or key, key or certificate)
                if match
            ]
            yield paths[0], paths[1]


def _read(what: str, file: Path) -> Certificate | Finding:
    from cryptography import x509  # here, since it takes longer than most commands

    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError:
        reason = "no certificate in PEM"
    return wrong(Mistake.CERTIFICATE_UNREADABLE, what, f"cannot read {file}: {reason}; put it there")


def _time(what: str, file: Path, found: Certificate) -> Finding | None:
    now, begin, end = datetime.now(UTC), found.not_valid_before_utc, found.not_valid_after_utc
    if begin > now:
        detail = f"{file} is good only from {begin:%Y-%m-%d}: is the clock right?"
    elif end < now + RENEW:
        verb = "ended" if end < now else "ends"
        detail = f"{file} {verb} on {end:%Y-%m-%d}: renew it; the gateway reads it by itself"
    else:
        return None
    return wrong(Mistake.CERTIFICATE_TIME, what, detail)


def _names(what: str, file: Path, found: Certificate, host: str | None) -> Finding | None:
    good = _hosts(found)
    if not good:
        detail = f"{file} names no host (no subjectAltName), which no client takes: have it issued anew"
        return wrong(Mistake.CERTIFICATE_NAME, what, detail)
    if host is not None and not any(_fits(pattern, host) for pattern in good):
        detail = f"{file} is for {', '.join(good)}, but people come to {host}: have it issued for that name, or correct the URL"
        return wrong(Mistake.CERTIFICATE_NAME, what, detail)
    return None


def _hosts(found: Certificate) -> list[str]:
    from cryptography import x509

    try:
        subjects = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*subjects.get_values_for_type(x509.DNSName), *map(str, subjects.get_values_for_type(x509.IPAddress))]


def _key(what: str, file: Path, found: Certificate, key: Path) -> Finding:
    """The last look: without a fault, all is well."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    fault = f"cannot read {key}: no private key in PEM"
    try:
        if load_pem_private_key(key.read_bytes(), None).public_key() == found.public_key():
            return Finding(what, True, f"for {', '.join(_hosts(found))}, until {found.not_valid_after_utc:%Y-%m-%d}")
        fault = f"{key} is not the key of {file}: put the two in place that were issued together"
    except OSError as error:
        fault = f"cannot read {key}: {error.strerror}; the gateway's account has to"
    except TypeError:
        fault = f"{key} has a passphrase, for which the gateway cannot ask: openssl pkey -in {key} -out PLAIN"
    except ValueError:
        pass
    return wrong(Mistake.CERTIFICATE_KEY, what, fault)


def _authority(name: str, file: Path, found: Certificate) -> Finding:
    what = f"client_ca of {name}"
    return _time(what, file, found) or Finding(what, True, f"until {found.not_valid_after_utc:%Y-%m-%d}")


def _fits(pattern: str, host: str) -> bool:
    """RFC 6125, section 6.4.3: a star stands for one label, the leftmost."""
    if pattern.startswith("*."):
        return host.partition(".")[2].lower() == pattern[2:].lower()
    return host.lower() == pattern.lower()

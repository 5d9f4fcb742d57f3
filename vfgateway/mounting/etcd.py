"""Volumes from etcd, by its JSON gateway (etcd.io, "gRPC gateway", ``/v3/``).

A volume is a handful of keys: ``PREFIX/volumes/NAME/mount/at`` and so on, as orchestrators keep nested settings.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from treq.client import HTTPClient
from treq.content import json_content
from twisted.internet.defer import TimeoutError
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.logger import Logger
from twisted.web.client import ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers

from vfgateway import secretfile
from vfgateway.errors import ConfigurationError
from vfgateway.mounting.errors import SourceUnavailable
from vfgateway.mounting.settings import EtcdSettings, MountedVolume, mistakes

#: Seconds for an answer of one member.
TIMEOUT: Final = 5.0
_AWAY = (ConnectError, ConnectionClosed, DNSLookupError, ResponseFailed, ResponseNeverReceived, TimeoutError, OSError)

_log = Logger()


class Etcd:
    """Asks one member after the other until one answers."""

    def __init__(self, settings: EtcdSettings, client: HTTPClient) -> None:
        self._settings = settings
        self._client = client

    async def volumes(self) -> Sequence[MountedVolume]:
        """All that are described whole; others are logged and left out. ``SourceUnavailable``."""
        reason = "no endpoint is configured"
        for endpoint in self._settings.endpoints:
            try:
                return await self._ask(endpoint.rstrip("/"))
            except _AWAY as error:
                reason = f"{endpoint} does not answer ({type(error).__name__})"
        raise SourceUnavailable(f"etcd: {reason}")

    async def _ask(self, endpoint: str) -> Sequence[MountedVolume]:
        headers: dict[str, Sequence[str]] = {}
        if self._settings.username:
            headers["Authorization"] = [await self._login(endpoint)]
        prefix = f"{self._settings.prefix.rstrip('/')}/volumes/".encode()
        after = prefix[:-1] + bytes([prefix[-1] + 1])
        asked = {"key": b64encode(prefix).decode(), "range_end": b64encode(after).decode()}
        answer = await self._post(f"{endpoint}/v3/kv/range", asked, headers)
        pairs = {
            b64decode(each["key"])[len(prefix) :].decode("utf-8", "replace"): b64decode(each.get("value", "")).decode(
                "utf-8", "replace"
            )
            for each in answer.get("kvs", ())
        }
        return volumes_of(pairs)

    async def _login(self, endpoint: str) -> str:
        file = self._settings.password_file
        try:
            password = secretfile.load(file) if file is not None else ""
        except ConfigurationError as error:
            raise SourceUnavailable(f"etcd: {error}") from None
        answer = await self._post(
            f"{endpoint}/v3/auth/authenticate", {"name": self._settings.username, "password": password}, {}
        )
        return str(answer.get("token", ""))

    async def _post(self, url: str, body: Mapping[str, str], headers: Mapping[str, Sequence[str]]) -> Mapping[str, Any]:
        response = await self._client.post(
            url, data=json.dumps(body).encode(), headers=Headers(headers), timeout=TIMEOUT
        )
        try:
            content = await json_content(response)
        except ValueError:
            content = None
        if response.code != 200 or not isinstance(content, dict):
            raise SourceUnavailable(f"etcd: {url.partition('/v3/')[0]} answers {response.code}")
        return content


def volumes_of(pairs: Mapping[str, str]) -> Sequence[MountedVolume]:
    """The volumes that keys such as ``NAME/mount/at`` describe."""
    found: dict[str, dict[str, str]] = {}
    for key, value in pairs.items():
        name, _, rest = key.partition("/")
        section, _, field = rest.partition("/")
        if section == "mount" and field in ("at", "fstype", "path", "options"):
            found.setdefault(name, {})[field] = value
    volumes = []
    for name, mount in sorted(found.items()):
        try:
            volumes.append(MountedVolume.model_validate({"name": name, "mount": mount}))
        except ValidationError as error:
            _log.error("volume {name!r} in etcd is left out: {reason}", name=name, reason=mistakes(error))
    return volumes

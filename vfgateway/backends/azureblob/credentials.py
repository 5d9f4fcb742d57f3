"""How the gateway is let in: Azure's own library signs, and every request carries what it signed.

An account key is never sent, nor used for single requests: it signs access for an hour, for everything that a volume does, which is renewed
before it ends. So the three ways to be let in differ in nothing but where the query string or the header comes from.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

import attrs
from azure.storage.blob import (
    AccountSasPermissions,
    BlobSasPermissions,
    ContainerSasPermissions,
    ResourceTypes,
    Services,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)
from twisted.internet.interfaces import IReactorTime

from vfgateway.backends.azureblob.settings import AzureBlobSettings
from vfgateway.blocking import Pool
from vfgateway.errors import ConfigurationError, Unsupported, VolumeUnavailable

#: Seconds for which access that we sign for ourselves lasts, and before its end that it is signed anew.
LIFETIME, MARGIN = 3600.0, 600.0
#: Seconds by which clocks may differ: what we sign holds from so long ago.
SKEW = 300.0
#: Seconds for which the storage itself may read what it copies.
COPY_LIFETIME = 3600.0
#: What a managed identity asks a token for.
SCOPE = "https://storage.azure.com/.default"


@attrs.frozen
class Pass:
    """What lets one request in; never logged.

    :ivar query: goes to the end of the URL
    :ivar headers: go with it
    :ivar source_headers: for the source of a copy
    """

    query: str = attrs.field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    source_headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)


class Credential(Protocol):
    """Where passes come from."""

    #: Whether URLs can be signed for others.
    signs: bool

    async def current(self) -> Pass:
        """The pass for a request now."""

    async def renew(self, refused: Pass) -> bool:
        """After ``refused`` was: whether there is another one to try."""

    async def source(self, container: str, blob: str) -> Pass:
        """The pass with which the storage itself reads a blob for a copy."""

    def blob_sas(self, container: str, blob: str, expires: float, disposition: str | None = None) -> str:
        """A query string that lets anybody read one blob until ``expires``. ``Unsupported`` unless :attr:`signs`."""

    def container_sas(self, container: str, write: bool, expires: float, address: str | None) -> str:
        """The same for a whole container, to read and list, or also to write and delete."""


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class KeyCredential:
    """Signs with a key of the account."""

    signs = True

    def __init__(self, account: str, key: str, clock: IReactorTime, https: bool) -> None:
        self._account = account
        self._key = key
        self._clock = clock
        self._protocol = "https" if https else "https,http"
        self._pass: Pass | None = None
        self._until = 0.0

    async def current(self) -> Pass:
        if self._pass is None or self._clock.seconds() > self._until - MARGIN:
            self._pass = self._sign()
        return self._pass

    def _sign(self) -> Pass:
        now = self._clock.seconds()
        self._until = now + LIFETIME
        query = generate_account_sas(
            self._account,
            self._key,
            ResourceTypes(service=True, container=True, object=True),
            AccountSasPermissions(read=True, write=True, delete=True, list=True, add=True, create=True),
            _time(self._until),
            start=_time(now - SKEW),
            protocol=self._protocol,
            services=Services(blob=True),
        )
        return Pass(query)

    async def renew(self, refused: Pass) -> bool:
        """Once for each pass: a clock that was set, or a key that was changed and changed back."""
        if self._pass == refused:
            self._pass = self._sign()
        return self._pass != refused

    async def source(self, container: str, blob: str) -> Pass:
        # For this one blob and to read it alone: the storage may show to others where a copy came from.
        return Pass(self.blob_sas(container, blob, self._clock.seconds() + COPY_LIFETIME))

    def blob_sas(self, container: str, blob: str, expires: float, disposition: str | None = None) -> str:
        return generate_blob_sas(
            self._account,
            container,
            blob,
            account_key=self._key,
            permission=BlobSasPermissions(read=True),
            start=_time(self._clock.seconds() - SKEW),
            expiry=_time(expires),
            protocol=self._protocol,
            content_disposition=disposition,
        )

    def container_sas(self, container: str, write: bool, expires: float, address: str | None) -> str:
        return generate_container_sas(
            self._account,
            container,
            account_key=self._key,
            permission=ContainerSasPermissions(read=True, list=True, write=write, create=write, delete=write),
            start=_time(self._clock.seconds() - SKEW),
            expiry=_time(expires),
            ip=address,
            protocol=self._protocol,
        )


class _CannotSign:
    signs = False

    def blob_sas(self, container: str, blob: str, expires: float, disposition: str | None = None) -> str:
        raise Unsupported("signing URLs without the key of the storage account")

    def container_sas(self, container: str, write: bool, expires: float, address: str | None) -> str:
        raise Unsupported("signing access without the key of the storage account")


class SasCredential(_CannotSign):
    """Has been given access that somebody else signed.

    :param load: reads it, anew each time
    """

    def __init__(self, load: Any, pool: Pool) -> None:
        self._load = load
        self._pool = pool
        self._pass: Pass | None = None

    async def current(self) -> Pass:
        if self._pass is None:
            self._pass = await self._read()
        return self._pass

    async def _read(self) -> Pass:
        tokens = await self._pool.run(self._load)
        return Pass(tokens[0].removeprefix("?"))

    async def renew(self, refused: Pass) -> bool:
        """Whether there is another one in the file by now."""
        self._pass = await self._read()
        return self._pass != refused

    async def source(self, container: str, blob: str) -> Pass:
        return await self.current()


class IdentityCredential(_CannotSign):
    """Uses the identity that Azure gives to the machine. Not tested: it needs a machine in Azure."""

    def __init__(self, client_id: str | None, pool: Pool, clock: IReactorTime, volume: str) -> None:
        self._client_id = client_id
        self._pool = pool
        self._clock = clock
        self._volume = volume
        self._pass: Pass | None = None
        self._until = 0.0
        self._source: Any = None

    async def current(self) -> Pass:
        if self._pass is None or self._clock.seconds() > self._until - SKEW:
            self._pass = await self._pool.run(self._ask)
        return self._pass

    def _ask(self) -> Pass:
        try:
            from azure.identity import ManagedIdentityCredential
        except ImportError:
            raise VolumeUnavailable(
                self._volume, "identity needs azure-identity: pip install 'vfgateway[azure]'"
            ) from None
        if self._source is None:
            self._source = ManagedIdentityCredential(client_id=self._client_id)
        try:
            token = self._source.get_token(SCOPE)
        except Exception as error:
            reason = f"the machine's identity gives no access ({type(error).__name__})"
            raise VolumeUnavailable(self._volume, reason) from None
        self._until = float(token.expires_on)
        bearer = f"Bearer {token.token}"
        return Pass(headers=(("Authorization", bearer),), source_headers=(("x-ms-copy-source-authorization", bearer),))

    async def renew(self, refused: Pass) -> bool:
        self._pass = None
        return await self.current() != refused

    async def source(self, container: str, blob: str) -> Pass:
        return await self.current()


async def make_credential(settings: AzureBlobSettings, clock: IReactorTime, pool: Pool, volume: str) -> Credential:
    """What the settings say. Reads secrets that are kept in files. ``VolumeUnavailable`` where there are none."""
    if settings.identity is not None:
        return IdentityCredential(settings.client_id, pool, clock, volume)
    secret = settings.account_key or settings.sas_token
    try:
        values = await pool.run(secret.load)
    except ConfigurationError as error:
        raise VolumeUnavailable(volume, error.message) from None
    if settings.sas_token:
        return SasCredential(secret.load, pool)
    return KeyCredential(settings.account, values[0], clock, settings.url.startswith("https:"))

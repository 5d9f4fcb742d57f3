"""``[volumes.NAME]`` with ``backend = "azureblob"``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ByteSize, Field, model_validator

from vfgateway.section import Seconds, Secret, Section

MIB = 1 << 20
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")


def _mode(text: Any) -> int:
    if not isinstance(text, str) or not re.fullmatch("0?[0-7]{3}", text):
        raise ValueError('expected a string of three octal digits, such as "0640"')
    return int(text, 8)


def _account(text: Any) -> str:
    if not isinstance(text, str) or not _ACCOUNT.fullmatch(text):
        raise ValueError("expected the name of a storage account: 3 to 24 lower-case letters and digits")
    return str(text)


Containers = Annotated[str, Field(pattern=r"^[a-z0-9$][a-z0-9-]*\*?$|^\*$")]


class AzureBlobSettings(Section):
    """A storage account. Exactly one of ``account_key``, ``sas_token`` and ``identity`` says how to be let in.

    :ivar account: its name
    :ivar endpoint: where its blob service is, if not at ``https://ACCOUNT.blob.core.windows.net``
    :ivar account_key: one of its two access keys; requests carry signatures made from it that live for an hour
    :ivar sas_token: an account shared access signature for blobs with all permissions; from a file it is read again when it is refused
    :ivar identity: ``managed`` for the identity that Azure gives to the machine
    :ivar client_id: which one, where the machine has several
    :ivar container_prefix: begins the names of containers, so that several gateways can share an account
    :ivar block_size: bytes sent in one request when a file is written
    :ivar parallel: such requests at once for one file, and pieces read ahead
    :ivar connections: requests at once for the whole volume
    :ivar write_buffer: bytes that uploads of this process may hold together before they send smaller blocks
    :ivar read_cache: bytes that were read and may be asked for again, or have been read ahead
    :ivar patience: for how long a request is tried again when the storage is busy or does not answer
    :ivar redirect: answer large downloads by HTTP with a signed URL of the storage instead of the bytes
    :ivar redirect_from: bytes from which a download is large
    :ivar redirect_lifetime: for how long such a URL can be used
    :ivar file_mode: permission bits shown of files that have none of their own
    :ivar dir_mode: the same of directories
    :ivar adoptable: containers that can be made vfolders as they are; ``*`` at the end of a name stands for whatever follows
    """

    account: Annotated[str, BeforeValidator(_account)]
    endpoint: str | None = None
    account_key: Secret = Secret()
    sas_token: Secret = Secret()
    identity: Literal["managed"] | None = None
    client_id: str | None = None
    container_prefix: str = Field(default="vf-", pattern=r"^[a-z0-9](?:-?[a-z0-9]+)*-?$", max_length=30)
    block_size: ByteSize = Field(default=ByteSize(8 * MIB), ge=256 << 10, le=100 * MIB)
    parallel: int = Field(default=4, ge=1, le=64)
    connections: int = Field(default=32, ge=1, le=1024)
    write_buffer: ByteSize = Field(default=ByteSize(256 * MIB), ge=MIB)
    read_cache: ByteSize = Field(default=ByteSize(128 * MIB), ge=8 * MIB)
    patience: Seconds = 60.0
    redirect: bool = False
    redirect_from: ByteSize = ByteSize(16 * MIB)
    redirect_lifetime: Seconds = 300.0
    file_mode: Annotated[int, BeforeValidator(_mode)] = 0o640
    dir_mode: Annotated[int, BeforeValidator(_mode)] = 0o750
    adoptable: tuple[Containers, ...] = ()

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        given = [bool(self.account_key), bool(self.sas_token), self.identity is not None]
        if sum(given) != 1:
            raise ValueError("give exactly one of account_key, sas_token and identity")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or "@" in parts.netloc:
            raise ValueError('endpoint should be a URL such as "https://ACCOUNT.blob.core.windows.net"')
        if self.redirect and not self.account_key:
            raise ValueError("redirect needs account_key: nothing else can sign URLs")
        return self

    @property
    def url(self) -> str:
        """Where the account's containers are, without a slash at the end."""
        return (self.endpoint or f"https://{self.account}.blob.core.windows.net").rstrip("/")

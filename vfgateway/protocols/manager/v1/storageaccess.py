"""Access to a vfolder at the storage itself, by the storage's own tokens."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, Field

from vfgateway.protocols.web.fields import Answer, Closed, Flag, Time
from vfgateway.protocols.web.routing import Call, Reply, Routes
from vfgateway.services.gateway import Gateway
from vfgateway.services.storageaccess import share_access


def _addresses(text: str) -> str:
    for each in text.split("-"):
        ip_address(each)
    return text


#: One address, or the first and the last of a range.
Addresses = Annotated[str, Field(max_length=100, pattern=r"^[0-9.]+(-[0-9.]+)?$"), AfterValidator(_addresses)]


class StorageToken(Closed):
    """Which vfolder, and for whom. ``write``: also to write and delete, past limits and locks; refused where a limit applies.
    ``expires``: in an hour unless it says otherwise, in seven days at most. ``address``: an IPv4 address or range (``192.0.2.1-192.0.2.9``) that it is good for alone.
    """

    vfolder: Annotated[str, Field(min_length=1, max_length=1024)]
    write: Flag = False
    expires: Time | None = None
    address: Addresses | None = None


class StorageAccess(Answer):
    """Where the vfolder is at the storage, and the token (a query string) that opens it until ``expires`` (epoch seconds)."""

    url: str
    token: str
    write: bool
    expires: float


class StorageAccessRoutes(Routes):
    """See the module."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="tokens, our way")
        self.add("POST", "/tokens/storage", self.token_storage, StorageToken, {201: StorageAccess}, 404, 409)

    async def token_storage(self, call: Call, params: StorageToken) -> Reply:
        """Mint a token of the storage itself (a shared access signature of Azure) for a vfolder, to read and list unless ``write`` is said.

        Whoever has it needs no gateway, and is seen by none: permissions, limits and locks do not hold for it, and it cannot be taken back.
        """
        vfolder = await self.gateway.vfolders.resolve(params.vfolder)
        made = await share_access(self.gateway, vfolder, params.write, params.expires, params.address)
        return Reply(201, StorageAccess(url=made.url, token=made.token, write=params.write, expires=made.expires))

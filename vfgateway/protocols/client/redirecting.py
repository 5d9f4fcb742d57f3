"""Large downloads that the storage answers itself."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from vfgateway.directaccess import IDirectRead
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.services.reading import Download


async def redirected(request: StreamingRequest, download: Download, name: str) -> bool:
    """Send whoever asks on to the storage, if the volume wants that, and close the file; whether it was so.

    Conditions and ranges are judged there: the client says them again, and the ETag is the same.
    """
    if request.method != b"GET" or not IDirectRead.providedBy(download.file):
        return False
    url = IDirectRead(download.file).direct_url(name)
    if url is None:
        return False
    await download.close()
    request.setResponseCode(307)
    request.setHeader(b"location", url.encode("ascii"))
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"content-length", b"0")
    request.write(b"")
    return True

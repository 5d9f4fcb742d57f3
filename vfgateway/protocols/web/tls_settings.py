"""The keys of TLS, which every front end over HTTP has in its table."""

from __future__ import annotations

from typing import Any, Self

from pydantic import model_validator

from vfgateway.protocols.web.tls import ReloadingCertificate
from vfgateway.section import ConfigPath, Section


class TlsSettings(Section):
    """The part of a front end's table.

    :ivar certificate: a PEM file with the chain; with it TLS is spoken on every endpoint, and the file is read anew when it changes
    :ivar key: the PEM file of its key; by default it is in the same file
    """

    certificate: ConfigPath | None = None
    key: ConfigPath | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if self.key is not None and self.certificate is None:
            raise ValueError("key is of no use without certificate")
        return self

    def tls(self, clock: Any) -> ReloadingCertificate | None:
        """What makes the server's side of connections; ``None`` where TLS is somebody else's affair."""
        return None if self.certificate is None else ReloadingCertificate(self.certificate, self.key, clock)

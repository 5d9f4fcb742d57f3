"""A gateway in a process of its own that speaks WebDAV, for clients that are programs of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.process import Site, free_port


class DavSite(Site):
    """A site with ``[frontends.webdav]``.

    :ivar dav_url: where it listens
    """

    def __init__(
        self,
        folder: Path,
        volumes: Mapping[str, Mapping[str, object]] | None = None,
        options: Mapping[str, str] | None = None,
        **others: Any,
    ) -> None:
        self.dav_port = free_port()
        self.dav_options = options or {}
        self.dav_url = f"http{'s' if 'certificate' in self.dav_options else ''}://127.0.0.1:{self.dav_port}"
        super().__init__(folder, volumes, **others)

    def _configuration(self, volumes: Mapping[str, Mapping[str, object]]) -> str:
        lines = ["[frontends.webdav]", f'endpoint = "tcp:{self.dav_port}:interface=127.0.0.1"']
        lines += [f'{key} = "{value}"' for key, value in self.dav_options.items()]
        return super()._configuration(volumes) + "\n".join([*lines, ""])

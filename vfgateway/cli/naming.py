"""What people call the things that a list knows by their identifiers only."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from vfgateway.cli.client import Client, path
from vfgateway.cli.parameters import full_name


class Names:
    """Asks the gateway once, when the first name is wanted."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def vfolder(self, row: Mapping[str, Any]) -> str:
        """Of the vfolder that ``row`` tells by volume and digits."""
        digits: str = row["vfolder"]
        return self._vfolders.get((row["volume"], digits), digits)

    def owner(self, row: Mapping[str, Any]) -> str | None:
        """Of the user that ``row`` tells by UUID; others are told as they are."""
        identity: str | None = row["owner_id"]
        return self._users.get(identity, identity) if identity is not None else None

    @cached_property
    def _vfolders(self) -> dict[tuple[str, str], str]:
        found = self._client.get(path("vfolders"))["vfolders"]
        return {(one["volume"], one["folder"]): full_name(one) for one in found}

    @cached_property
    def _users(self) -> dict[str, str]:
        return {one["id"]: one["name"] for one in self._client.get(path("users"))["users"]}

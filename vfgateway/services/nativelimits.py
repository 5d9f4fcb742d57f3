"""Limits of quota scopes where the storage enforces them as well: ours are set there, and the two views are held against each other.

The storage's limit is what stops jobs that write through their mounts; the ledger's is what stops everybody else, to the byte. Where they differ, ours is
what was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

from vfgateway.errors import GatewayError, QuotaScopeNotFound
from vfgateway.interfaces import INativeQuota, IVolume
from vfgateway.model import Limits, QuotaScopeId, Usage
from vfgateway.services.quota import Quota
from vfgateway.services.vfolders import VFolders


async def set_there(volume: IVolume, scope: QuotaScopeId, limits: Limits) -> None:
    """Set the limits where the storage can. Raises what it has against them."""
    if INativeQuota.providedBy(volume):
        await volume.set_limits(scope, limits)


async def differences(
    name: str, volume: IVolume, vfolders: VFolders, quota: Quota, fix: bool
) -> Sequence[tuple[str, bool]]:
    """In what the storage and we disagree about the scopes of a volume, a sentence each, and whether it was put right.

    :param fix: set our limits there; usage is put right by counting vfolders
    """
    told: list[tuple[str, bool]] = []
    if not INativeQuota.providedBy(volume):
        return told
    for scope, limits in await vfolders.scopes(name):
        try:
            used, there = await volume.native_usage(scope)
            if there != limits:
                if fix:
                    await volume.set_limits(scope, limits)
                told.append((f"the storage limits {scope} to {_words(there)}, we to {_words(limits)}", fix))
        except QuotaScopeNotFound:
            continue  # it has nothing on this volume yet
        except GatewayError as error:
            told.append((f"the storage does not tell the limits of {scope}: {error}", False))
            continue
        charged = await quota.scope_usage(name, scope)
        if used != charged:
            told.append((f"the storage counts {_used(used)} in {scope}, we {_used(charged)}", False))
    return told


def _words(limits: Limits) -> str:
    size = "no bytes" if limits.bytes == 0 else "any size" if limits.bytes is None else f"{limits.bytes} bytes"
    return size if limits.files is None else f"{size} and {limits.files} files"


def _used(usage: Usage) -> str:
    return f"{usage.bytes} bytes in {usage.files} entries"

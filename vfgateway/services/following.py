"""Vfolders that go to other storage while something is being done in them (:mod:`vfgateway.services.relocation`).

Who entered a vfolder before it moved holds the old place. Every change is announced by the vfolder's row, and refused with ``VFolderMoved``
where that names another volume than the one that is held, before anything has happened. So whoever can begin again does so in the new place.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import attrs

from vfgateway.abilities import IJobLinks
from vfgateway.errors import VFolderMoved
from vfgateway.interfaces import IFolder, IVolume
from vfgateway.model import Actor, VFolder

if TYPE_CHECKING:
    from vfgateway.services.context import FolderContext
    from vfgateway.services.gateway import Gateway

P = ParamSpec("P")
T = TypeVar("T")


class _Holds(Protocol):
    context: FolderContext


S = TypeVar("S", bound=_Holds)


async def entered(gateway: Gateway, vfolder: VFolder, actor: Actor) -> tuple[IVolume, IFolder]:
    """Where a vfolder lies, and its content."""
    volume = gateway.volumes.of(vfolder)
    folder = await volume.folder(vfolder.id, actor)
    if vfolder.name is not None and IJobLinks.providedBy(folder):
        folder.seen_by_jobs_at([f"{place}/{vfolder.name}" for place in gateway.settings.gateway.job_folders])
    return volume, folder


async def follow(context: FolderContext) -> FolderContext:
    """The same hands where the vfolder lies now. ``VFolderNotFound`` if it has been deleted."""
    gateway = context.gateway
    gateway.database.forget_generations()
    vfolder = await gateway.vfolders.by_key(context.vfolder.key)
    volume, folder = await entered(gateway, vfolder, context.principal.actor)
    return attrs.evolve(context, vfolder=vfolder, volume=volume, folder=folder)


async def present(context: FolderContext) -> FolderContext:
    """The same, if the vfolder is still there, else as :func:`follow`."""
    vfolder = await context.gateway.vfolders.by_key(context.vfolder.key)
    return context if vfolder.volume == context.vfolder.volume else await follow(context)


def following(
    verb: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """A verb that is refused as a whole where the vfolder has moved: it is done again in the new place."""

    @wraps(verb)
    async def call(hands: S, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await verb(hands, *args, **kwargs)
        except VFolderMoved:
            hands.context = await follow(hands.context)
            return await verb(hands, *args, **kwargs)

    return cast("Callable[Concatenate[S, P], Coroutine[Any, Any, T]]", call)

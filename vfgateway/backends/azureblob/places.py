"""Where things are in a container that has no directories: a marker says that one is there, or what lies below it does."""

from __future__ import annotations

from vfgateway.backends.azureblob.container import Container
from vfgateway.backends.azureblob.facts import Blob
from vfgateway.backends.azureblob.faults import Refused
from vfgateway.backends.azureblob.names import blob_name, check_names
from vfgateway.backends.azureblob.together import together
from vfgateway.errors import (
    InvalidPath,
    NotADirectory,
    NotFound,
    PathError,
)
from vfgateway.paths import FolderPath


async def look(container: Container, path: FolderPath) -> Blob | None:
    """What is at ``path``; ``None`` if nothing is."""
    if path.is_root:
        found = await container.properties()
        return Blob("", found.etag, 0, found.modified, found.metadata, implied=True)
    try:
        name = blob_name(path)
    except InvalidPath:
        return None
    try:
        blob = await container.head(name)
    except Refused as refused:
        if refused.status == 400:  # a name that cannot be one
            return None
        raise
    if blob is not None:
        return blob
    return Blob(name, implied=True) if await container.any_below(name) else None


async def require_parent(container: Container, path: FolderPath, through: type[PathError] = NotADirectory) -> None:
    """See that the directory that is to hold ``path`` is there. ``NotFound``; ``through`` where a file is in the way."""
    check_names(path)
    parent = path.parent
    if parent.is_root:
        return
    found = await look(container, parent)
    if found is not None:
        if not found.is_dir:
            raise through(path)
        return
    while not parent.parent.is_root:
        parent = parent.parent
        found = await look(container, parent)
        if found is not None:
            if not found.is_dir:
                raise through(path)
            break
    raise NotFound(path)


async def look_with_parent(container: Container, path: FolderPath) -> Blob | None:
    """What is at ``path``, for a write that is to go there. Raises as :func:`require_parent`."""
    check_names(path)
    blob_name(path)
    found: Blob | None
    _, found = await together(require_parent(container, path), look(container, path))
    return found

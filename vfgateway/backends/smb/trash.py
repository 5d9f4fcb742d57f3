"""What is being removed, and what a crash left of it."""

from __future__ import annotations

from typing import Final

from vfgateway.backends.smb import wire
from vfgateway.backends.smb.faults import ACCESS_DENIED, CANNOT_DELETE, DIRECTORY_NOT_EMPTY, IN_USE, Refused
from vfgateway.backends.smb.publish import NOTE
from vfgateway.backends.smb.share import Share
from vfgateway.backends.smb.wire import Entry

#: Seconds after which a note belongs to nobody any more.
ABANDONED: Final = 3600.0
#: What stays where it is until the next time: somebody has it open, or forbids it.
_LATER: Final = IN_USE | {ACCESS_DENIED, CANNOT_DELETE, DIRECTORY_NOT_EMPTY}


async def remove_tree(share: Share, path: str) -> bool:
    """Remove a directory with all below it; whether nothing is left. What somebody has open goes when he closes it."""
    left = False
    for entry in await _entries(share, path):
        left |= not await remove_entry(share, f"{path}\\{entry.name}", entry)
    return await _try(share, path, is_dir=True) and not left


async def remove_entry(share: Share, path: str, entry: Entry) -> bool:
    """Remove a file, or a directory with all below it. A link goes, and not what it leads to."""
    if entry.is_dir and not entry.is_link:
        return await remove_tree(share, path)
    return await _try(share, path, entry.is_dir)


async def _entries(share: Share, path: str) -> list[Entry]:
    try:
        return await share.entries(path)
    except Refused as error:
        if error.missing:
            return []
        raise


async def _try(share: Share, path: str, is_dir: bool) -> bool:
    try:
        await (share.remove_dir(path) if is_dir else share.remove_file(path))
    except Refused as error:
        if error.missing:
            return True
        if error.status in _LATER:
            return False
        raise
    return True


async def empty(share: Share, trash: str, now: float) -> None:
    """Remove what lies in a trash, after putting back what a publisher had moved aside when it died.

    :param now: epoch seconds
    """
    there = await _entries(share, trash)
    names = {entry.name for entry in there}
    for entry in there:
        path = f"{trash}\\{entry.name}"
        if entry.name.endswith(NOTE):
            if entry.modified < (now - ABANDONED) * 1e9:  # else its file may be about to come
                await remove_entry(share, path, entry)
        elif f"{entry.name}{NOTE}" not in names or not await _put_back(share, path):
            await remove_entry(share, path, entry)


async def _put_back(share: Share, aside: str) -> bool:
    """Give a file its name again; false if that is taken, by what replaced it."""
    note = aside + NOTE
    try:
        path = (await share.read_small(note)).decode("utf-8")
        await share.rename(aside, path, replace=False, kind=wire.NON_DIRECTORY_FILE)
    except Refused as error:
        if error.status in IN_USE:
            return True  # somebody is at work with it
        await _try(share, note, is_dir=False)
        return False
    await _try(share, note, is_dir=False)
    return True

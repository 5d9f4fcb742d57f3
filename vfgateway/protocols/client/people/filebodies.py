"""What the people's API is sent and answers about files. Times are epoch seconds, sizes bytes; ``null`` limits nothing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from vfgateway.paths import FolderPath, parse_text
from vfgateway.protocols.web.fields import Answer, Closed, Flag, Name, RelPath

#: From 1 to 10,000, in a query.
type_limit = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,3}$|^10000$")]
#: What a file that is fetched is called.
type_filename = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f/\\]+$")]


def _path_below(value: object) -> FolderPath:
    if not isinstance(value, str) or value.startswith("/"):
        raise ValueError("must be a relative path")
    path = parse_text(value)
    if path.is_root:
        raise ValueError("must name something in the vfolder")
    return path


#: A path inside a vfolder that is not its top.
PathBelow = Annotated[
    FolderPath, PlainValidator(_path_below), WithJsonSchema({"type": "string", "minLength": 1, "pattern": "^(?!/)"})
]


class Entry(Answer):
    """A file, directory or link. ``name_b64`` is there where the name is not UTF-8, ``path`` where a listing goes down."""

    sparse = True

    name: str
    name_b64: str | None = None
    path: str | None = None
    type: Literal["FILE", "DIRECTORY", "SYMLINK", "OTHER"]
    size: int
    modified: float
    mode: str
    etag: str | None = None
    target: str | None = None


class Entries(Answer):
    """A page of a listing; ``next`` is where the rest is, ``null`` at the end."""

    path: str
    entries: list[Entry]
    next: str | None


class Listed(Closed):
    """What to list, and how."""

    path: RelPath = Field(default=".", validate_default=True)
    recursive: Literal["true", "false"] = "false"
    sort: Literal["name", "size", "modified"] = "name"
    order: Literal["asc", "desc"] = "asc"
    match: Annotated[str, Field(max_length=255)] | None = None
    type: Literal["FILE", "DIRECTORY", "SYMLINK", "OTHER"] | None = None
    limit: type_limit | None = None
    after: Annotated[str, Field(max_length=8192)] | None = None


class Where(Closed):
    """Which entry."""

    path: RelPath = Field(default=".", validate_default=True)


class Below(Closed):
    """Which entry below the top."""

    path: PathBelow


class Removal(Closed):
    """What to delete; a directory with all below it only if that is said. ``permanently``: not into the trash."""

    path: PathBelow
    recursive: Literal["true", "false"] = "false"
    permanently: Literal["true", "false"] = "false"


class Removed(Answer):
    """What was deleted, and until when it can be restored; ``null`` for what cannot."""

    trash: str | None
    purge_at: float | None


class Archive(Closed):
    """What to put into a zip file, and what to call that."""

    path: Annotated[list[RelPath], Field(min_length=1, max_length=1000)]
    filename: type_filename | None = None


class Directory(Closed):
    """A directory to be made; ``parents`` with those above it."""

    path: PathBelow
    parents: Flag = False


class Journey(Closed):
    """From where to where; ``to`` is another vfolder of mine. ``replace``: a file that is there gives way."""

    source: PathBelow
    target: PathBelow
    to: Name | None = None
    replace: Flag = False


class FileTrashItem(Answer):
    """A deleted file or directory, and where it was."""

    id: str
    path: str
    directory: bool
    size: int
    deleted_by: str
    deleted: float
    purge_at: float


class FileTrashList(Answer):
    """Deleted files of a vfolder that I may restore, what was deleted last first."""

    items: list[FileTrashItem]


class Putting(Closed):
    """Where to put something back: where it was by default."""

    path: PathBelow | None = None


class Quota(Answer):
    """What a vfolder holds, what its trash holds of that, and what the tightest limit leaves."""

    used_bytes: int
    used_files: int
    trash_bytes: int
    trash_files: int
    limit_bytes: int | None
    limit_files: int | None
    free_bytes: int | None
    free_files: int | None

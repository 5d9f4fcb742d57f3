"""The file that a backup is: a compressed tar archive, whose first member says what the others are.

``manifest.json`` holds ``format`` (1), ``version`` and ``schema`` of the gateway that was saved, ``created`` (ISO 8601), and in ``files`` the SHA-256
of every other member: ``vfgateway.db``, and the files of ``data_dir`` (secrets, host keys) under ``data_dir/``.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from vfgateway.errors import AlreadyExists, Conflict, InvalidArgument

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
DATABASE: Final = "vfgateway.db"
#: Before the names of files of ``data_dir``.
DATA_DIR: Final = "data_dir/"

_OURS = re.compile(r"vfgateway\.db|data_dir/[^/\0]+(/[^/\0]+)?")
_CHUNK = 1 << 20


@attrs.frozen
class Manifest:
    """What a backup holds.

    :ivar version: of the gateway
    :ivar schema: of the database
    :ivar created: ISO 8601
    :ivar files: SHA-256 in hexadecimal digits, by name
    """

    version: str
    schema: str
    created: str
    files: Mapping[str, str]

    def dumped(self) -> bytes:
        return json.dumps({"format": FORMAT, **attrs.asdict(self)}, indent=2).encode() + b"\n"

    @classmethod
    def parsed(cls, data: bytes) -> Manifest:
        """``InvalidArgument`` if this is no manifest, ``Conflict`` if it is one of a newer form."""
        try:
            read: dict[str, Any] = json.loads(data)
            form = read.pop("format")
            if form != FORMAT:
                raise Conflict(
                    f"the backup is of form {form}, and this version reads form {FORMAT}: use a newer vfgateway"
                )
            found = cls(**read)
            if not all(_OURS.fullmatch(name) and ".." not in name.split("/") for name in found.files):
                raise ValueError("a name that leads elsewhere")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InvalidArgument("backup", "is not a backup of vfgateway") from None
        return found


def digest(path: Path) -> str:
    """SHA-256 in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(target: Path, manifest: Manifest, sources: Mapping[str, Path]) -> None:
    """Make the archive, readable by its owner alone, whole or not at all. ``AlreadyExists``."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as archive:
                _add(archive, MANIFEST, len(manifest.dumped()), io.BytesIO(manifest.dumped()))
                for member, path in sources.items():
                    with path.open("rb") as content:
                        _add(archive, member, os.fstat(content.fileno()).st_size, content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, target)
        except FileExistsError:
            raise AlreadyExists(target, f"{target} is there already: name another file") from None
    finally:
        aside.unlink()


def _add(archive: tarfile.TarFile, name: str, size: int, content: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    archive.addfile(member, content)


@contextmanager
def reading(source: Path) -> Iterator[tuple[Manifest, tarfile.TarFile]]:
    """Open a backup at its first member. ``InvalidArgument`` if it is none, or ends too early."""
    try:
        with tarfile.open(source, "r|gz") as archive:
            first = archive.next()
            content = archive.extractfile(first) if first is not None and first.name == MANIFEST else None
            yield Manifest.parsed(content.read(1 << 24) if content is not None else b""), archive
    except (tarfile.TarError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InvalidArgument("backup", f"{source} is not a backup of vfgateway, or it is damaged ({error})") from None


def unpack(manifest: Manifest, archive: tarfile.TarFile, folder: Path) -> Mapping[str, Path]:
    """Write what the manifest names below ``folder``, each with mode 0600; where each is. ``InvalidArgument`` if anything is missing or
    has changed."""
    found: dict[str, Path] = {}
    while member := archive.next():
        content = archive.extractfile(member) if member.name in manifest.files and member.isreg() else None
        if content is None:
            raise InvalidArgument("backup", f"holds {member.name!r}, which its manifest does not name")
        place = found[member.name] = folder / member.name
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        sha256 = hashlib.sha256()
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            while chunk := content.read(_CHUNK):
                sha256.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if sha256.hexdigest() != manifest.files[member.name]:
            raise InvalidArgument("backup", f"{member.name} is damaged")
    if missing := sorted(manifest.files.keys() - found.keys()):
        raise InvalidArgument("backup", f"lacks {missing[0]}")
    return found

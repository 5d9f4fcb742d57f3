"""Whether an archive holds what it should."""

from __future__ import annotations

import shutil
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

from benchmarks.wire import WrongAnswer


def check_zip(url: str, directory: Path, spare: Path) -> None:
    """Fetch a zip into ``spare`` and compare each member with the file of that name in ``directory``."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url) as answer, spare.open("wb") as file:
        shutil.copyfileobj(answer, file, 1 << 20)
    try:
        with zipfile.ZipFile(spare) as archive:
            members = {PurePosixPath(info.filename).name: info for info in archive.infolist() if not info.is_dir()}
            if set(members) != {path.name for path in directory.iterdir()}:
                raise WrongAnswer(f"{url}: {len(members)} members instead of the files in {directory}")
            for name, info in members.items():
                if archive.read(info) != (directory / name).read_bytes():
                    raise WrongAnswer(f"{url}: {info.filename} is not the file")
    finally:
        spare.unlink()

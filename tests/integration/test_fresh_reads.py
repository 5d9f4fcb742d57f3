"""Who asks after a change is told of it, however many ask at once and however often they have asked before."""

from __future__ import annotations

import base64
import http.client
import random
import threading
from pathlib import Path

import pytest

from tests.support.process import ALICE, PATIENCE, GatewayProcess, Site, VFolderOfAlice

#: Clients that ask together, changes, and seconds of quiet after every one: so that the same is answered over again.
CLIENTS, CHANGES, QUIET = 24, 250, 0.005
LOGIN = {"Authorization": "Basic " + base64.b64encode(":".join(ALICE).encode()).decode()}


class Writer(threading.Thread):
    """Changes ``dir/file``, by the gateway and as a job does.

    :ivar begun: what it holds after each change that has begun, ``None`` where there is none; and ``done`` of those are certainly over
    """

    def __init__(self, folder: VFolderOfAlice) -> None:
        super().__init__()
        self._folder = folder
        self.begun: list[bytes | None] = [None]
        self.done = 0
        self.errors: list[BaseException] = []

    def run(self) -> None:
        try:
            chance, over = random.Random(1), threading.Event()
            for number in range(CHANGES):
                self._change(number, chance.randrange(4))
                self.done = len(self.begun) - 1
                over.wait(QUIET)
        except BaseException as error:
            self.errors.append(error)

    def _change(self, number: int, kind: int) -> None:
        root, content = self._folder.root, b"%08d" % number
        moved, place = root / "moved", root / "dir"
        if moved.exists():  # a job brings the directory back
            self.begun.append((moved / "file").read_bytes())
            moved.rename(place)
        elif kind == 0 and number:  # a job takes it away
            self.begun.append(None)
            place.rename(moved)
        elif kind == 1:  # a job replaces the file
            aside = root / "aside"
            aside.write_bytes(content)
            self.begun.append(content)
            aside.rename(place / "file")
        else:
            self.begun.append(content)
            answer = self._folder.put("dir/file", content)
            assert answer.status_code in (200, 201, 204), answer.text


@pytest.mark.parametrize("workers", [1, 2])
def test_whoever_asks_after_a_change_sees_it(tmp_path: Path, workers: int) -> None:
    """Each answer is what the file had at some moment between question and answer."""
    site = Site(tmp_path / "site", workers=workers)
    with GatewayProcess(site) as gateway:
        gateway.all_there()
        folder = site.populate()
        (folder.root / "dir").mkdir()
        target = folder.url("dir/file").removeprefix(site.client_url)
        lines = [http.client.HTTPConnection("127.0.0.1", site.client_port, timeout=PATIENCE) for _ in range(CLIENTS)]
        writer = Writer(folder)
        writer.start()
        told = set()
        while writer.is_alive():
            asked = []
            for line in lines:
                asked.append(writer.done)
                line.request("GET", target, headers=LOGIN)
            for line, since in zip(lines, asked, strict=True):
                answer = line.getresponse()
                body = answer.read()
                assert answer.status in (200, 404), body
                found = body if answer.status == 200 else None
                assert found in writer.begun[since:], (found, writer.begun[since:])
                told.add(found)
        for line in lines:
            line.close()
        assert not writer.errors, writer.errors
        assert len(told) > 3

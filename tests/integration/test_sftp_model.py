"""Random operations by handles and names against a model of what POSIX promises, by one client and by two at once."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterator

import attrs
import pytest

from tests.protocols.sftp.client import RawSftp, string, take
from tests.support.process import GatewayProcess, VFolderOfAlice, eventually
from tests.support.sftp import SftpSite

OPEN, CLOSE, READ, WRITE, FSTAT, FSETSTAT, REMOVE, RENAME, STAT, EXTENDED = 3, 4, 5, 6, 8, 10, 13, 18, 17, 200
STATUS, HANDLE, DATA, ATTRS = 101, 102, 103, 105
OK, EOF, NO_SUCH_FILE, FAILURE = 0, 1, 2, 4
READING, WRITING, APPENDING, CREATING, TRUNCATING, EXCLUSIVE = 1, 2, 4, 8, 16, 32
NAMES = ("a", "b", "c", "d")
LARGEST = 120_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpSite]:
    """A running gateway."""
    site = SftpSite(tmp_path_factory.mktemp("sftp"))
    with GatewayProcess(site):
        yield site


@pytest.fixture
def data(site: SftpSite, request: pytest.FixtureRequest) -> VFolderOfAlice:
    """A vfolder of the test's own."""
    return site.populate(name=f"r-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}")


@attrs.define(eq=False)
class Opened:
    """A handle, and what it stands for."""

    client: RawSftp
    handle: bytes
    content: bytearray
    flags: int


class Machine:
    """Does something at random by one of the clients, and the same to the model.

    :ivar files: contents by name
    """

    def __init__(self, clients: list[RawSftp], data: VFolderOfAlice, seed: int) -> None:
        self.clients = clients
        self.files: dict[str, bytearray] = {}
        self._data = data
        self._random = random.Random(seed)
        self._opened: list[Opened] = []

    def step(self) -> None:
        """One operation."""
        steps = [
            self.open,
            self.write,
            self.write,
            self.read,
            self.read,
            self.cut,
            self.rename,
            self.remove,
            self.close,
            self.look,
        ]
        self._random.choice(steps)()

    def _at(self, name: str) -> bytes:
        return string(f"/{self._data.name}/{name}".encode())

    def _any(self, flag: int) -> Opened | None:
        fitting = [each for each in self._opened if each.flags & flag]
        return self._random.choice(fitting) if fitting else None

    def open(self) -> None:
        if len(self._opened) > 6:
            return
        name, client = self._random.choice(NAMES), self._random.choice(self.clients)
        flags = self._random.choice(
            (
                READING,
                READING | WRITING | CREATING,
                WRITING | CREATING | TRUNCATING,
                READING | WRITING | CREATING | EXCLUSIVE,
                WRITING | APPENDING | CREATING,
                READING | WRITING,
            )
        )
        kind, body = client.ask(OPEN, self._at(name) + struct.pack(">II", flags, 0))
        present = self.files.get(name)
        if (present is None and not flags & CREATING) or (present is not None and flags & EXCLUSIVE):
            assert kind == STATUS, (name, flags)
            assert struct.unpack(">I", body[:4])[0] == (NO_SUCH_FILE if present is None else FAILURE)
            return
        assert kind == HANDLE, (name, flags, body)
        content = self.files.setdefault(name, bytearray())
        if flags & TRUNCATING:
            del content[:]
        self._opened.append(Opened(client, body, content, flags))

    def write(self) -> None:
        opened = self._any(WRITING)
        if opened is None:
            return
        offset, new = self._random.randrange(LARGEST // 2), self._random.randbytes(self._random.randrange(LARGEST // 2))
        body = opened.handle + struct.pack(">Q", offset) + string(new)
        assert opened.client.status(WRITE, body)[0] == OK
        content = opened.content
        if opened.flags & APPENDING:
            offset = len(content)
        if len(content) < offset and new:
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(new)] = new

    def read(self) -> None:
        opened = self._any(READING)
        if opened is None:
            return
        offset, count = self._random.randrange(LARGEST), self._random.randrange(1, LARGEST)
        kind, body = opened.client.ask(READ, opened.handle + struct.pack(">QI", offset, count))
        wanted = opened.content[offset : offset + count]
        if wanted:
            assert (kind, take(body)[0]) == (DATA, bytes(wanted))
        else:
            assert (kind, struct.unpack(">I", body[:4])[0]) == (STATUS, EOF)

    def cut(self) -> None:
        opened = self._any(WRITING)
        if opened is None:
            return
        size = self._random.randrange(LARGEST)
        assert opened.client.status(FSETSTAT, opened.handle + struct.pack(">IQ", 1, size))[0] == OK
        del opened.content[size:]
        opened.content.extend(bytes(size - len(opened.content)))

    def rename(self) -> None:
        source, target = self._random.sample(NAMES, 2)
        client, replaces = self._random.choice(self.clients), self._random.random() < 0.7
        names = self._at(source) + self._at(target)
        if replaces:
            code, text = client.status(EXTENDED, string(b"posix-rename@openssh.com") + names)
        else:
            code, text = client.status(RENAME, names)
        if source not in self.files:
            assert code in (NO_SUCH_FILE, FAILURE), text
        elif target in self.files and not replaces:
            assert code == FAILURE, text
        else:
            assert code == OK, text
            self.files[target] = self.files.pop(source)

    def remove(self) -> None:
        name = self._random.choice(NAMES)
        code, text = self._random.choice(self.clients).status(REMOVE, self._at(name))
        assert code == (OK if self.files.pop(name, None) is not None else NO_SUCH_FILE), text

    def close(self) -> None:
        if self._opened:
            opened = self._opened.pop(self._random.randrange(len(self._opened)))
            assert opened.client.status(CLOSE, opened.handle)[0] == OK

    def look(self) -> None:
        """By name and by handle."""
        name = self._random.choice(NAMES)
        kind, body = self._random.choice(self.clients).ask(STAT, self._at(name))
        if name in self.files:
            assert (kind, _size(body)) == (ATTRS, len(self.files[name]))
        else:
            assert (kind, struct.unpack(">I", body[:4])[0]) == (STATUS, NO_SUCH_FILE)
        for opened in self._opened:
            kind, body = opened.client.ask(FSTAT, opened.handle)
            assert (kind, _size(body)) == (ATTRS, len(opened.content))

    def finish(self) -> None:
        """Close all."""
        while self._opened:
            self.close()


def _size(attributes: bytes) -> int:
    flags, size = struct.unpack(">IQ", attributes[:12])
    assert flags & 1
    return int(size)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [1, 2])
def test_files_are_what_posix_says(site: SftpSite, data: VFolderOfAlice, count: int, seed: int) -> None:
    """Also those that lost their names, or got others; in the end the disk agrees with the model, and the ledger with the disk."""
    site.manager("PATCH", f"/vfgateway/v1/vfolders/{data.vfid[-32:]}", {"limit_bytes": 100 * LARGEST})
    clients = [RawSftp(site.sftp_port) for _ in range(count)]
    machine = Machine(clients, data, seed)
    for _ in range(250):
        machine.step()
    machine.finish()
    for client in clients:
        client.__exit__(None, None, None)
    assert data.published() == {name: bytes(content) for name, content in machine.files.items()}
    sizes = [len(content) for content in machine.files.values()]
    eventually(lambda: data.charged == (sum(sizes), len(sizes)), "the ledger agrees")

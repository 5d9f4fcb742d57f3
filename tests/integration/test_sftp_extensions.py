"""Requests beyond version 3, each on the wire and, where one has it, through a real client."""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from tests.protocols.sftp.client import RawSftp, string, take
from tests.support.process import ALICE, GatewayProcess, VFolderOfAlice, eventually
from tests.support.sftp import SftpSite

(CLOSE, READ, WRITE, LSTAT, FSTAT, FSETSTAT, REMOVE, STAT, RENAME) = (4, 5, 6, 7, 8, 10, 13, 17, 18)
EXTENDED, STATUS, NAME, ATTRS, REPLY = 200, 101, 104, 105, 201
OK, NO_SUCH_FILE, FAILURE, UNSUPPORTED = 0, 2, 4, 8
READING, WRITING, CREATING = 1, 2, 8
A_SIZE, A_MODE, A_TIMES = 1, 4, 8
CONTENT = os.urandom(100_000)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpSite]:
    """A running gateway whose user alice has a key."""
    site = SftpSite(tmp_path_factory.mktemp("sftp"))
    with GatewayProcess(site):
        site.populate()
        site.admit_key()
        yield site


@pytest.fixture
def data(site: SftpSite, request: pytest.FixtureRequest) -> VFolderOfAlice:
    """A vfolder of the test's own."""
    return site.populate(name=f"e-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}")


@pytest.fixture
def client(site: SftpSite) -> Iterator[RawSftp]:
    """One channel."""
    with RawSftp(site.sftp_port) as client:
        yield client


def at(data: VFolderOfAlice, path: str) -> bytes:
    """A path as a request has it."""
    return string(f"/{data.name}/{path}".encode())


def opened(client: RawSftp, data: VFolderOfAlice, path: str, flags: int = READING) -> bytes:
    """A handle as a request has it."""
    return client.open(f"/{data.name}/{path}".encode(), flags)


def extended(client: RawSftp, name: bytes, body: bytes = b"") -> bytes:
    """What is answered with data of the extension's own."""
    kind, answer = client.ask(EXTENDED, string(name) + body)
    assert kind == REPLY, (kind, answer)
    return answer


def done(client: RawSftp, name: bytes, body: bytes) -> tuple[int, str]:
    """What is answered by a status."""
    return client.status(EXTENDED, string(name) + body)


def named(client: RawSftp, name: bytes, body: bytes) -> bytes:
    """What is answered by one name."""
    kind, answer = client.ask(EXTENDED, string(name) + body)
    assert (kind, answer[:4]) == (NAME, b"\0\0\0\1")
    return take(answer[4:])[0]


def test_what_is_offered(client: RawSftp) -> None:
    """With the versions that clients look for."""
    assert client.extensions == {
        b"posix-rename@openssh.com": b"1",
        b"statvfs@openssh.com": b"2",
        b"fstatvfs@openssh.com": b"2",
        b"hardlink@openssh.com": b"1",
        b"fsync@openssh.com": b"1",
        b"lsetstat@openssh.com": b"1",
        b"limits@openssh.com": b"1",
        b"expand-path@openssh.com": b"1",
        b"copy-data": b"1",
        b"home-directory": b"1",
        b"users-groups-by-id@openssh.com": b"1",
        b"check-file": b"md5,sha1,sha256,sha512",
    }


def test_limits_are_told_and_kept(client: RawSftp, data: VFolderOfAlice) -> None:
    """The longest packet, read and write, and how many handles: as many can be open, and one more cannot."""
    packet, read, write, handles = struct.unpack(">4Q", extended(client, b"limits@openssh.com"))
    assert (packet, read, write) == (256 << 10, (256 << 10) - 1024, (256 << 10) - 1024)
    (data.root / "f").write_bytes(bytes(read + 10))
    handle = opened(client, data, "f")
    kind, body = client.ask(READ, handle + struct.pack(">QI", 0, 0xFFFFFFFF))
    assert (kind, len(take(body)[0])) == (103, read)
    held = [opened(client, data, "f") for _ in range(handles - 1)]
    code, text = client.status(3, at(data, "f") + struct.pack(">II", READING, 0))
    assert code == FAILURE
    assert f"too many files open: at most {handles}" in text
    assert client.status(CLOSE, held.pop())[0] == OK
    opened(client, data, "f")


def test_names_and_paths(client: RawSftp, data: VFolderOfAlice) -> None:
    """Where ``~`` is, and what is said of others' homes."""
    assert named(client, b"expand-path@openssh.com", string(b"~/x/../y")) == b"/y"
    assert named(client, b"expand-path@openssh.com", string(b"~alice/x")) == b"/x"
    assert named(client, b"expand-path@openssh.com", string(b"a//./b")) == b"/a/b"
    assert done(client, b"expand-path@openssh.com", string(b"~bob/x"))[0] == NO_SUCH_FILE
    assert named(client, b"home-directory", string(b"")) == b"/"
    assert named(client, b"home-directory", string(b"alice")) == b"/"
    assert done(client, b"home-directory", string(b"bob"))[0] == NO_SUCH_FILE


def test_space_by_path_and_by_handle(site: SftpSite, client: RawSftp, data: VFolderOfAlice) -> None:
    """What the limit leaves, and the same by either way; of what is not there, nothing."""
    site.manager("PATCH", f"/vfgateway/v1/vfolders/{data.vfid[-32:]}", {"limit_bytes": 1 << 20, "limit_files": 10})
    handle = opened(client, data, "f", WRITING | CREATING)
    assert client.status(WRITE, handle + bytes(8) + string(bytes(65_536)))[0] == OK
    assert client.status(CLOSE, handle)[0] == OK
    by_path = struct.unpack(">11Q", extended(client, b"statvfs@openssh.com", at(data, "f")))
    by_handle = struct.unpack(">11Q", extended(client, b"fstatvfs@openssh.com", opened(client, data, "f")))
    assert by_path == by_handle
    unit, _, blocks, free, available, files, more = by_path[:7]
    assert (unit * blocks, unit * free, unit * available) == (1 << 20, (1 << 20) - 65_536, (1 << 20) - 65_536)
    assert (files, more) == (10, 9)
    assert done(client, b"statvfs@openssh.com", at(data, "none"))[0] == NO_SUCH_FILE


def test_renaming_and_linking(client: RawSftp, data: VFolderOfAlice) -> None:
    """Over what is there; a second name; never into another vfolder, which clients take for another file system."""
    for name in ("a", "b"):
        (data.root / name).write_text(name)
    assert client.status(RENAME, at(data, "a") + at(data, "b"))[0] == FAILURE
    assert done(client, b"posix-rename@openssh.com", at(data, "a") + at(data, "b"))[0] == OK
    assert done(client, b"hardlink@openssh.com", at(data, "b") + at(data, "c"))[0] == OK
    assert (data.root / "c").read_text() == "a"
    assert (data.root / "c").stat().st_nlink == 2
    assert done(client, b"hardlink@openssh.com", at(data, "b") + at(data, "c"))[0] == FAILURE
    for extension in (b"posix-rename@openssh.com", b"hardlink@openssh.com"):
        code, text = done(client, extension, at(data, "b") + string(b"/data/b"))
        assert (code, "one vfolder into another" in text) == (UNSUPPORTED, True)


def test_attributes_of_a_link_itself(client: RawSftp, data: VFolderOfAlice) -> None:
    """Its times change, and those of what it points to do not."""
    (data.root / "f").write_text("f")
    os.utime(data.root / "f", (1_400_000_000, 1_400_000_000))
    (data.root / "l").symlink_to("f")
    times = struct.pack(">III", A_TIMES, 1_500_000_000, 1_500_000_000)
    assert done(client, b"lsetstat@openssh.com", at(data, "l") + times)[0] == OK
    assert (data.root / "l").lstat().st_mtime == 1_500_000_000
    assert (data.root / "f").stat().st_mtime == 1_400_000_000


def test_copying_within_the_server(client: RawSftp, data: VFolderOfAlice) -> None:
    """A range, all up to the end, within one file, and never where the ranges overlap."""
    (data.root / "a").write_bytes(CONTENT)
    source, target = opened(client, data, "a"), opened(client, data, "b", READING | WRITING | CREATING)

    def copy(source: bytes, begin: int, length: int, target: bytes, to: int) -> int:
        body = source + struct.pack(">QQ", begin, length) + target + struct.pack(">Q", to)
        return done(client, b"copy-data", body)[0]

    assert copy(source, 0, 0, target, 0) == OK
    assert (data.root / "b").read_bytes() == CONTENT
    assert copy(source, 10, 20, target, 5) == OK
    assert copy(target, 0, 5, target, 95_000) == OK
    assert copy(source, 99_990, 1000, target, 100_000) == OK  # it ends where the source does
    wanted = bytearray(CONTENT + CONTENT[-10:])
    wanted[5:25] = CONTENT[10:30]
    wanted[95_000:95_005] = wanted[:5]
    assert (data.root / "b").read_bytes() == wanted
    assert copy(target, 0, 0, target, 0) == FAILURE
    assert copy(target, 0, 10, target, 5) == FAILURE
    assert copy(target, 0, 0, source, 0) != OK
    assert client.status(CLOSE, target)[0] == OK
    eventually(lambda: data.charged == (len(wanted), 1), "the copy is charged")


def test_copying_beyond_the_limit(site: SftpSite, client: RawSftp, data: VFolderOfAlice) -> None:
    """Ends with the reason."""
    (data.root / "a").write_bytes(CONTENT)
    site.manager("PATCH", f"/vfgateway/v1/vfolders/{data.vfid[-32:]}", {"limit_bytes": 50_000})
    body = opened(client, data, "a") + bytes(16) + opened(client, data, "b", WRITING | CREATING) + bytes(8)
    code, text = done(client, b"copy-data", body)
    assert code == FAILURE
    assert f"quota of vfolder {data.name} exceeded" in text


def test_digests(client: RawSftp, data: VFolderOfAlice) -> None:
    """Of the whole, of a range, of blocks; by name and by handle; of the first algorithm that is known; MD5 with the quick check before it."""
    (data.root / "f").write_bytes(CONTENT)
    handle = opened(client, data, "f")

    def check(name: bytes, which: bytes, kinds: bytes, begin: int = 0, length: int = 0, block: int = 0) -> bytes:
        body = which + string(kinds) + struct.pack(">QQI", begin, length, block)
        again, answer = take(extended(client, name, body))
        assert again == b"check-file"
        return b"".join(take(answer))

    whole = b"sha256" + hashlib.sha256(CONTENT).digest()
    for name, which in ((b"check-file-name", at(data, "f")), (b"check-file-handle", handle), (b"check-file", handle)):
        assert check(name, which, b"crc64,sha256,md5") == whole
    assert check(b"check-file", handle, b"md5", 10, 20) == b"md5" + hashlib.md5(CONTENT[10:30]).digest()
    blocks = [hashlib.sha1(CONTENT[begin : begin + 30_000]).digest() for begin in range(0, len(CONTENT), 30_000)]
    assert check(b"check-file", handle, b"sha1", block=30_000) == b"sha1" + b"".join(blocks)
    asked = string(b"sha9") + bytes(20)
    assert done(client, b"check-file-handle", handle + asked)[0] == UNSUPPORTED
    assert done(client, b"check-file-name", at(data, "none") + asked)[0] == NO_SUCH_FILE

    def md5(name: bytes, which: bytes, quick: bytes = b"") -> bytes:
        again, answer = take(extended(client, name, which + bytes(16) + string(quick)))
        assert again == b"md5-hash"
        return take(answer)[0]

    found = hashlib.md5(CONTENT).digest()
    assert md5(b"md5-hash", at(data, "f")) == md5(b"md5-hash-handle", handle) == found
    assert md5(b"md5-hash", at(data, "f"), hashlib.md5(CONTENT[:2048]).digest()) == found
    assert md5(b"md5-hash", at(data, "f"), bytes(16)) == b""


def test_names_of_owners(site: SftpSite, client: RawSftp, data: VFolderOfAlice) -> None:
    """By their numbers on the storage; who is nobody here has no name."""
    site.manager("POST", "/vfgateway/v1/users", {"name": "carol", "password": ALICE[1], "uid": 54321})
    users = struct.pack(">3I", 54321, 0, 4_000_000_000)
    names, rest = take(extended(client, b"users-groups-by-id@openssh.com", string(users) + string(bytes(4))))
    assert names == string(b"carol") + string(b"") + string(b"")
    assert take(rest)[0] == string(b"")
    (data.root / "f").touch()
    os.chown(data.root / "f", 54321, 0)
    line = next(line for line in site.sftp(f"ls -l {data.name}").stdout.splitlines() if line.endswith("/f"))
    assert line.split()[2] == "carol"


# --- a handle goes on after its name ------------------------------------------------------------------------


def test_a_handle_whose_name_has_changed(client: RawSftp, data: VFolderOfAlice) -> None:
    """What is read, written, cut and set by it is the file, wherever it is; who has taken the name is left alone."""
    handle = opened(client, data, "a", READING | WRITING | CREATING)
    assert client.status(WRITE, handle + bytes(8) + string(b"first"))[0] == OK
    assert done(client, b"posix-rename@openssh.com", at(data, "a") + at(data, "b"))[0] == OK
    (data.root / "a").write_text("somebody else's")
    (data.root / "a").chmod(0o600)
    assert client.status(WRITE, handle + struct.pack(">Q", 5) + string(b" second"))[0] == OK
    changes = struct.pack(">IQIII", A_SIZE | A_MODE | A_TIMES, 9, 0o640, 1_500_000_000, 1_500_000_000)
    assert client.status(FSETSTAT, handle + changes)[0] == OK
    assert take(client.ask(READ, handle + struct.pack(">QI", 0, 100))[1])[0] == b"first sec"
    assert client.status(CLOSE, handle)[0] == OK
    there = (data.root / "b").stat()
    assert (there.st_size, there.st_mode & 0o777, there.st_mtime) == (9, 0o640, 1_500_000_000)
    assert (data.root / "a").read_text() == "somebody else's"
    assert (data.root / "a").stat().st_mode & 0o777 == 0o600
    eventually(lambda: data.charged == (9, 1), "what was written is charged")


def test_a_handle_whose_name_is_gone(client: RawSftp, data: VFolderOfAlice) -> None:
    """Works on until it is closed, as POSIX has it, and then nothing is left or charged; also where the name was taken anew."""
    handle = opened(client, data, "a", READING | WRITING | CREATING)
    assert client.status(WRITE, handle + bytes(8) + string(CONTENT))[0] == OK
    assert client.status(REMOVE, at(data, "a"))[0] == OK
    (data.root / "a").write_text("new")
    assert client.status(WRITE, handle + struct.pack(">Q", len(CONTENT)) + string(b"more"))[0] == OK
    changes = struct.pack(">IQIII", A_SIZE | A_MODE | A_TIMES, 50_000, 0o604, 1_500_000_000, 1_500_000_000)
    assert client.status(FSETSTAT, handle + changes)[0] == OK
    kind, facts = client.ask(FSTAT, handle)
    assert (kind, struct.unpack(">Q", facts[4:12])[0]) == (ATTRS, 50_000)
    assert done(client, b"fsync@openssh.com", handle)[0] == OK
    assert client.status(CLOSE, handle)[0] == OK
    assert client.status(FSETSTAT, handle + changes)[0] == FAILURE
    assert (data.root / "a").read_text() == "new"
    assert (data.root / "a").stat().st_mtime != 1_500_000_000
    eventually(lambda: data.charged == (0, 0), "nothing is charged any more")


# --- by a client that has them all ----------------------------------------------------------------------------


def test_asyncssh_finds_and_uses_them(site: SftpSite, data: VFolderOfAlice, tmp_path: Path) -> None:
    """Each by the method that its users would call."""
    (data.root / "a").write_bytes(CONTENT)

    async def use() -> None:
        login = {"username": ALICE[0], "password": ALICE[1], "known_hosts": None, "client_keys": None, "config": None}
        async with asyncssh.connect("127.0.0.1", site.sftp_port, **login) as connection:
            async with connection.start_sftp_client() as sftp:
                await sftp.chdir(f"/{data.name}")
                assert sftp.limits.max_write_len == (256 << 10) - 1024
                await sftp.link("a", "hard")
                await sftp.posix_rename("hard", "second")
                await sftp.remote_copy("a", "copy")
                await sftp.symlink("a", "soft")
                await sftp.setstat(
                    "soft", asyncssh.SFTPAttrs(atime=1_500_000_000, mtime=1_500_000_000), follow_symlinks=False
                )
                async with sftp.open("copy", "r+b") as file:
                    await file.write(b"changed", 0)
                    await file.fsync()
                    assert (await file.statvfs()).namemax == 255
                assert (await sftp.statvfs(".")).bsize == 4096

    asyncio.run(use())
    assert (data.root / "second").samefile(data.root / "a")
    assert (data.root / "copy").read_bytes() == b"changed" + CONTENT[7:]
    assert (data.root / "soft").lstat().st_mtime == 1_500_000_000

"""What no decent client sends: each gets an answer or an end, and nobody else notices."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from tests.protocols.sftp.client import RawSftp, string, take
from tests.support.process import ALICE, GatewayProcess, VFolderOfAlice, eventually
from tests.support.sftp import SftpSite

READ, WRITE, FSTAT, FSETSTAT, READDIR, CLOSE, OPEN, STAT, EXTENDED = 5, 6, 8, 10, 12, 4, 3, 17, 200
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE, UNSUPPORTED = 0, 1, 2, 3, 4, 5, 8


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A running gateway."""
    site = SftpSite(tmp_path_factory.mktemp("sftp"), options={"login_delay": "0.05"})
    with GatewayProcess(site) as process:
        site.populate()
        site.admit_key()
        yield process


@pytest.fixture
def site(process: GatewayProcess) -> SftpSite:
    """Its site."""
    assert isinstance(process.site, SftpSite)
    return process.site


@pytest.fixture
def data(site: SftpSite, request: pytest.FixtureRequest) -> VFolderOfAlice:
    """A vfolder of the test's own."""
    return site.populate(name=f"h-{abs(hash(request.node.name)) % 10**8}")


def memory(process: GatewayProcess) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(process: GatewayProcess) -> int:
    """Open descriptors."""
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


def test_every_request_on_an_unknown_or_closed_handle_is_answered(site: SftpSite, data: VFolderOfAlice) -> None:
    """With a failure that says so, in the order of the requests."""
    with RawSftp(site.sftp_port) as client:
        closed = client.open(f"/{data.name}/a".encode(), 1 | 2 | 8)
        assert client.status(CLOSE, closed)[0] == OK
        for handle in (closed, string(b""), string(b"x" * 12), string(b"y" * 256)):
            wanted = [
                client.request(READ, handle + struct.pack(">QI", 0, 100)),
                client.request(WRITE, handle + struct.pack(">Q", 0) + string(b"data")),
                client.request(FSTAT, handle),
                client.request(FSETSTAT, handle + struct.pack(">I", 0)),
                client.request(READDIR, handle),
                client.request(CLOSE, handle),
                client.request(EXTENDED, string(b"fsync@openssh.com") + handle),
                client.request(EXTENDED, string(b"fstatvfs@openssh.com") + handle),
                client.request(EXTENDED, string(b"copy-data") + handle + struct.pack(">QQ", 0, 0) + handle + bytes(8)),
            ]
            for number in wanted:
                kind, answered, body = client.answer()
                assert (kind, answered, body[:4]) == (101, number, struct.pack(">I", FAILURE))


def test_every_truncation_of_every_request_is_answered(site: SftpSite, data: VFolderOfAlice) -> None:
    """With BAD_MESSAGE or whatever it means by chance; unknown kinds with UNSUPPORTED; and the channel goes on."""
    place = f"/{data.name}/f".encode()
    with RawSftp(site.sftp_port) as client:
        handle = client.open(place, 1 | 2 | 8)
        whole = {
            OPEN: string(place) + struct.pack(">II", 1, 0),
            READ: handle + struct.pack(">QI", 0, 10),
            WRITE: handle + struct.pack(">Q", 0) + string(b"data"),
            FSETSTAT: handle + struct.pack(">IQ", 1, 4),
            18: string(place) + string(place + b"2"),
            20: string(place) + string(place + b"l"),
            EXTENDED: string(b"posix-rename@openssh.com") + string(place) + string(place),
        }
        for kind, body in whole.items():
            for length in range(len(body)):
                client.request(kind, body[:length])
                answered, _, rest = client.answer()
                assert answered == 101
                assert struct.unpack(">I", rest[:4])[0] in (BAD_MESSAGE, UNSUPPORTED, NO_SUCH_FILE)
        for kind in (0, 21, 99, 101, 105, 199, 201, 255):
            assert client.status(kind, b"anything")[0] == UNSUPPORTED
        assert client.status(EXTENDED, string(b"no-such@example.org"))[0] == UNSUPPORTED
        assert client.status(CLOSE, handle)[0] == OK


@pytest.mark.parametrize("length", [0, 1, 4, (256 << 10) + 4096, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_length_beyond_reason_ends_the_channel(site: SftpSite, process: GatewayProcess, length: int) -> None:
    """And costs no memory."""
    before = memory(process)
    with RawSftp(site.sftp_port) as client:
        client.channel.sendall(struct.pack(">I", length) + b"\3" * 100)
        assert client.ends()
    assert memory(process) < before + (64 << 20)


def test_noise_never_hangs_crashes_or_leaks(site: SftpSite, process: GatewayProcess, data: VFolderOfAlice) -> None:
    """Requests changed at random, on many channels; others are served all the while, and all descriptors come back."""
    chosen = random.Random(1)
    place = f"/{data.name}/n".encode()
    with RawSftp(site.sftp_port) as client:
        client.status(CLOSE, client.open(place, 2 | 8))
    before = descriptors(process)
    for _ in range(15):
        # A file of its own for each, since the noise removes files and makes folders in their place.
        place = f"/{data.name}/n{chosen.randbytes(4).hex()}".encode()
        with RawSftp(site.sftp_port) as client:
            handle = client.open(place, 1 | 2 | 8)
            sent = 0
            for _ in range(60):
                body = bytearray(
                    chosen.choice([string(place), handle, string(b"limits@openssh.com")])
                    + chosen.randbytes(chosen.randrange(40))
                )
                for _ in range(chosen.randrange(4)):
                    body[chosen.randrange(len(body))] = chosen.randrange(256)
                client.request(chosen.choice([*range(3, 21), 200]), bytes(body))
                sent += 1
            for _ in range(sent):
                client.answer()
    assert data.name in site.sftp("ls -1").stdout
    eventually(lambda: descriptors(process) <= before, "all files are closed")
    assert "Traceback" not in process.output


def test_a_bad_beginning_is_dropped(site: SftpSite, process: GatewayProcess) -> None:
    """What is no SSH, a key exchange out of order, a login before it, and packets of noise end the connection, each at once."""
    beginnings = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-1.5-old\r\n",
        b"SSH-2.0-" + b"x" * 5000,
        b"SSH-2.0-x\r\n" + struct.pack(">IB", 12, 6) + b"\x1e" + bytes(10),
        b"SSH-2.0-x\r\n" + struct.pack(">IB", 28, 9) + b"\x05" + string(b"ssh-userauth") + bytes(11),
        b"SSH-2.0-x\r\n" + struct.pack(">IB", 12, 10) + b"\x15" + bytes(10),
        b"SSH-2.0-x\r\n" + struct.pack(">IB", 0xFFFFFFFF, 4),
        b"SSH-2.0-x\r\n" + struct.pack(">IB", 12, 4) + b"\x14" + bytes(10),
        b"SSH-2.0-x\r\n" + random.Random(3).randbytes(2000),
    ]
    for beginning in beginnings:
        with socket.create_connection(("127.0.0.1", site.sftp_port), 20) as raw:
            raw.sendall(beginning)
            try:
                while raw.recv(65536):
                    pass
            except ConnectionResetError:
                pass
    assert site.sftp("pwd").returncode == 0
    assert "Traceback" not in process.output


def u32(*numbers: int) -> bytes:
    """Numbers as SSH has them."""
    return struct.pack(f">{len(numbers)}I", *numbers)


#: Messages of a client that has logged in and opened the channel 0: type and body. Those that end the connection, and those that are answered or
#: overlooked (RFC 4254).
ENDS = (
    (80, b""),
    (80, u32(0xFFFFFFFF) + b"x"),
    (90, b""),
    (90, string(b"session") + u32(1)),
    (93, u32(0)),
    (93, u32(77, 1)),
    (93, u32(0, 0xFFFFFFFF)),
    (94, u32(0)),
    (94, u32(0, 100) + b"less"),
    (94, u32(0, 1) + b"more"),
    (94, u32(77) + string(b"x")),
    (95, u32(0, 1)),
    (96, b""),
    (96, u32(77)),
    (97, b"\0"),
    (97, u32(77)),
    (98, u32(0)),
    (98, u32(77) + string(b"exec") + b"\1" + string(b"pwd")),
    (98, u32(0) + u32(0xFFFFFF) + b"x"),
)
LIVES = (
    (2, string(bytes(1000))),
    (3, u32(7)),
    (4, b"\1" + string(b"debug") + string(b"")),
    (50, b"\0\0"),
    (50, string(b"alice") + string(b"ssh-connection") + string(b"none")),
    (61, u32(1) + string(b"x")),
    (80, string(b"tcpip-forward") + b"\1" + string(b"") + u32(22)),
    (80, string(b"streamlocal-forward@openssh.com") + b"\1" + string(b"/tmp/x")),
    (80, string(b"no-more-sessions@openssh.com") + b"\0"),
    (80, string(b"\xff\xfe") + b"\1" + bytes(999)),
    (90, string(b"direct-tcpip") + u32(5, 9, 9) + string(b"localhost") + u32(22) + string(b"") + u32(1)),
    (90, string(b"x11") + u32(5, 9, 9)),
    (90, string(b"\xff") + u32(5, 9, 9)),
    (90, string(b"session") + u32(6, 0xFFFFFFFF, 0xFFFFFFFF)),
    (90, string(b"session") + u32(7, 0, 0)),
    (94, u32(0) + string(b"")),
    (95, u32(0, 1) + string(b"error")),
    (98, u32(0) + string(b"pty-req") + b"\0" + bytes(3)),
    (98, u32(0) + string(b"env") + b"\0"),
    (98, u32(0) + string(b"signal") + b"\0" + string(b"KILL")),
    (98, u32(0) + string(b"auth-agent-req@openssh.com") + b"\0"),
    (98, u32(0) + string(b"subsystem") + b"\0" + u32(9)),
    (98, u32(0) + string(b"\xff\xff") + b"\0"),
    (192, b"from a later RFC"),
    (255, b""),
)


def _send_raw(client: RawSftp, kind: int, body: bytes) -> None:
    client.channel.transport._send_message(paramiko.Message(bytes([kind]) + body))


def test_malformed_messages_end_the_connection(site: SftpSite, process: GatewayProcess) -> None:
    """At once, with nothing but a good-bye, and without a word in the log that would look like a fault of ours."""
    before = descriptors(process)
    for kind, body in ENDS:
        with RawSftp(site.sftp_port) as client:
            _send_raw(client, kind, body)
            transport = client.channel.transport
            transport.join(20)
            assert not transport.is_alive(), (kind, body)
    eventually(lambda: descriptors(process) <= before, "all connections are closed")
    assert "Traceback" not in process.output


def test_strange_messages_are_answered_or_overlooked(site: SftpSite, process: GatewayProcess) -> None:
    """What is known and not offered is refused, what is not known is answered as such, and the session goes on."""
    with RawSftp(site.sftp_port) as client:
        for kind, body in LIVES:
            _send_raw(client, kind, body)
            assert client.status(STAT, b"")[0] == BAD_MESSAGE, (kind, body)
    assert "Traceback" not in process.output


def test_noise_on_every_layer(site: SftpSite, process: GatewayProcess) -> None:
    """The corpus above, changed at random: no hang, no fault in the log, nothing left open."""
    chosen = random.Random(2)
    before = descriptors(process)
    for _ in range(40):
        with RawSftp(site.sftp_port) as client:
            for _ in range(8):
                kind, body = chosen.choice(ENDS + LIVES)
                changed = bytearray(body)
                for _ in range(chosen.randrange(3)):
                    if changed:
                        changed[chosen.randrange(len(changed))] = chosen.choice((0, 1, 127, 128, 255))
                with contextlib.suppress(EOFError, OSError):  # it has been ended
                    _send_raw(client, kind, bytes(changed[: chosen.randrange(len(changed) + 1)]))
    assert site.sftp("pwd").returncode == 0
    eventually(lambda: descriptors(process) <= before, "all connections are closed")
    assert "Traceback" not in process.output


def test_the_smallest_requests_by_the_thousand(site: SftpSite, process: GatewayProcess, data: VFolderOfAlice) -> None:
    """On many channels, by a client that takes no answer: they wait as the bytes that they are. Then all are answered, in order, and the end of
    the channel comes after the last of them."""
    before = memory(process)
    with RawSftp(site.sftp_port) as client:
        transport = client.channel.transport
        channels = [client.channel]
        for _ in range(15):
            channel = transport.open_session(window_size=1 << 16)
            channel.invoke_subsystem("sftp")
            channels.append(channel)
        for channel in channels:
            channel.settimeout(1)
        requests = b"".join(struct.pack(">IBI", 5, 99, number) for number in range(100_000))
        for channel in channels[1:]:
            channel.sendall(requests[: 9 * 50_000])
        channels[1].shutdown_write()
        assert memory(process) < before + (64 << 20)
        channels[1].settimeout(20)
        answers = channels[1].makefile("rb")
        for number in range(50_000):
            length, kind, answered, code = struct.unpack(">IBII", answers.read(13))
            assert (kind, answered, code) == (101, number, UNSUPPORTED)
            answers.read(length - 9)
        assert answers.read(1) == b""
        assert channels[1].recv_exit_status() == 0
    assert data.name in site.sftp("ls -1").stdout


def test_asking_for_everything_without_reading_costs_little(
    site: SftpSite, process: GatewayProcess, data: VFolderOfAlice
) -> None:
    """Twenty thousand reads are asked for and nothing is taken: memory is bounded, others are served, and then all comes, in order."""
    content = random.Random(5).randbytes(1 << 20) * 64
    (data.root / "big").write_bytes(content)
    before = memory(process)
    with RawSftp(site.sftp_port) as client:
        handle = client.open(f"/{data.name}/big".encode())
        count = len(content) // 32768

        def ask() -> None:
            for number in range(10 * count):
                client.request(READ, handle + struct.pack(">QI", number % count * 32768, 32768))

        asking = threading.Thread(target=ask)
        asking.start()
        for _ in range(5):
            assert data.name in site.sftp("ls -1").stdout
        assert memory(process) < before + (64 << 20)
        for number in range(10 * count):
            kind, _, body = client.answer()
            assert kind == 103
            at = number % count * 32768
            assert take(body)[0] == content[at : at + 32768]
        asking.join()
    assert memory(process) < before + (64 << 20)


def test_too_many_wrong_logins_end_the_connection(site: SftpSite) -> None:
    """After a few, which take longer and longer."""
    transport = paramiko.Transport(("127.0.0.1", site.sftp_port))
    try:
        transport.connect()
        failures = 0
        with pytest.raises((paramiko.SSHException, EOFError)) as ended:
            while failures < 20:
                try:
                    transport.auth_password("nobody-of-that-name", "wrong")
                except paramiko.AuthenticationException:
                    failures += 1
                    if not transport.is_active():
                        raise EOFError from None
        assert ended.type is not AssertionError
        assert 1 <= failures <= 6
    finally:
        transport.close()


def test_what_is_open_when_a_client_vanishes_is_kept(
    site: SftpSite, process: GatewayProcess, data: VFolderOfAlice
) -> None:
    """A cut upload leaves what arrived, charged, for ``reput`` to go on with."""
    with RawSftp(site.sftp_port) as client:
        handle = client.open(f"/{data.name}/cut".encode(), 2 | 8)
        for number in range(8):
            assert client.status(WRITE, handle + struct.pack(">Q", number * 1000) + string(b"x" * 1000))[0] == OK
        client.channel.transport.sock.close()
    eventually(lambda: data.charged == (8000, 1), "the file is charged")
    assert (data.root / "cut").read_bytes() == b"x" * 8000


def test_the_wrong_user_is_told_nothing(site: SftpSite, data: VFolderOfAlice) -> None:
    """Another user's vfolder is not there, whatever is asked."""
    site.manager("POST", "/vfgateway/v1/users", {"name": "mallory", "password": ALICE[1]})
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", site.sftp_port, "mallory", ALICE[1], allow_agent=False, look_for_keys=False)
    with client:
        sftp = client.open_sftp()
        assert sftp.listdir("/") == []
        for path in (f"/{data.name}", f"/{data.name}/../{data.name}", f"{data.name}/x", "/../../etc/passwd"):
            with pytest.raises(FileNotFoundError):
                sftp.stat(path)

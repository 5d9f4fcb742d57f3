"""Who gets in, from where, and how often: proxies, certificates, limits, expiry; and how it sounds to auditors."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest

from tests.support.process import ALICE, GatewayProcess, eventually
from tests.support.sftp import OPTIONS, SftpSite, run


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key of an authority that the site trusts."""
    key = tmp_path_factory.mktemp("ca") / "ca"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    return key


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, authority: Path) -> Iterator[GatewayProcess]:
    """A gateway with narrow limits, behind a proxy that it trusts."""
    line = authority.with_suffix(".pub").read_text().strip()
    site = SftpSite(
        tmp_path_factory.mktemp("sftp"),
        options={
            "trusted_user_ca_keys": f'["{line}"]',
            "max_connections_per_user": "3",
            "login_delay": "0.01",
            "banner": '"Welcome."',
        },
    )
    with GatewayProcess(site) as process:
        site.populate()
        site.admit_key()
        yield process


@pytest.fixture
def site(process: GatewayProcess) -> SftpSite:
    """Its site."""
    assert isinstance(process.site, SftpSite)
    return process.site


@pytest.mark.parametrize(
    ("options", "good"),
    [
        (["-n", "alice"], True),
        (["-n", "alice", "-V", "-1d:+1d"], True),
        (["-n", "bob"], False),
        (["-n", "alice", "-V", "20200101:20200102"], False),
        (["-n", "alice", "-O", "source-address=127.0.0.0/8"], True),
        (["-n", "alice", "-O", "source-address=10.0.0.0/8"], False),
        (["-n", "alice", "-O", "force-command=/bin/sh"], False),
        (["-h", "-n", "alice"], False),
        (["-n", ""], False),
    ],
)
@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_certificates(
    site: SftpSite, authority: Path, tmp_path: Path, options: list[str], good: bool, kind: str
) -> None:
    """One of our authority's, for this user, now, from here; nothing in it that we cannot keep."""
    key = tmp_path / "key"
    run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", key])
    options = [word for word in options if options != ["-n", ""]]
    run(["ssh-keygen", "-q", "-s", authority, "-I", "test", *options, key.with_suffix(".pub")])
    login = [*OPTIONS, f"-oIdentityFile={key}", f"-oCertificateFile={key}-cert.pub", f"-oPort={site.sftp_port}"]
    done = run(["sftp", *login, "-b", "-", "alice@127.0.0.1"], check=False, text="pwd\n")
    assert (done.returncode == 0) is good, done.stderr


def test_a_certificate_of_another_authority(site: SftpSite, tmp_path: Path) -> None:
    """Does not lead in."""
    for name in ("ca", "key"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name])
    run(["ssh-keygen", "-q", "-s", tmp_path / "ca", "-I", "test", "-n", "alice", tmp_path / "key.pub"])
    login = [*OPTIONS, f"-oIdentityFile={tmp_path}/key", f"-oCertificateFile={tmp_path}/key-cert.pub"]
    done = run(["sftp", *login, f"-oPort={site.sftp_port}", "-b", "-", "alice@127.0.0.1"], check=False, text="pwd\n")
    assert done.returncode != 0


def _connect(site: SftpSite, user: str, password: str) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", site.sftp_port, user, password, allow_agent=False, look_for_keys=False)
    return client


def test_a_user_has_so_many_connections_and_no_more(site: SftpSite) -> None:
    """The one too many is told so; when one ends, another may come."""
    # A user of the test's own, since connections end a little after the test.
    many = ("many", "a crowd of one and the same")
    site.manager("POST", "/vfgateway/v1/users", {"name": many[0], "password": many[1]})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(_connect(site, *many)) for _ in range(3)]
        with pytest.raises((paramiko.SSHException, EOFError)):
            stack.enter_context(_connect(site, *many)).open_sftp().listdir("/")
        clients[0].close()
        for _ in range(100):
            with contextlib.suppress(paramiko.SSHException, EOFError):
                stack.enter_context(_connect(site, *many))
                break
        else:
            pytest.fail("the place was not given back")


def _told(process: GatewayProcess) -> list[dict[str, object]]:
    """What the log says of operations: lines of JSON, several events at a time."""
    told = [line for line in process.output.splitlines() if line.startswith("{") and '"file_operation"' in line]
    facts = [json.loads(line) for line in told]
    return [{name: value for name, value in each.items() if isinstance(value, str | int)} for each in facts]


def test_what_happened_is_told(process: GatewayProcess, site: SftpSite, tmp_path: Path) -> None:
    """Every login and operation is in the log, with user, address, path and bytes; no password ever is."""
    site.sftp(f"put /etc/hostname data/told\nget data/told {tmp_path}/back\nrm data/told")
    size = Path("/etc/hostname").stat().st_size
    who = {"user": "alice", "address": "127.0.0.1", "protocol": "sftp"}
    assert "login: user=alice address=127.0.0.1 protocol=sftp method=publickey" in process.output
    for said in (
        {"action": "write", "path": "/data/told", "read_bytes": 0, "written_bytes": size},
        {"action": "read", "path": "/data/told", "read_bytes": size, "written_bytes": 0},
        {"action": "remove", "path": "/data/told"},
    ):
        wanted = (who | said).items()
        eventually(lambda wanted=wanted: any(wanted <= line.items() for line in _told(process)), str(said))  # type: ignore[misc]
    with pytest.raises(paramiko.AuthenticationException):
        wrong = paramiko.Transport(("127.0.0.1", site.sftp_port))
        try:
            wrong.connect(username="alice", password="a-secret-that-is-wrong")
        finally:
            wrong.close()
    assert "login_failed: user=alice address=127.0.0.1 protocol=sftp method=password" in process.output
    assert "a-secret-that-is-wrong" not in process.output
    for noise in ("NEW KEYS", "sending close", "starting service", "kex alg"):
        assert noise not in process.output
    assert ALICE[1] not in process.output


def test_strict_exchange_and_modern_algorithms_are_offered(site: SftpSite) -> None:
    """What an audit looks for: nothing of yesterday, the answer to Terrapin, and signatures that clients may use."""
    said = run(
        [
            "ssh",
            "-vvv",
            *site.ssh_options("-oLogLevel=DEBUG3", "-oCiphers=aes128-gcm@openssh.com,aes128-ctr"),
            "alice@127.0.0.1",
            "pwd",
        ]
    ).stderr
    proposal = said.partition("peer server KEXINIT proposal")[2].partition("debug3: verify_hostkey")[0]
    assert "kex-strict-s-v00@openssh.com" in proposal
    for old in ("sha1", "md5", "cbc", "3des", "ssh-dss", "nistp256-cert", "group14", "chacha20", "zlib"):
        assert old not in proposal.replace("none,zlib", "")
    assert "server-sig-algs=<ssh-ed25519" in said
    assert "cipher: aes128-gcm@openssh.com" in said
    assert "Welcome." in said


# --- behind a proxy ---


@pytest.fixture
def behind(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[GatewayProcess]:
    """A gateway that speaks the PROXY protocol with whoever the test says."""
    site = SftpSite(
        tmp_path / "site",
        endpoint="haproxy:tcp:{port}:interface=127.0.0.1",
        gateway=f'trusted_proxies = ["{request.param}"]',
    )
    with GatewayProcess(site) as process:
        site.populate()
        yield process


def version_1(address: str) -> bytes:
    """The header of the PROXY protocol that says so, as text."""
    return f"PROXY TCP4 {address} 192.0.2.1 12345 22\r\n".encode()


def version_2(address: str) -> bytes:
    """The binary one."""
    addresses = socket.inet_aton(address) + socket.inet_aton("192.0.2.1") + struct.pack(">HH", 12345, 22)
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", len(addresses)) + addresses


def _through_proxy(site: SftpSite, header: bytes, key: paramiko.PKey | None = None) -> paramiko.Transport:
    raw = socket.create_connection(("127.0.0.1", site.sftp_port), 20)
    raw.sendall(header)
    transport = paramiko.Transport(raw)
    try:
        if key is None:
            transport.connect(username=ALICE[0], password=ALICE[1])
        else:
            transport.connect(username=ALICE[0], pkey=key)
    except BaseException:
        transport.close()
        raise
    return transport


@pytest.mark.parametrize("behind", ["127.0.0.0/8"], indirect=True)
def test_the_true_address_comes_from_a_proxy(behind: GatewayProcess) -> None:
    """And data flows as fast as ever."""
    assert isinstance(behind.site, SftpSite)
    transport = _through_proxy(behind.site, version_1("192.0.2.7"))
    try:
        sftp = paramiko.SFTPClient.from_transport(transport)
        assert sftp is not None
        with sftp.open("/data/a", "w") as file:
            file.set_pipelined(True)
            file.write(bytes(5_000_000))
        assert sftp.stat("/data/a").st_size == 5_000_000
        with sftp.open("/data/a") as file:
            assert file.read() == bytes(5_000_000)
    finally:
        transport.close()
    assert "login: user=alice address=192.0.2.7" in behind.output


@pytest.mark.parametrize("behind", ["127.0.0.0/8"], indirect=True)
def test_a_key_that_is_good_from_one_address(behind: GatewayProcess) -> None:
    """``from=`` is held against the true address, as either version of the header tells it, and so is a wrong login told; without a header nobody comes in."""
    site = behind.site
    assert isinstance(site, SftpSite)
    identity = site.manager("GET", "/vfgateway/v1/users")["users"][0]["id"]
    line = 'from="192.0.2.7,2001:db8::/32" ' + site.key.with_suffix(".pub").read_text()
    site.manager("POST", f"/vfgateway/v1/users/{identity}/keys", {"kind": "public_key", "public_key": line})
    key = paramiko.Ed25519Key.from_private_key_file(str(site.key))
    for header in (version_1, version_2):
        _through_proxy(site, header("192.0.2.7"), key).close()
        with pytest.raises(paramiko.AuthenticationException):
            _through_proxy(site, header("192.0.2.8"), key)
    _through_proxy(site, b"PROXY TCP6 2001:db8::7 2001:db8::1 12345 22\r\n", key).close()
    assert "login: user=alice address=192.0.2.7 protocol=sftp method=publickey" in behind.output
    assert "login: user=alice address=2001:db8::7" in behind.output
    assert "login_failed: user=alice address=192.0.2.8 protocol=sftp method=publickey" in behind.output
    with pytest.raises((paramiko.SSHException, EOFError, OSError)):
        _through_proxy(site, b"", key)


@pytest.mark.parametrize("behind", ["198.51.100.0/24"], indirect=True)
@pytest.mark.parametrize("header", [version_1, version_2])
def test_nobody_else_may_say_who_comes(behind: GatewayProcess, header: Callable[[str], bytes]) -> None:
    """A header from an address that is no proxy of ours is worth nothing."""
    assert isinstance(behind.site, SftpSite)
    with pytest.raises((paramiko.SSHException, EOFError, OSError)):
        _through_proxy(behind.site, header("192.0.2.7"))
    assert "192.0.2.7" not in behind.output
    assert "user=alice" not in behind.output

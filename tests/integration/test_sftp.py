"""Unmodified clients of SFTP against a real gateway."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from tests.support.process import ALICE, GatewayProcess, VFolderOfAlice
from tests.support.sftp import OPTIONS, SftpSite, run

CONTENT = os.urandom(3 << 20)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpSite]:
    """A running gateway whose user alice has a key."""
    site = SftpSite(tmp_path_factory.mktemp("sftp"), options={"login_delay": "0.05"})
    with GatewayProcess(site):
        site.populate(name="first")
        site.admit_key()
        yield site


@pytest.fixture
def data(site: SftpSite, request: pytest.FixtureRequest) -> VFolderOfAlice:
    """A vfolder of the test's own."""
    return site.populate(name=f"v-{abs(hash(request.node.name)) % 10**8}")


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file of several megabytes."""
    path = tmp_path / "big"
    path.write_bytes(CONTENT)
    return path


def connect(site: SftpSite, **options: object) -> paramiko.SSHClient:
    """paramiko, logged in as alice by her password unless told otherwise."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    login: dict[str, object] = {
        "username": ALICE[0],
        "password": ALICE[1],
        "allow_agent": False,
        "look_for_keys": False,
    }
    client.connect("127.0.0.1", site.sftp_port, **(login | options))
    return client


# --- OpenSSH ---


def test_the_top_lists_the_vfolders(site: SftpSite, data: VFolderOfAlice) -> None:
    """A user sees vfolders by name, and can neither make nor remove one so."""
    assert data.name in site.sftp("ls -1").stdout.split()
    for refused in ("mkdir new", f"rmdir {data.name}", f"rename {data.name} other", "put /etc/hostname hostname"):
        assert site.sftp(refused, check=False).returncode == 1
    assert f"/{data.name}" in site.sftp("ls -1 /").stdout.split()


def test_what_was_put_is_got(site: SftpSite, data: VFolderOfAlice, big: Path, tmp_path: Path) -> None:
    """Content, times and modes travel both ways, and the ledger is right after it."""
    os.utime(big, (1_600_000_000, 1_500_000_000))
    big.chmod(0o640)
    site.sftp(f"put -p {big} {data.name}/big\nget -p {data.name}/big {tmp_path}/back")
    assert (tmp_path / "back").read_bytes() == CONTENT == (data.root / "big").read_bytes()
    assert (tmp_path / "back").stat().st_mtime == 1_500_000_000
    assert stat.S_IMODE((data.root / "big").stat().st_mode) == 0o640
    assert data.charged == (len(CONTENT), 1)


def test_a_tree_and_back(site: SftpSite, data: VFolderOfAlice, tmp_path: Path) -> None:
    """Directories, empty files, spaces and names that are no UTF-8."""
    tree = tmp_path / "tree"
    (tree / "a b/c").mkdir(parents=True)
    (tree / "empty").touch()
    (tree / "a b/c/x").write_bytes(b"x" * 100_000)
    (tree / os.fsdecode(b"caf\xe9")).write_bytes(b"latin")
    site.sftp(f"put -r {tree} {data.name}/tree\nget -r {data.name}/tree {tmp_path}/back")
    assert run(["diff", "-r", tree, tmp_path / "back"]).stdout == ""
    assert (data.root / "tree" / os.fsdecode(b"caf\xe9")).read_bytes() == b"latin"


def test_transfers_go_on_where_they_were_cut(site: SftpSite, data: VFolderOfAlice, big: Path, tmp_path: Path) -> None:
    """``reput`` and ``reget`` from several places."""
    for cut in (0, 1, 32767, 261120, len(CONTENT) - 1):
        (data.root / "part").write_bytes(CONTENT[:cut])
        (tmp_path / "part").write_bytes(CONTENT[:cut])
        site.sftp(f"reput {big} {data.name}/part\nreget {data.name}/part {tmp_path}/part")
        assert (data.root / "part").read_bytes() == CONTENT == (tmp_path / "part").read_bytes()


def test_names_change_as_posix_says(site: SftpSite, data: VFolderOfAlice, big: Path) -> None:
    """Rename over a file, links of both kinds, modes, removing; a directory that is not empty stays."""
    site.sftp(
        f"cd {data.name}\nmkdir d\nput {big} d/a\nput /etc/hostname b\nrename b d/a\nln -s d/a link\nln d/a hard\n"
        "chmod 600 hard\n-rmdir d\nls -l"
    )
    assert (data.root / "link").readlink() == Path("d/a")
    assert (data.root / "hard").read_bytes() == Path("/etc/hostname").read_bytes()
    assert (data.root / "hard").stat().st_nlink == 2
    assert stat.S_IMODE((data.root / "hard").stat().st_mode) == 0o600
    assert data.charged[1] == 4
    site.sftp(f"cd {data.name}\nrm link\nrm hard\nrm d/a\nrmdir d")
    assert data.charged == (0, 0)


def test_copy_runs_in_the_server(site: SftpSite, data: VFolderOfAlice, big: Path) -> None:
    """``cp`` of the client, by copy-data."""
    site.sftp(f"cd {data.name}\nput {big} a\ncp a b")
    assert (data.root / "b").read_bytes() == CONTENT
    assert data.charged == (2 * len(CONTENT), 2)


def test_scp_by_sftp(site: SftpSite, data: VFolderOfAlice, big: Path, tmp_path: Path) -> None:
    """scp as it is today, with ``-p`` and a home-relative path."""
    site.scp("-p", str(big), f"HOST:{data.name}/big")
    site.scp(f"HOST:/{data.name}/big", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == CONTENT


def test_scp_of_old_leaves_patterns_to_us(site: SftpSite, data: VFolderOfAlice, tmp_path: Path) -> None:
    """Clients before OpenSSH 9, and WinSCP where it speaks SCP, count on a shell for ``*`` and ``~``; what is called so is that."""
    (data.root / "d").mkdir()
    for name in ("a1.csv", "a2.csv", "b.csv", ".hidden.csv", "[b].csv", "d/c.csv"):
        (data.root / name).write_text(name)

    def fetched(pattern: str, *options: str) -> set[str]:
        into = tmp_path / str(abs(hash(pattern)))
        into.mkdir()
        site.scp("-O", *options, f"HOST:{pattern}", str(into))
        return {path.name for path in into.iterdir()}

    assert fetched(f"{data.name}/a*.csv") == {"a1.csv", "a2.csv"}
    assert fetched(f"~/{data.name}/?.csv") == {"b.csv"}
    assert fetched(f"{data.name}/[b].csv") == {"[b].csv"}
    assert fetched(f"{data.name}/*/*.csv") == {"c.csv"}
    assert fetched(f"{data.name[:-1]}?/.h*") == {".hidden.csv"}
    assert fetched(f"{data.name}/*", "-r") == {"a1.csv", "a2.csv", "b.csv", "[b].csv", "d"}
    assert site.scp("-O", f"HOST:{data.name}/none*", str(tmp_path), check=False).returncode == 1
    sums = site.ssh(f"md5sum {data.name}/a*").stdout.splitlines()
    assert [line.split("  ")[1] for line in sums] == [f"{data.name}/a1.csv", f"{data.name}/a2.csv"]


def test_a_full_quota_says_so(site: SftpSite, data: VFolderOfAlice, big: Path) -> None:
    """The client is told which limit, what arrived stays, and nothing is reserved after it."""
    site.manager("PATCH", f"/vfgateway/v1/vfolders/{data.vfid.rpartition('/')[2]}", {"limit_bytes": 1 << 20})
    done = site.sftp(f"put {big} {data.name}/big", check=False)
    assert done.returncode == 1
    assert "quota" in done.stderr
    size = (data.root / "big").stat().st_size
    assert 0 < size <= 1 << 20
    assert data.charged == (size, 1)
    site.sftp(f"rm {data.name}/big\nput /etc/hostname {data.name}/h")
    table = site.sftp(f"df {data.name}").stdout.splitlines()[-1].split()
    assert int(table[0]) == 1024


@pytest.mark.parametrize("cipher", ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr"])
@pytest.mark.parametrize("limit", ["none", "1M"])
def test_every_cipher_with_new_keys_all_the_time(
    site: SftpSite, data: VFolderOfAlice, big: Path, tmp_path: Path, cipher: str, limit: str
) -> None:
    """What was asked for comes through each, also while keys are exchanged after every megabyte."""
    options = [f"-oCiphers={cipher}", *([] if limit == "none" else [f"-oRekeyLimit={limit}"])]
    site.sftp(f"put {big} {data.name}/big\nget {data.name}/big {tmp_path}/back", *options)
    assert (tmp_path / "back").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "mac", ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"]
)
def test_every_mac(site: SftpSite, data: VFolderOfAlice, big: Path, mac: str) -> None:
    """Beside a cipher that needs one."""
    site.sftp(f"put {big} {data.name}/big", "-oCiphers=aes128-ctr", f"-oMACs={mac}")
    assert (data.root / "big").read_bytes() == CONTENT


@pytest.mark.parametrize("algorithm", ["ssh-ed25519", "rsa-sha2-256", "rsa-sha2-512"])
def test_every_host_key(site: SftpSite, algorithm: str) -> None:
    """Both keys serve; they are kept from others, and SHA-1 is not offered."""
    site.sftp("pwd", f"-oHostKeyAlgorithms={algorithm}")
    keys = site.data_dir / "hostkeys"
    assert {stat.S_IMODE((keys / f"ssh_host_{kind}_key").stat().st_mode) for kind in ("rsa", "ed25519")} == {0o600}
    assert site.sftp("pwd", "-oHostKeyAlgorithms=ssh-rsa", check=False).returncode != 0


def test_there_is_no_shell_and_nothing_is_forwarded(site: SftpSite) -> None:
    """A friendly word for whoever tries."""
    done = run(["ssh", *site.ssh_options("-T"), "alice@127.0.0.1"], check=False)
    assert (done.returncode, "SFTP" in done.stdout) == (1, True)
    assert site.ssh("ls", check=False).returncode == 127
    refused = run(["ssh", *site.ssh_options("-W", "127.0.0.1:1"), "alice@127.0.0.1"], check=False)
    assert refused.returncode != 0


def test_sums_and_space_by_command(site: SftpSite, data: VFolderOfAlice) -> None:
    """What rclone and Cyberduck run."""
    (data.root / "a b").write_bytes(b"hello")
    for name in ("md5", "sha1", "sha256"):
        said = site.ssh(f"{name}sum '{data.name}/a b'").stdout
        assert said == f"{hashlib.new(name, b'hello').hexdigest()}  {data.name}/a b\n"
        empty = run(["ssh", *site.ssh_options(), "alice@127.0.0.1", f"{name}sum"], text="abc").stdout
        assert empty == f"{hashlib.new(name, b'abc').hexdigest()}  -\n"
    assert site.ssh(f"md5sum {data.name}/none", check=False).returncode == 1
    assert int(site.ssh(f"df -k /{data.name}").stdout.splitlines()[1].split()[3]) > 0


# --- logging in ---


def test_password_and_prompt(site: SftpSite) -> None:
    """Both lead in, and a wrong one does not."""
    with connect(site) as client:
        assert client.open_sftp().listdir("/")
    transport = paramiko.Transport(("127.0.0.1", site.sftp_port))
    try:
        transport.connect()
        transport.auth_interactive(ALICE[0], lambda title, text, prompts: [ALICE[1] for _ in prompts])
        assert transport.is_authenticated()
    finally:
        transport.close()
    with pytest.raises(paramiko.AuthenticationException):
        connect(site, password="wrong")


def test_a_key_that_nobody_knows(site: SftpSite, tmp_path: Path) -> None:
    """Does not lead in, and neither does a good one under another name."""
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"])
    stranger = [*OPTIONS, f"-oIdentityFile={tmp_path}/other", f"-oPort={site.sftp_port}"]
    assert run(["sftp", *stranger, "-b", "-", "alice@127.0.0.1"], check=False).returncode != 0
    assert run(["sftp", *site.ssh_options(), "-b", "-", "bob@127.0.0.1"], check=False).returncode != 0


# --- paramiko ---


def test_paramiko_in_place(site: SftpSite, data: VFolderOfAlice) -> None:
    """Read and write on one handle, holes, appending, exclusive creation, truncating by path."""
    with connect(site) as client:
        sftp = client.open_sftp()
        sftp.chdir(f"/{data.name}")
        with sftp.open("a", "w+") as file:
            file.write(b"0123456789")
            file.seek(100)
            file.write(b"end")
            file.seek(5)
            assert file.read(10) == b"56789" + bytes(5)
            file.truncate(101)
            assert file.stat().st_size == 101
        with sftp.open("a", "a") as file:
            file.write(b"!")
        assert (data.root / "a").read_bytes() == b"0123456789" + bytes(90) + b"e!"
        with pytest.raises(OSError):
            sftp.open("a", "wx")
        sftp.truncate("a", 3)
        assert (data.root / "a").read_bytes() == b"012"
        assert data.charged == (3, 1)
        with pytest.raises(OSError):
            sftp.rename("a", f"/{data.name}/../nowhere/a")
        (data.root / "b").touch()
        with pytest.raises(OSError):
            sftp.rename("a", "b")
        sftp.posix_rename("a", "b")
        assert sftp.listdir() == ["b"]
        with pytest.raises(FileNotFoundError):
            sftp.stat("a")


def test_paramiko_asks_for_everything_at_once(site: SftpSite, data: VFolderOfAlice, tmp_path: Path) -> None:
    """Its default ``get`` brings the file, and rekeying in between harms nothing."""
    content = CONTENT * 8
    (data.root / "large").write_bytes(content)
    with connect(site) as client:
        transport = client.get_transport()
        assert transport is not None
        transport.packetizer.REKEY_BYTES = 8 << 20
        client.open_sftp().get(f"/{data.name}/large", str(tmp_path / "large"))
    assert (tmp_path / "large").read_bytes() == content


def test_a_write_of_paramiko_goes_in_one_message(site: SftpSite) -> None:
    """32 KiB, its head, and what paramiko keeps free: of two messages, its kernel would hold the second back until ours acknowledges
    the first, which takes 40 ms as long as there is nothing to answer."""
    with connect(site) as client:
        channel = client.open_sftp().get_channel()
        assert channel is not None
        assert channel.out_max_packet_size >= 32768 + 29 + 64


def test_verification_by_check_file(site: SftpSite, data: VFolderOfAlice) -> None:
    """The digest of a file, by an extension."""
    (data.root / "a").write_bytes(b"hello")
    with connect(site) as client, client.open_sftp().open(f"/{data.name}/a") as file:
        assert file.check("sha256") == hashlib.sha256(b"hello").digest()


def test_parallel_transfers_on_one_connection(site: SftpSite, data: VFolderOfAlice, tmp_path: Path) -> None:
    """Several channels, several files each, all at once."""
    with connect(site) as client:
        channels = [client.open_sftp() for _ in range(4)]
        files = [channel.open(f"/{data.name}/{number}", "w") for number, channel in enumerate(channels)]
        for start in range(0, len(CONTENT), 300_000):
            for file in files:
                file.set_pipelined(True)
                file.write(CONTENT[start : start + 300_000])
        for file in files:
            file.close()
    assert all((data.root / str(number)).read_bytes() == CONTENT for number in range(4))

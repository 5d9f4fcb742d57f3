"""A vfolder mounted by sshfs, used as people use a file system; and clients that synchronise."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from tests.support.process import ALICE, GatewayProcess, VFolderOfAlice, eventually
from tests.support.sftp import SftpSite, run

#: Beside the interpreter, where the wheel puts it.
RCLONE = Path(sys.executable).parent / "rclone"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpSite]:
    """A running gateway whose user alice has a key."""
    site = SftpSite(tmp_path_factory.mktemp("sftp"))
    with GatewayProcess(site):
        site.populate(name="mine")
        site.admit_key()
        yield site


@pytest.fixture
def data(site: SftpSite, request: pytest.FixtureRequest) -> VFolderOfAlice:
    """A vfolder of the test's own."""
    return site.populate(name=f"m-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}")


@pytest.fixture
def mount(site: SftpSite, data: VFolderOfAlice, tmp_path: Path) -> Iterator[Path]:
    """The vfolder, mounted by sshfs."""
    place = tmp_path / "mount"
    place.mkdir()
    options = [word.replace("-o", "", 1) for word in site.ssh_options()]
    run(["sshfs", f"alice@127.0.0.1:/{data.name}", place, *(f"-o{option}" for option in options)])
    try:
        yield place
    finally:
        run(["fusermount3", "-u", "-z", place])


def _tree(place: Path) -> Path:
    tree = place / "tree"
    (tree / "sub/deeper").mkdir(parents=True)
    chosen = random.Random(7)
    for number in range(30):
        (tree / "sub" / f"file {number}").write_bytes(chosen.randbytes(number * 1000))
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    (tree / "link").symlink_to("sub/file 3")
    return tree


def test_git_tar_and_rsync_on_a_mount(mount: Path, data: VFolderOfAlice, tmp_path: Path) -> None:
    """A clone that git finds whole, an archive unpacked with modes and links, a tree brought up to date in place."""
    tree = _tree(tmp_path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    run([*git, "init", "-q", tree])
    run([*git, "-C", tree, "add", "."])
    run([*git, "-C", tree, "commit", "-q", "-m", "first"])
    run(
        ["git", "clone", "-q", "--no-hardlinks", tree, mount / "clone"],
        environ={"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"},
    )
    run(["git", "-c", "safe.directory=*", "-C", mount / "clone", "fsck", "--strict"])
    run(["tar", "-C", tmp_path, "--exclude=.git", "-cf", tmp_path / "t.tar", "tree"])
    run(["tar", "-C", mount, "--no-same-owner", "-xf", tmp_path / "t.tar"])
    assert run(["diff", "-r", "-x", ".git", tree, data.root / "tree"]).stdout == ""
    assert os.access(data.root / "tree/run", os.X_OK)
    (tree / "sub/file 9").write_bytes(b"changed" * 999)
    run(["rsync", "-r", "--links", "--times", "--inplace", "--exclude=.git", f"{tree}/", f"{mount}/tree/"])
    assert (data.root / "tree/sub/file 9").read_bytes() == b"changed" * 999


def test_work_in_a_repository_on_a_mount(mount: Path, data: VFolderOfAlice) -> None:
    """Commits, branches, a merge, packing: git locks by exclusive creation and publishes by rename all the while."""
    options = ["user.name=a", "user.email=a@example.org", "safe.directory=*", "init.defaultBranch=main"]
    git = ["git", *(word for option in options for word in ("-c", option)), "-C", str(mount / "work")]
    (mount / "work").mkdir()
    run([*git, "init", "-q"])
    for number in range(5):
        (mount / "work" / f"f{number}").write_text("line\n" * number)
        run([*git, "add", "."])
        run([*git, "commit", "-q", "-m", f"number {number}"])
    run([*git, "checkout", "-q", "-b", "side", "HEAD~2"])
    (mount / "work/side").write_text("side\n")
    run([*git, "add", "."])
    run([*git, "commit", "-q", "-m", "side"])
    run([*git, "checkout", "-q", "main"])
    run([*git, "merge", "-q", "-m", "both", "side"])
    run([*git, "gc", "-q", "--prune=now"])
    run([*git, "fsck", "--strict"])
    assert run([*git, "status", "--porcelain"]).stdout == ""
    assert sorted(path.name for path in (data.root / "work").iterdir() if path.is_file()) == [
        *(f"f{number}" for number in range(5)),
        "side",
    ]


def test_a_lost_upload_is_continued_on_a_mount(site: SftpSite, mount: Path, data: VFolderOfAlice) -> None:
    """``tail >> .uploads/NAME``, as in a shell."""
    content = random.Random(3).randbytes(2_000_003)
    url = data.upload_url("big.iso", len(content))
    head = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    assert site.http.patch(url, data=content[:700_001], headers=head).status_code == 204
    (name,) = (path.name for path in (mount / ".uploads").iterdir())
    assert (mount / ".uploads" / name).stat().st_size == 700_001
    with (mount / ".uploads" / name).open("ab", buffering=0) as file:
        for at in range(700_001, len(content), 100_000):
            file.write(content[at : at + 100_000])
    assert (data.root / "big.iso").read_bytes() == content
    assert data.charged == (len(content), 1)


def test_an_editor_saves_by_rename(mount: Path, data: VFolderOfAlice) -> None:
    """Write beside, sync, rename over; a backup is kept by a second name or a rename."""
    (mount / "text").write_text("one")
    for version in range(5):
        with (mount / ".text.swp").open("x") as file:
            file.write(f"version {version}")
            file.flush()
            os.fsync(file.fileno())
        (mount / "text").replace(mount / "text~")
        (mount / ".text.swp").replace(mount / "text")
    assert (data.root / "text").read_text() == "version 4"
    assert (data.root / "text~").read_text() == "version 3"
    assert sorted(path.name for path in mount.iterdir()) == ["text", "text~"]


def test_random_operations_on_a_mount(mount: Path, data: VFolderOfAlice) -> None:
    """What ``fsx`` does: writes, reads, cuts and extensions anywhere, against a model."""
    chosen = random.Random(42)
    model = bytearray()
    with (mount / "fsx").open("wb+", buffering=0) as file:
        for _ in range(400):
            what, at, count = chosen.randrange(5), chosen.randrange(200_000), chosen.randrange(1, 60_000)
            if what < 2:
                content = chosen.randbytes(count)
                if len(model) < at:
                    model.extend(bytes(at - len(model)))
                model[at : at + count] = content
                os.pwrite(file.fileno(), content, at)
            elif what == 2:
                os.ftruncate(file.fileno(), at)
                del model[at:]
                model.extend(bytes(at - len(model)))
            else:
                assert os.pread(file.fileno(), count, at) == model[at : at + count]
    assert (data.root / "fsx").read_bytes() == model
    eventually(lambda: data.charged == (len(model), 1), "the ledger agrees once the mount has let go of the file")


def test_a_mount_shows_the_quota(site: SftpSite, mount: Path, data: VFolderOfAlice) -> None:
    """``df`` tells what the limit leaves, and a write beyond it fails."""
    site.manager("PATCH", f"/vfgateway/v1/vfolders/{data.vfid.rpartition('/')[2]}", {"limit_bytes": 1 << 20})
    space = shutil.disk_usage(mount)
    assert space.total == 1 << 20
    with pytest.raises(OSError), (mount / "big").open("wb") as file:
        file.write(bytes(2 << 20))
    assert data.charged[0] <= 1 << 20


def test_lftp_mirrors_both_ways(site: SftpSite, data: VFolderOfAlice, tmp_path: Path) -> None:
    """With several connections at once; a second run finds nothing to do."""
    tree = _tree(tmp_path)
    (tree / "link").unlink()
    program = " ".join(["ssh", "-a", "-x", *site.ssh_options()])
    head = f"set sftp:connect-program '{program}'; set net:max-retries 1; open -p {site.sftp_port} sftp://alice:x@127.0.0.1; "
    run(["lftp", "-c", f"{head} mirror -R --parallel=3 {tree} {data.name}/tree"])
    assert run(["diff", "-r", tree, data.root / "tree"]).stdout == ""
    run(["lftp", "-c", f"{head} mirror --parallel=3 {data.name}/tree {tmp_path}/back"])
    assert run(["diff", "-r", tree, tmp_path / "back"]).stdout == ""
    again = run(["lftp", "-c", f"{head} mirror -R --verbose {tree} {data.name}/tree"])
    assert "Transferring" not in again.stdout
    (tree / "run").unlink()
    run(["lftp", "-c", f"{head} mirror -R --delete {tree} {data.name}/tree"])
    assert run(["diff", "-r", tree, data.root / "tree"]).stdout == ""


def test_lftp_goes_on_with_halves(site: SftpSite, data: VFolderOfAlice, tmp_path: Path) -> None:
    """``put -c`` and ``get -c``, and one file fetched in several pieces at once by ``pget``."""
    content = random.Random(4).randbytes(3_000_001)
    (tmp_path / "local").write_bytes(content)
    (data.root / "up").write_bytes(content[:1_000_001])
    (tmp_path / "down").write_bytes(content[:1_999_999])
    program = " ".join(["ssh", "-a", "-x", *site.ssh_options()])
    head = f"set sftp:connect-program '{program}'; set net:max-retries 1; open -p {site.sftp_port} sftp://alice:x@127.0.0.1; "
    script = f"put -c {tmp_path}/local -o {data.name}/up; get -c {data.name}/up -o {tmp_path}/down"
    run(["lftp", "-c", f"{head} {script}; pget -n 4 {data.name}/up -o {tmp_path}/pieces"])
    assert (data.root / "up").read_bytes() == (tmp_path / "down").read_bytes() == content
    assert (tmp_path / "pieces").read_bytes() == content


def test_rclone_syncs_checks_and_hashes(site: SftpSite, data: VFolderOfAlice, tmp_path: Path) -> None:
    """It finds the commands for digests by itself; a second sync transfers nothing; free space is told."""
    tree = _tree(tmp_path)
    (tree / "link").unlink()
    remote = f":sftp:/{data.name}/tree"
    options = ["--config", "/dev/null", "--sftp-host", "127.0.0.1", "--sftp-port", str(site.sftp_port), "--sftp-user", "alice",
               "--sftp-key-file", str(site.key), "--sftp-shell-type", "unix"]  # fmt: skip
    run([RCLONE, *options, "sync", "--create-empty-src-dirs", tree, remote])
    assert run(["diff", "-r", tree, data.root / "tree"]).stdout == ""
    run([RCLONE, *options, "check", tree, remote])
    again = run([RCLONE, *options, "-v", "sync", "--create-empty-src-dirs", tree, remote])
    assert "There was nothing to transfer" in again.stderr
    sums = run([RCLONE, *options, "--checkers", "1", "sha1sum", remote]).stdout
    assert hashlib.sha1((tree / "sub/file 5").read_bytes()).hexdigest() in sums
    damaged = bytearray((data.root / "tree/sub/file 5").read_bytes())
    damaged[1000] ^= 1  # of the same size: only a digest tells
    (data.root / "tree/sub/file 5").write_bytes(damaged)
    os.utime(data.root / "tree/sub/file 5", ns=(0, (tree / "sub/file 5").stat().st_mtime_ns))
    differing = run([RCLONE, *options, "check", tree, remote], check=False)
    assert differing.returncode != 0
    assert "1 differences found" in differing.stderr
    run([RCLONE, *options, "sync", "--checksum", tree, remote])
    run([RCLONE, *options, "check", "--download", tree, remote])
    assert "Free" in run([RCLONE, *options, "about", f":sftp:/{data.name}"]).stdout


async def _with_asyncssh(site: SftpSite, data: VFolderOfAlice, tree: Path, back: Path) -> None:
    login = {"username": ALICE[0], "password": ALICE[1], "known_hosts": None, "client_keys": None}
    async with asyncssh.connect("127.0.0.1", site.sftp_port, config=None, **login) as connection:
        async with connection.start_sftp_client() as sftp:
            await sftp.put(str(tree), f"/{data.name}/tree", recurse=True, preserve=True)
            await sftp.get(f"/{data.name}/tree", str(back), recurse=True, preserve=True)
            assert (await sftp.statvfs(f"/{data.name}")).bavail > 0
            await sftp.posix_rename(f"/{data.name}/tree/run", f"/{data.name}/tree/sub/run")
            await sftp.rmtree(f"/{data.name}/tree")
        assert (await connection.run("pwd")).stdout == "/\n"


def test_asyncssh_copies_trees(site: SftpSite, data: VFolderOfAlice, tmp_path: Path) -> None:
    """Recursively, with times, many requests under way; then removes everything."""
    import asyncio

    tree = _tree(tmp_path)
    asyncio.run(_with_asyncssh(site, data, tree, tmp_path / "back"))
    assert run(["diff", "-r", tree, tmp_path / "back"]).stdout == ""
    assert data.charged == (0, 0)


def test_scp_copies_trees(site: SftpSite, data: VFolderOfAlice, tmp_path: Path) -> None:
    """As it is today, by SFTP: both ways, with times and modes."""
    tree = _tree(tmp_path)
    (tree / "link").unlink()
    site.scp("-rp", str(tree), f"HOST:/{data.name}/")
    assert run(["diff", "-r", tree, data.root / "tree"]).stdout == ""
    site.scp("-rp", f"HOST:{data.name}/tree", str(tmp_path / "back"))
    assert run(["diff", "-r", tree, tmp_path / "back"]).stdout == ""
    for copied in (data.root / "tree/run", tmp_path / "back/run"):
        assert int(copied.stat().st_mtime) == int((tree / "run").stat().st_mtime)
        assert copied.stat().st_mode & 0o777 == 0o755


def test_scp_of_old(site: SftpSite, data: VFolderOfAlice, tmp_path: Path) -> None:
    """``scp -O``, the protocol before SFTP: files and trees, both ways, with times."""
    tree = _tree(tmp_path)
    (tree / "link").unlink()
    site.scp("-O", "-rp", str(tree), f"HOST:/{data.name}/")
    assert run(["diff", "-r", tree, data.root / "tree"]).stdout == ""
    site.scp("-O", "-rp", f"HOST:{data.name}/tree", str(tmp_path / "back"))
    assert run(["diff", "-r", tree, tmp_path / "back"]).stdout == ""
    assert int((tmp_path / "back/run").stat().st_mtime) == int((tree / "run").stat().st_mtime)
    done = subprocess.run(
        ["scp", "-O", *site.ssh_options(), f"alice@127.0.0.1:{data.name}/none", str(tmp_path)], capture_output=True
    )
    assert done.returncode == 1

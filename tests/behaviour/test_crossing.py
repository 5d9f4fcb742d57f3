"""One truth under every protocol: what goes in by one door is seen, limited, locked and continued by all others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.behaviour.doors import DOORS, DavDoor, Door, EveryDoor, HttpDoor, Refused, SftpDoor, TusDoor
from tests.support.process import PATIENCE, GatewayProcess, VFolderOfAlice

MIB = 1 << 20
CONTENT = os.urandom(3 * MIB + 1)
PATCH = '<propertyupdate xmlns="DAV:"><set><prop><n xmlns="http://example.org/">kept</n></prop></set></propertyupdate>'


@contextlib.contextmanager
def all_doors(site: EveryDoor, data: VFolderOfAlice) -> Iterator[list[Door]]:
    """Alice's client at each."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(kind(site, data)) for kind in DOORS]


@pytest.fixture
def doors(site: EveryDoor, data: VFolderOfAlice) -> Iterator[list[Door]]:
    """See :func:`all_doors`."""
    with all_doors(site, data) as doors:
        yield doors


def test_what_one_writes_all_read(site: EveryDoor, doors: list[Door], data: VFolderOfAlice, dav: DavDoor) -> None:
    """Each file, however it came, is the same by every door, and its entity tag too."""
    for writer in doors:
        writer.put(writer.name, writer.name.encode() * 1000)
        for reader in doors:
            assert reader.get(writer.name) == writer.name.encode() * 1000
            assert reader.list()[writer.name].size == len(writer.name) * 1000
        by_dav = dav.ask("HEAD", dav.url(writer.name)).headers["ETag"]
        with HttpDoor(site, data) as http:
            assert http.ask("HEAD", http.url(writer.name)).headers["ETag"] == by_dav
    assert data.charged == (sum(len(door.name) * 1000 for door in doors), len(doors))


def test_what_one_replaces_all_see(doors: list[Door], data: VFolderOfAlice) -> None:
    """Also where it is longer or shorter than before, and changed in place."""
    for number, writer in enumerate(doors * 2):
        content = bytes([number]) * (1000 * (7 - number) + 1)
        writer.put("f", content)
        assert [reader.get("f") for reader in doors] == [content] * len(doors)
        assert data.charged == (len(content), 1)


def test_one_limit_for_all(site: EveryDoor, doors: list[Door], data: VFolderOfAlice, dav: DavDoor) -> None:
    """Each takes its share of what is allowed; then none takes a byte more, each says what is left, and what one removes another has."""
    site.limit(data, limit_bytes=1000 * len(doors))
    for door in doors:
        door.put(door.name, b"x" * 1000)
    for door in doors:
        with pytest.raises(Refused, match="quota"):
            door.put("more", b"x")
        if door.grows:
            door.remove("more")
    assert data.charged == (1000 * len(doors), len(doors))
    asked = '<propfind xmlns="DAV:"><prop><quota-available-bytes/></prop></propfind>'
    assert "quota-available-bytes>0<" in dav.ask("PROPFIND", dav.url(""), asked, Depth="0").text
    assert site.sftp(f"df {data.name}").stdout.splitlines()[-1].split()[2] == "0"
    for door in doors:
        doors[0].remove(door.name)
        door.put("again", b"y" * 1000)
        door.remove("again")
        door.put(door.name, b"y" * 1000)


def test_a_lock_by_webdav_binds_openssh(site: EveryDoor, data: VFolderOfAlice, dav: DavDoor, tmp_path: Path) -> None:
    """``put``, ``rename``, ``rm`` and mkdir of the real client are refused; where it shows reasons, it says who and until when."""
    (tmp_path / "local").write_bytes(b"new")
    site.let_in("bob", data, "rwd")
    dav.make_dir("d")
    dav.put("d/f", b"old")
    with dav.of("bob") as theirs:
        theirs.lock("d")
        for line in ("rm d/f", "rename d/f g", "rename d e", "mkdir d/sub", f"put {tmp_path}/local d/new", "rmdir d"):
            assert site.sftp(f"cd {data.name}\n{line}\n", check=False).returncode == 1, line
        begun = site.sftp(f"put {tmp_path}/local {data.name}/free", check=False)
        assert begun.returncode == 0
    assert dav.get("d/f") == b"old"
    assert set(dav.list("d")) == {"f"}


def test_a_lock_taken_during_an_upload_ends_it(site: EveryDoor, data: VFolderOfAlice, dav: DavDoor) -> None:
    """Of SFTP: the write after it is refused with the name of who has it, and what was written before stays."""
    site.let_in("bob", data, "rwd")
    with SftpDoor(site, data) as sftp, dav.of("bob") as theirs:
        sending = sftp.begin("f", 2 * MIB)
        sending.send(b"1" * MIB)
        token = theirs.lock("f")
        with pytest.raises(Refused, match="locked by bob: f, until 2") as said:
            sending.send(b"2" * MIB)
        assert said.value.why == "locked"
        theirs.unlock("f", token)
        sending.send(b"3" * MIB)
        sending.finish()
        assert theirs.get("f") == b"1" * MIB + b"3" * MIB


def test_a_lock_taken_during_an_upload_that_is_not_seen(site: EveryDoor, data: VFolderOfAlice, dav: DavDoor) -> None:
    """Of HTTP and tus: what would be published under somebody else's lock is refused at the end."""
    site.let_in("bob", data, "rwd")
    for kind in (HttpDoor, TusDoor):
        with kind(site, data) as door, dav.of("bob") as theirs:
            door.put("f", b"old")
            sending = door.begin("f", 2)
            sending.send(b"1")
            token = theirs.lock("f")
            sending.send(b"2")
            with pytest.raises(Refused) as said:
                sending.finish()
            assert said.value.why == "locked"
            assert door.get("f") == b"old"
            theirs.unlock("f", token)


def test_properties_follow_a_rename_by_sftp(site: EveryDoor, data: VFolderOfAlice, dav: DavDoor) -> None:
    """What WebDAV keeps with a file goes along when another door moves it, and ends when another door removes it."""
    dav.put("a", b"x")
    dav.ask("PROPPATCH", dav.url("a"), PATCH)
    with SftpDoor(site, data) as sftp:
        sftp.rename("a", "b")
        assert "kept" in dav.ask("PROPFIND", dav.url("b"), Depth="0").text
        sftp.remove("b")
        sftp.put("b", b"y")
    assert "kept" not in dav.ask("PROPFIND", dav.url("b"), Depth="0").text


def test_locks_and_properties_survive_a_crash(tmp_path: Path) -> None:
    """After ``kill -9`` they are there, and the lock still binds every door."""
    site = EveryDoor(tmp_path / "site")
    with GatewayProcess(site) as process:
        data = site.populate()
        site.let_in("bob", data, "rwd")
        with DavDoor(site, data, "bob") as theirs:
            theirs.put("f", b"old")
            theirs.ask("PROPPATCH", theirs.url("f"), PATCH)
            token = theirs.lock("f")
            process.kill()
            process.start()
            with all_doors(site, data) as doors:
                for door in doors:
                    with pytest.raises(Refused) as said:
                        door.put("f", b"new")
                    assert said.value.why == "locked"
            told = theirs.ask("PROPFIND", theirs.url("f"), Depth="0").text
            assert "kept" in told
            assert token.strip("<>") in told
            theirs.ask("PUT", theirs.url("f"), b"new", If=f"({token})")


# --- an upload that one door began is continued by another --------------------------------------------------


def _begin_and_lose(site: EveryDoor, data: VFolderOfAlice, path: str, sent: int) -> None:
    with TusDoor(site, data) as tus:
        sending = tus.begin(path, len(CONTENT))
        sending.send(CONTENT[:sent])
        sending.cut()


def _shown(site: EveryDoor, data: VFolderOfAlice) -> dict[str, int]:
    """Names and sizes in ``.uploads``, by OpenSSH."""
    lines = site.sftp(f"ls -ln {data.name}/.uploads").stdout.splitlines()[1:]
    return {Path(line.split()[-1]).name: int(line.split()[4]) for line in lines}


@pytest.mark.parametrize("sent", [1, 65_536, MIB + 7, len(CONTENT) - 1])
def test_what_tus_lost_reput_brings_to_its_end(
    site: EveryDoor, data: VFolderOfAlice, dav: DavDoor, tmp_path: Path, sent: int
) -> None:
    """By OpenSSH's own client; nobody sees the file before, and all do after. It is charged once."""
    (tmp_path / "local").write_bytes(CONTENT)
    _begin_and_lose(site, data, "sub/big.iso", sent)
    (name,) = _shown(site, data)
    assert name.startswith("big.iso-")
    assert ".uploads" not in site.sftp(f"ls -1a {data.name}").stdout
    assert dav.list() == {}
    site.sftp(f"reput {tmp_path}/local {data.name}/.uploads/{name}")
    assert dav.get("sub/big.iso") == CONTENT
    assert _shown(site, data) == {}
    assert data.charged == (len(CONTENT), 2)


def test_what_a_resumable_put_lost_reput_goes_on_with(site: EveryDoor, data: VFolderOfAlice, tmp_path: Path) -> None:
    """The IETF's, of which nobody has told the length: renaming it out of there is its end."""
    (tmp_path / "local").write_bytes(CONTENT)
    with HttpDoor(site, data) as http:
        where = f"{site.client_url}/vfgateway/v1/uploads?vfolder={data.name}&path=big.iso"
        # ``requests`` takes the first interim answer for the last one, and would not wait until this has been stored.
        fields = {"Upload-Complete": "?0", "Upload-Draft-Interop-Version": "6"}
        made = httpx.post(where, content=CONTENT[:MIB], headers=fields, auth=http.login, timeout=PATIENCE)
        assert (made.status_code, made.headers["Upload-Offset"]) == (201, str(MIB))
        (name,) = _shown(site, data)
        site.sftp(f"reput {tmp_path}/local {data.name}/.uploads/{name}")
        assert _shown(site, data) == {name: len(CONTENT)}
        assert http.list() == {}
        site.sftp(f"rename {data.name}/.uploads/{name} {data.name}/big.iso")
        assert http.get("big.iso") == CONTENT
    assert data.charged == (len(CONTENT), 1)


def test_it_goes_from_door_to_door(site: EveryDoor, data: VFolderOfAlice, tmp_path: Path) -> None:
    """tus begins, SFTP goes on and is cut, tus asks how far it is and ends it."""
    with TusDoor(site, data) as tus, SftpDoor(site, data) as sftp:
        made = tus.begin_at("big.iso", len(CONTENT))
        tus.patch(made, 0, CONTENT[:MIB])
        (name,) = _shown(site, data)
        sending = sftp.begin(f".uploads/{name}", 0, MIB)
        sending.send(CONTENT[MIB : 2 * MIB])
        sending.cut()
        assert int(tus.ask("HEAD", made, Tus_Resumable="1.0.0").headers["Upload-Offset"]) == 2 * MIB
        assert _shown(site, data) == {name: 2 * MIB}
        tus.patch(made, 2 * MIB, CONTENT[2 * MIB :])
        assert sftp.get("big.iso") == CONTENT


def test_a_lock_refuses_the_end_of_it(site: EveryDoor, data: VFolderOfAlice, dav: DavDoor, tmp_path: Path) -> None:
    """The client of OpenSSH prints who holds it; released, renaming it out brings it to its end."""
    (tmp_path / "local").write_bytes(CONTENT)
    site.let_in("bob", data, "rwd")
    _begin_and_lose(site, data, "big.iso", MIB)
    (name,) = _shown(site, data)
    with dav.of("bob") as theirs:
        token = theirs.lock("big.iso")
        done = site.sftp(f"reput {tmp_path}/local {data.name}/.uploads/{name}", check=False)
        assert done.returncode == 1
        assert "locked by bob: big.iso, until 2" in done.stderr
        theirs.unlock("big.iso", token)
    assert _shown(site, data) == {name: len(CONTENT)}
    site.sftp(f"rename {data.name}/.uploads/{name} {data.name}/renamed.iso")
    assert dav.get("renamed.iso") == CONTENT
    assert _shown(site, data) == {}


def test_removing_it_gives_its_room_back(site: EveryDoor, data: VFolderOfAlice) -> None:
    """And tus is told that it is gone."""
    site.limit(data, limit_bytes=len(CONTENT))
    with TusDoor(site, data) as tus:
        made = tus.begin_at("big.iso", len(CONTENT))
        tus.patch(made, 0, CONTENT[:MIB])
        with pytest.raises(Refused) as said:
            tus.put("other", b"x")
        assert said.value.why == "quota"
        (name,) = _shown(site, data)
        site.sftp(f"rm {data.name}/.uploads/{name}")
        assert data.charged == (0, 0)
        with pytest.raises(Refused):
            tus.patch(made, MIB, CONTENT[MIB:])
        tus.put("other", b"x")

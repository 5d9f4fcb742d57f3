"""A real Ceph in a folder of its own: a monitor, a storage daemon in memory, a metadata server, and file systems mounted by ceph-fuse. It has no
manager daemon, which needs more memory than all the rest and tells no more than how full a pool is."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from uuid import uuid4

from tests.support.process import eventually, free_port

_CONFIG = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]
public network = 127.0.0.0/8
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv4 = true
ms bind ipv6 = false
ms bind port min = {low}
ms bind port max = {high}
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {folder}/keyring
pid file =
admin socket = {folder}/run/$cluster-$name.$pid.asok
log file = {folder}/log/$name.log
run dir = {folder}/run
crash dir = {folder}/log
plugin dir = /usr/lib/ceph
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
osd crush update on start = true
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon warn on pool no redundancy = false
mon warn on insecure global id reclaim = false
mon warn on insecure global id reclaim allowed = false
mon data avail crit = 1
mon data avail warn = 2
[mon.a]
mon data = {folder}/mon
[osd.0]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 1073741824
osd class update on start = false
[mds.a]
mds data = {folder}/mds
mds cache memory limit = 134217728
mds tick interval = 1
"""
#: What may do what; the monitor takes it all in when its store is made, so that nobody has to be asked for later.
_CAPABILITIES = {
    "mon.": ("mon", "allow *"),
    "client.admin": ("mon", "allow *", "osd", "allow *", "mds", "allow *", "mgr", "allow *"),
    "osd.0": ("mon", "allow profile osd", "mgr", "allow profile osd", "osd", "allow *"),
    "mds.a": ("mon", "allow profile mds", "mgr", "allow profile mds", "osd", "allow rwx", "mds", "allow *"),
}
#: Seconds for the cluster to come up, on a machine that does much else.
_START = 120


class Ceph:
    """One cluster with one file system. Ends with the ``with`` block.

    :ivar keyring: holds the key of ``client.admin``
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "ceph.conf"
        self.keyring = folder / "keyring"
        self._daemons: list[subprocess.Popen[bytes]] = []
        for name in ("mon", "osd", "mds", "run", "log"):
            (folder / name).mkdir(parents=True)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        fsid, disk, low = str(uuid4()), str(uuid4()), random.randrange(21000, 29000)
        ports = {"v1": free_port(), "v2": free_port(), "low": low, "high": low + 300}
        self.config.write_text(_CONFIG.format(folder=self.folder, fsid=fsid, **ports))
        made = ["ceph-authtool", self.keyring, "--create-keyring"]
        for name, capabilities in _CAPABILITIES.items():
            pairs = zip(capabilities[::2], capabilities[1::2], strict=True)
            self._run(*made, "--gen-key", "-n", name, *(word for pair in pairs for word in ("--cap", *pair)))
            made = made[:2]
        address = f"[v2:127.0.0.1:{ports['v2']},v1:127.0.0.1:{ports['v1']}]"
        self._run("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, self.folder / "monmap")
        self._run("ceph-mon", *self._as("a"), "--mkfs", "--monmap", self.folder / "monmap", "--keyring", self.keyring)
        self._daemon("ceph-mon", "a")
        self.tell(f"osd new {disk} 0", "osd pool create meta 8", "osd pool create data 8", "fs new cephfs meta data")
        self._run("ceph-osd", *self._as("0"), "--mkfs", "--osd-uuid", disk)
        self._daemon("ceph-osd", "0")
        self._daemon("ceph-mds", "a")
        eventually(lambda: "up:active" in self.tell("mds stat"), "the metadata server is active", _START)

    def __exit__(self, *exc_info: object) -> None:
        for daemon in self._daemons:  # nothing of it is to be kept
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()

    def tell(self, *commands: str) -> str:
        """Give the cluster commands, one after the other; what it answers. Fails if it refuses one of them."""
        return "".join(
            self._run("ceph", "-c", self.config, "--connect-timeout", "60", *command.split()) for command in commands
        )

    @contextmanager
    def mounted(self, place: Path, directory: str = "/") -> Iterator[Path]:
        """A directory of the file system, mounted at ``place`` by a client of its own."""
        place.mkdir(exist_ok=True)
        options = ["-c", self.config, "-k", self.keyring, "-n", "client.admin", "--client_mountpoint", directory]
        client = subprocess.Popen(
            ["ceph-fuse", "-f", *map(str, options), str(place)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log/fuse.out").open("ab"),
        )

        def there() -> bool:
            assert client.poll() is None, (self.folder / "log/fuse.out").read_text()
            return os.path.ismount(place)

        try:
            eventually(there, "the file system is mounted", _START)
            yield place
        finally:
            subprocess.run(["umount", "--lazy", place], check=False)
            client.kill()  # it would wait for whoever has a file open, and there is nothing to be kept
            client.wait()

    def _as(self, name: str) -> list[str]:
        return ["-c", str(self.config), "-i", name]

    def _daemon(self, program: str, name: str) -> None:
        with (self.folder / f"log/{program}.out").open("wb") as out:
            command = [program, *self._as(name), "-f"]
            self._daemons.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out))

    def _run(self, *command: object) -> str:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=_START)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

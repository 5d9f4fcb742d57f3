"""The kernel's NFS server and a mount of it, on a machine whose kernel has both: a virtual one (:mod:`tests.support.vm`)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Where the server keeps its state; the machine is gone with it afterwards.
_STATE = Path("/var/lib/nfs")


def _do(*command: object) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr}"


class NfsServer:
    """Exports a directory, and mounts it."""

    def __init__(self, exported: Path, place: Path) -> None:
        self.exported = exported
        self.place = place

    def start(self) -> None:
        """Answer."""
        _do("rpc.nfsd", "--no-nfs-version", "3", "--host", "127.0.0.1", 4)

    def stop(self) -> None:
        """Answer nobody any more."""
        _do("rpc.nfsd", 0)

    @contextmanager
    def running(self) -> Iterator[Path]:
        """Exported and mounted, without a client's caches of names and attributes."""
        for folder in (self.exported, self.place):
            folder.mkdir()
        _do("mount", "-t", "tmpfs", "state", _STATE)
        for name in ("v4recovery", "rpc_pipefs", "sm"):
            (_STATE / name).mkdir()
        for name in ("etab", "rmtab", "xtab"):
            (_STATE / name).touch()
        _do("mount", "-t", "tmpfs", "exported", self.exported)
        _do("modprobe", "nfsd")
        _do("mount", "-t", "nfsd", "nfsd", "/proc/fs/nfsd")
        # After a restart, who comes back is waited for: not for long here, where all are known.
        for name in ("nfsv4gracetime", "nfsv4leasetime"):
            Path("/proc/fs/nfsd", name).write_text("10")
        _do("exportfs", "-o", "rw,fsid=0,no_root_squash,no_subtree_check,sync", f"127.0.0.1:{self.exported}")
        _do("rpc.mountd", "--no-nfs-version", "3")
        self.start()
        _do("mount", "-t", "nfs", "-o", "vers=4.2,hard,noac,lookupcache=none", "127.0.0.1:/", self.place)
        try:
            yield self.place
        finally:
            _do("umount", "--lazy", self.place)
            self.stop()

"""The kernel's NFS server and a mount of it, on a machine whose kernel has both: a virtual one (:mod:`tests.support.vm`)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.support.process import eventually

#: Where the server keeps its state; the machine is gone with it afterwards.
_STATE = Path("/var/lib/nfs")
#: Where the kernel's server is set up.
_SWITCHES = Path("/proc/fs/nfsd")


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
        """Exported and mounted, without a client's caches of names and attributes. All is as before at the end, for the next one."""
        for folder in (self.exported, self.place):
            folder.mkdir()
        _do("modprobe", "nfsd")
        with (
            _mounted("tmpfs", _STATE),
            _mounted("tmpfs", self.exported),
            _mounted("nfsd", _SWITCHES),
        ):
            for name in ("v4recovery", "rpc_pipefs", "sm"):
                (_STATE / name).mkdir()
            for name in ("etab", "rmtab", "xtab"):
                (_STATE / name).touch()
            # After a restart, who comes back is waited for: not for long here, where all are known.
            for name in ("nfsv4gracetime", "nfsv4leasetime"):
                (_SWITCHES / name).write_text("10")
            _do("exportfs", "-o", "rw,fsid=0,no_root_squash,no_subtree_check,sync", f"127.0.0.1:{self.exported}")
            mountd = subprocess.Popen(["rpc.mountd", "--foreground", "--no-nfs-version", "3"])
            try:
                eventually(partial(_answers, mountd.pid), "the kernel can ask who may mount")
                self.start()
                with _mounted("nfs", self.place, "127.0.0.1:/", "vers=4.2,hard,noac,lookupcache=none"):
                    yield self.place
            finally:
                self.stop()
                _do("exportfs", "-ua")
                mountd.terminate()
                mountd.wait()


def _answers(mountd: int) -> bool:
    files = [os.path.realpath(each) for each in Path(f"/proc/{mountd}/fd").iterdir()]
    return any(file.endswith("/rpc/nfsd.export/channel") for file in files)


@contextmanager
def _mounted(kind: str, place: Path, source: str = "none", options: str = "defaults") -> Iterator[None]:
    _do("mount", "-t", kind, "-o", options, source, place)
    try:
        yield
    finally:
        _do("umount", "--lazy", place)

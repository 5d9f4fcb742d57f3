"""A virtual machine whose kernel has what that of the test machine may lack: project quota, a kernel NFS server, and the like.

Debian's own kernel runs in qemu without hardware support (TCG), with the root of this machine as its root: read-only below, with a memory disk
above it, so that every program, the virtual environment and the checkout are there under the same paths, and whatever is written is gone at the
end. What is to be kept goes to :data:`OUT`. Programs below /root can be run by everybody there. It boots in a few seconds; what runs in it is ten
times as slow as outside.

The kernel is fetched as a Debian package and unpacked, not installed, once for a machine.
"""

from __future__ import annotations

import fcntl
import lzma
import os
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

#: Where the machine finds the folder that is kept.
OUT: Final = Path("/vm")
#: Where the kernel is kept from one run of the tests to the next.
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vfgateway-tests" / "vm"
#: Commands, and the Debian packages that they come from.
_NEEDED: Final = {
    "qemu-system-x86_64": "qemu-system-x86",
    "depmod": "kmod",
    "modprobe": "kmod",
    "busybox": "busybox-static",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
}
#: What the first steps need, before the modules are within reach.
_EARLY: Final = ("virtio_pci", "virtio_blk", "9pnet_virtio", "9p", "overlay")
_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

_FIRST: Final = r"""#!/bin/sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
for m in $($B cat /order); do $B insmod /m/$m || echo "vm: insmod $m failed"; done
for a in $($B cat /proc/cmdline); do case $a in vm.modules=*) MODULES=${a#*=};; esac; done
O=trans=virtio,version=9p2000.L,msize=512000
$B mount -t 9p -o $O,ro,cache=loose host /ro || echo "vm: the root is not there"
$B mount -t tmpfs -o size=75% tmpfs /rw; $B mkdir /rw/u /rw/w
$B mount -t overlay overlay -o lowerdir=/ro,upperdir=/rw/u,workdir=/rw/w /new
$B mount -t tmpfs tmpfs /new/run; $B mkdir -p /new/run/vm /new/vm
$B cp $B /second /new/run/vm/
$B mount -t 9p -o $O out /new/vm
$B mount -t tmpfs -o mode=1777 tmp /new/tmp
$B mount -t devtmpfs dev /new/dev; $B mkdir -p /new/dev/pts /new/dev/shm
$B mount -t devpts devpts /new/dev/pts; $B mount -t tmpfs -o mode=1777 shm /new/dev/shm
$B mount -t proc proc /new/proc; $B mount -t sysfs sys /new/sys
$B mkdir -p /new/lib/modules; $B mount --bind /ro$MODULES /new/lib/modules
$B umount /proc /sys
exec $B switch_root /new /run/vm/second
"""
_SECOND: Final = r"""#!/run/vm/busybox sh
B=/run/vm/busybox
export HOME=/root TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
$B ip link set lo up
/sbin/modprobe loop
$B chmod 755 /root
/bin/bash /vm/command </dev/null >/vm/output 2>&1
echo $? > /vm/status; $B sync; $B poweroff -f
"""


@attrs.frozen
class Outcome:
    """How a command in the machine ended.

    :ivar status: its exit status; ``None`` if the machine ended before it, or was ended for its time being up
    :ivar output: what it printed
    :ivar console: what the machine's kernel said
    """

    status: int | None
    output: str
    console: str


def is_inside() -> bool:
    """Whether this is such a machine."""
    return Path("/run/vm/second").exists()


def missing() -> list[str]:
    """Debian packages that have to be installed first."""
    return sorted({package for name, package in _NEEDED.items() if shutil.which(name, path=_PATH) is None})


def run(command: Sequence[str], out: Path, timeout: float, memory: int = 1280) -> Outcome:
    """Boot, run ``command`` as root in the present directory, and switch off.

    :param out: a folder of this machine, which the command sees as :data:`OUT`
    :param timeout: seconds
    :param memory: MiB
    """
    lacking = missing()
    assert not lacking, f"a virtual machine is needed; install {' '.join(lacking)} (see docs/testing.md)"
    _prepare()
    (out / "initrd").write_bytes(_archive(_contents()))
    (out / "command").write_text(f"cd {shlex.quote(str(Path.cwd()))}\n{shlex.join(command)}\n", "utf-8")
    with (out / "console").open("wb") as console:
        machine = subprocess.Popen(
            _qemu(out, memory), stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=_environment()
        )
        try:
            machine.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        finally:
            machine.kill()
            machine.wait()
    status = _text(out / "status").strip()
    return Outcome(int(status) if status else None, _text(out / "output"), _text(out / "console"))


def _text(file: Path) -> str:
    return file.read_text("utf-8", "replace") if file.exists() else ""


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": _PATH}


def _qemu(out: Path, memory: int) -> list[str]:
    def shared(name: str, place: Path, tag: str, options: str = "") -> list[str]:
        folder = f"local,id={name},path={place},security_model=none,multidevs=remap{options}"
        return ["-fsdev", folder, "-device", f"virtio-9p-pci,fsdev={name},mount_tag={tag}"]

    return [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"),
        *("-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", str(memory)),
        *("-kernel", str(CACHE / "vmlinux"), "-initrd", str(out / "initrd")),
        *("-chardev", "stdio,id=c,signal=off", "-serial", "chardev:c"),
        *shared("h", Path("/"), "host", ",readonly=on"),
        *shared("o", out, "out"),
        "-append",
        "console=ttyS0 quiet panic=-1 mitigations=off nokaslr no_timer_check random.trust_cpu=on "
        f"vm.modules={CACHE / 'root/lib/modules'}",
    ]


def main() -> None:
    """``python -m tests.support.vm COMMAND…``: for whoever looks for what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(sys.argv[1:], Path(folder), 3600.0)
    print(outcome.output or outcome.console)
    sys.exit(1 if outcome.status is None else outcome.status)


# --- the kernel ---


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _prepare() -> None:
    """Fetch and unpack the kernel, unless that was done before."""
    with _alone(CACHE):
        if not (CACHE / "ready").exists():
            root = CACHE / "root"
            shutil.rmtree(root, ignore_errors=True)
            version = _unpack(root)
            image = root / "boot" / f"vmlinuz-{version}"
            (CACHE / "vmlinux").write_bytes(_uncompressed(image.read_bytes()))
            (CACHE / "ready").write_text(version)


def _unpack(root: Path) -> str:
    """Put the kernel below ``root``; its version."""
    depends = _ask("apt-cache", "depends", "--important", "linux-image-amd64").split()[1:]
    package = next((each for each in depends if each.startswith("linux-image-")), None)
    assert package is not None, "apt knows no linux-image-amd64: run apt-get update"
    with tempfile.TemporaryDirectory() as folder:
        _ask("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package, place=folder)
        (archive,) = Path(folder).glob("*.deb")
        _ask("dpkg-deb", "-x", str(archive), str(root))
    version = package.removeprefix("linux-image-")
    _ask("depmod", "-b", str(root), version)
    return version


def _ask(*command: str, place: str | None = None) -> str:
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, env=_environment())
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
    return done.stdout


def _uncompressed(image: bytes) -> bytes:
    """The kernel inside of a bzImage: emulated, its own unpacking takes long (Documentation/arch/x86/boot.rst)."""
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (image[0x1F1] + 1) * 512 + offset
    return lzma.LZMADecompressor().decompress(image[start : start + length])


def _contents() -> list[tuple[str, int, bytes]]:
    """Of the initial memory disk."""
    root, version = CACHE / "root", (CACHE / "ready").read_text()
    order: list[str] = []
    for module in _EARLY:
        for line in _ask("modprobe", "-d", str(root), "-S", version, "--show-depends", module).splitlines():
            if line.startswith("insmod") and line.split()[1] not in order:
                order.append(line.split()[1])
    busybox = shutil.which("busybox", path=_PATH)
    assert busybox is not None
    return [
        *((name, 0o40755, b"") for name in ("bin", "m", "proc", "sys", "dev", "ro", "rw", "new")),
        *((f"m/{Path(each).name}", 0o100644, Path(each).read_bytes()) for each in order),
        ("bin/busybox", 0o100755, Path(busybox).read_bytes()),
        ("bin/sh", 0o120777, b"busybox"),
        ("init", 0o100755, _FIRST.encode()),
        ("second", 0o100755, _SECOND.encode()),
        ("order", 0o100644, "\n".join(Path(each).name for each in order).encode()),
    ]


def _archive(entries: Sequence[tuple[str, int, bytes]]) -> bytes:
    """A cpio archive in the form that the kernel takes (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    out = bytearray()
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        raw = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        for part in (b"070701" + b"".join(b"%08X" % field for field in fields) + raw, data):
            out += part + b"\0" * (-(len(out) + len(part)) % 4)
    return bytes(out)


if __name__ == "__main__":
    main()

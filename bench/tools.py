"""Foreign programs that the checks and tests use: whether they are here, where, and what to install.

python -m bench.tools         prints the Debian packages of those that are missing, one line, empty if none is
python -m bench.tools tests   the same of those that `make test` uses
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

# Each with the package that Debian and Ubuntu have it in.
PACKAGES = {
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-nbd": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "qemu-system-x86_64": "qemu-system-x86",
    "nbdinfo": "libnbd-bin",
    "nbdcopy": "libnbd-bin",
    "nbdkit": "nbdkit",
    "virsh": "libvirt-clients",
    "libvirtd": "libvirt-daemon",  # by itself it starts nothing: that is libvirt-daemon-system's
    "losetup": "mount",
    "blkdiscard": "util-linux",
    "prlimit": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "ip": "iproute2",
    "tc": "iproute2",
}
# Not a program but a part of QEMU, that reads images by HTTP.
QEMU_CURL = "qemu's curl driver"
# What a guest of the checks is made of.
STATIC_BUSYBOX = "a static busybox"
GUEST_KERNEL = "a kernel for guests"
_NO_PROGRAMS = {
    QEMU_CURL: "qemu-block-extra",
    STATIC_BUSYBOX: "busybox-static",
    GUEST_KERNEL: "linux-image-cloud-amd64",
}
TESTS: Final = (
    *("qemu-img", "qemu-io", "qemu-nbd", "qemu-storage-daemon", "qemu-system-x86_64"),
    *("nbdkit", "nbdinfo", "prlimit", "setpriv", "unshare"),
    *(QEMU_CURL, STATIC_BUSYBOX, GUEST_KERNEL),
)
"""What tests use that `make test` runs; it installs them."""
_ELSEWHERE = os.pathsep.join(("/usr/sbin", "/sbin", "/usr/local/sbin"))
_BOOT = Path("/boot")


def find(program: str) -> str | None:
    """The program's path, also where only root's PATH leads; None if it is not installed."""
    return shutil.which(program) or shutil.which(program, path=_ELSEWHERE)


def missing(*wanted: str) -> str:
    """A sentence that says which of these are missing and what to install; empty if all are here."""
    absent = [each for each in wanted if not _is_here(each)]
    if not absent:
        return ""
    verb = "is" if len(absent) == 1 else "are"
    return f"{' and '.join(absent)} {verb} not installed: apt-get install {' '.join(_packages(absent))}"


def run(program: str, *arguments: str) -> str:
    """Runs it to its end; what it printed. RuntimeError with what it complained about if it fails."""
    done = subprocess.run([find(program) or program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {program} {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout


def guest_kernel() -> Path | None:
    """The newest kernel here that is made for guests, its modules in /lib/modules; None if there is none to be read."""
    kernels = [path for path in _BOOT.glob("vmlinuz-*-cloud-*") if os.access(path, os.R_OK)]
    return max(kernels, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)], default=None)


def static_busybox() -> Path | None:
    """A busybox that needs no library, to be all the programs of a guest; None if there is none."""
    found = find("busybox")
    if found is None:
        return None
    with Path(found).open("rb") as file:
        # A program that wants libraries names who loads them, ahead of all else.
        return None if b"/ld-" in file.read(4096) else Path(found)


def _is_here(wanted: str) -> bool:
    if wanted == GUEST_KERNEL:
        return guest_kernel() is not None
    if wanted == STATIC_BUSYBOX:
        return static_busybox() is not None
    if wanted == QEMU_CURL:
        return _has_curl()
    return find(wanted) is not None


def _has_curl() -> bool:
    if find("qemu-img") is None:
        return False
    # Nobody listens there: with the driver the connection fails, without it the protocol is not known.
    asking = [find("qemu-img") or "", "info", "http://127.0.0.1:1/"]
    done = subprocess.run(asking, capture_output=True, text=True, check=False)
    return "Unknown protocol" not in done.stderr


def _packages(absent: list[str]) -> list[str]:
    return sorted({(PACKAGES | _NO_PROGRAMS)[each] for each in absent})


if __name__ == "__main__":
    everything = TESTS if sys.argv[1:] == ["tests"] else (*PACKAGES, *_NO_PROGRAMS)
    print(*_packages([each for each in everything if not _is_here(each)]))

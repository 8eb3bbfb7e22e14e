"""Foreign programs that the checks use: whether they are here, where, and what to install.

python -m bench.tools   prints the Debian packages of those that are missing, one line, empty if none is
"""

from __future__ import annotations

import os
import shutil
import subprocess

# Each with the package that Debian and Ubuntu have it in.
PACKAGES = {
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "qemu-system-x86_64": "qemu-system-x86",
    "nbdinfo": "libnbd-bin",
    "nbdcopy": "libnbd-bin",
    "losetup": "mount",
    "blkdiscard": "util-linux",
    "ip": "iproute2",
    "tc": "iproute2",
}
# Not a program but a part of QEMU, that reads images by HTTP.
QEMU_CURL = "qemu's curl driver"
_CURL_PACKAGE = "qemu-block-extra"
_ELSEWHERE = os.pathsep.join(("/usr/sbin", "/sbin", "/usr/local/sbin"))


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


def _is_here(wanted: str) -> bool:
    if wanted != QEMU_CURL:
        return find(wanted) is not None
    if find("qemu-img") is None:
        return False
    # Nobody listens there: with the driver the connection fails, without it the protocol is not known.
    asking = [find("qemu-img") or "", "info", "http://127.0.0.1:1/"]
    done = subprocess.run(asking, capture_output=True, text=True, check=False)
    return "Unknown protocol" not in done.stderr


def _packages(absent: list[str]) -> list[str]:
    return sorted({PACKAGES.get(each, _CURL_PACKAGE) for each in absent})


if __name__ == "__main__":
    print(*_packages([each for each in (*PACKAGES, QEMU_CURL) if not _is_here(each)]))

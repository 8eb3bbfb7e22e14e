"""What a small guest boots from: Debian's cloud kernel, and an initrd made here of busybox and a few modules.

Nothing is downloaded: both come from packages. The guest obeys the lines that come on its second serial line
(`guest_console.py`). It may take its root from a disk made of `fill_root`, whose `/sbin/init` is the same obedience.
"""

from __future__ import annotations

import gzip
import lzma
import random
import stat
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import zstandard

from bench import tools

if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND_LINE: Final = "console=ttyS0 quiet panic=-1 nokaslr mitigations=off no_timer_check"
# In the order in which each finds what it needs; what a kernel has built in, or lacks, is left out.
_MODULES: Final = (
    "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk",
    "virtio_console",
)  # fmt: skip
_UNPACK: Final[dict[str, Callable[[bytes], bytes]]] = {
    ".ko": bytes,
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
    ".zst": lambda packed: zstandard.ZstdDecompressor().stream_reader(packed).read(),
}
_OBEY: Final = r"""#!/bin/busybox sh
# One line in, "NUMBER COMMAND"; what it says, and then \004, the number and the exit code, out.
export PATH=/bin HOME=/
content() {
  awk -v seed="$1" -v pass=0 '{ line[NR] = $0 }
    END { for (;; pass++) for (i = 1; i <= NR; i++) print seed "." pass "." line[i] }' /pattern
}
exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo
while IFS= read -r line <&3; do
  number=${line%% *}
  ( eval "${line#* }" ) >&3 2>&1 </dev/null 3>&-
  printf '\004%s %d\n' "$number" $? >&3
done
"""
_START: Final = r"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for each in /modules/*.ko; do insmod $each; done
root=$(sed -n 's/.*guest_root=\([^ ]*\).*/\1/p' /proc/cmdline)
[ -n "$root" ] || exec /obey
mount -t ext4 "$root" /root || exec /obey
for each in dev proc sys; do mount --move /$each /root/$each; done
exec switch_root /root /sbin/init
"""


PATTERN: Final = b"".join(random.Random(9).randbytes(512).hex().encode() + b"\n" for _ in range(256))
"""Lines that the guest makes its content of (`guest.content`): counting would take busybox six seconds a MiB."""


class NoGuest(Exception):
    """This machine has no kernel or no busybox for a guest; the message says what to install."""


@dataclass(frozen=True, slots=True)
class BootFiles:
    """What QEMU's -kernel, -initrd and -append take."""

    kernel: Path
    initrd: Path
    command_line: str = COMMAND_LINE

    def with_root(self, device: str) -> str:
        """The command line by which the guest takes its root from a disk, such as /dev/vda."""
        return f"{self.command_line} guest_root={device}"


def missing() -> str:
    """A sentence that says what a guest lacks here; empty if nothing."""
    return tools.missing("qemu-system-x86_64", tools.GUEST_KERNEL, tools.STATIC_BUSYBOX)


def make(directory: Path) -> BootFiles:
    """Writes the initrd into `directory`. Raises NoGuest."""
    kernel = tools.guest_kernel()
    if kernel is None:
        raise NoGuest(missing())
    initrd = directory / "guest-initrd"
    initrd.write_bytes(_initrd(kernel.name.removeprefix("vmlinuz-")))
    return BootFiles(kernel, initrd)


def fill_root(tree: Path) -> None:
    """Puts into `tree`, of which a disk is made, what a guest needs as its root."""
    for name in ("bin", "dev", "proc", "sys", "sbin", "tmp", "mnt"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    _write(tree / "bin/busybox", _busybox())
    _write(tree / "pattern", PATTERN)
    for name in ("sh", "mount"):
        (tree / "bin" / name).symlink_to("busybox")
    start = "#!/bin/busybox sh\n/bin/busybox --install -s /bin\n" + _OBEY.partition("\n")[2]
    _write(tree / "sbin/init", start.encode())


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o755)


def _busybox() -> bytes:
    found = tools.static_busybox()
    if found is None:
        raise NoGuest(missing())
    return found.read_bytes()


def _initrd(release: str) -> bytes:
    modules = Path("/lib/modules", release)
    archive = _Archive()
    for name in ("bin", "dev", "proc", "sys", "root", "modules", "mnt", "tmp"):
        archive.add(name, stat.S_IFDIR | 0o755)
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add("bin/busybox", stat.S_IFREG | 0o755, _busybox())
    archive.add("init", stat.S_IFREG | 0o755, _START.encode())
    archive.add("obey", stat.S_IFREG | 0o755, _OBEY.encode())
    archive.add("pattern", stat.S_IFREG | 0o644, PATTERN)
    for number, name in enumerate(_MODULES):
        for found in sorted(modules.glob(f"kernel/drivers/**/{name}.ko*")):
            content = _UNPACK[found.suffix](found.read_bytes())
            archive.add(f"modules/{number:02}-{name}.ko", stat.S_IFREG | 0o644, content)
    return gzip.compress(archive.finish(), 1, mtime=0)


class _Archive:
    """A cpio archive as the kernel takes it ("newc"), whose devices need no root to be named."""

    def __init__(self) -> None:
        self._out = BytesIO()
        self._number = 0

    def add(self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._number += 1
        named = name.encode() + b"\0"
        fields = (self._number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(named), 0)
        self._out.write(b"070701" + b"".join(b"%08X" % each for each in fields) + named)
        self._pad()
        self._out.write(content)
        self._pad()

    def finish(self) -> bytes:
        self.add("TRAILER!!!", 0)
        return self._out.getvalue()

    def _pad(self) -> None:
        self._out.write(bytes(-self._out.tell() % 4))

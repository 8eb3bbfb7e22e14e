"""Files that nobody should convert, made here: each leads elsewhere, lies, or grows, and is refused with a reason.

`HOSTILE` has those of a disk's format by name, `PACKED` those that are compressed. They are written by hand, byte by
byte, but for a few that are cut out of what qemu-img writes, which must be installed.
"""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import subprocess
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable

CLUSTER: Final = 65536
SECRET: Final = "/etc/passwd"
"""A file that those try to read which lead elsewhere."""
UNPACKED: Final = 16 << 20
"""What each bomb comes to, if nothing else is said: so many zeros."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """A file; `disk_format` is what it is said to be, `told` a part of the sentence that it is refused with."""

    make: Callable[[], bytes]
    disk_format: str
    told: str

    def write(self, path: Path) -> None:
        """The file, there."""
        path.write_bytes(self.make())


def qcow2(
    *,
    size: int = 1 << 20,
    l1: tuple[int, ...] = (0,),
    l1_size: int | None = None,
    backing: str = "",
    cipher: int = 0,
    features: int = 0,
    extensions: bytes = b"",
    clusters: tuple[bytes, ...] = (),
) -> bytes:
    """A version 3 qcow2: header, refcount table, one refcount block, L1 table, then these clusters."""
    count = 4 + len(clusters)
    name_at = 112 + len(extensions) + 8
    header = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, name_at if backing else 0, len(backing), 16, size, cipher,
        len(l1) if l1_size is None else l1_size, 3 * CLUSTER, CLUSTER, 1, 0, 0,
    )  # fmt: skip
    header += struct.pack(">QQQIIB7x", features, 0, 0, 4, 112, 0)
    header += extensions + struct.pack(">II", 0, 0) + backing.encode()
    parts = (
        header, struct.pack(">Q", 2 * CLUSTER), struct.pack(f">{count}H", *[1] * count),
        struct.pack(f">{len(l1)}Q", *l1), *clusters,
    )  # fmt: skip
    return b"".join(part.ljust(CLUSTER, b"\0") for part in parts)


def vmdk(descriptor: str, *, capacity: int = 2048) -> bytes:
    """A sparse VMDK of so many sectors that holds nothing, with this descriptor in it."""
    text = descriptor.encode()
    header = struct.pack(
        "<4sIIQQQQIQQQB4sH", b"KDMV", 1, 3, capacity, 128, 1, 20, 512, 21, 26, 128, 0, b"\n \r\n", 0
    ).ljust(512, b"\0")
    return (header + text.ljust(20 * 512, b"\0")).ljust(128 * 512, b"\0")


def vmdk_descriptor(extents: str, kind: str = "monolithicSparse") -> str:
    """A descriptor of one disk that lies in these extents."""
    return f'# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="{kind}"\n\n{extents}\n'


def cut(disk_format: str, *, options: str = "", keep: float = 0.5) -> bytes:
    """The first part of what qemu-img writes of a disk with 3 MiB of data."""
    with TemporaryDirectory() as folder:
        plain, made = Path(folder) / "plain", Path(folder) / "made"
        plain.write_bytes(bytes(range(1, 256)) * (3 << 12))
        more = ["-o", options] if options else []
        command = ["qemu-img", "convert", "-f", "raw", "-O", disk_format, *more, str(plain), str(made)]
        subprocess.run(command, check=True, timeout=60)
        data = made.read_bytes()
    return data[: int(len(data) * keep)]


def large_qcow2(size: int) -> bytes:
    """A small file with a disk of this size, its tables as long as that needs them to be, and no more of them there."""
    return qcow2(size=size, l1_size=min(-(-size // (CLUSTER * CLUSTER // 8)), 2**32 - 1))


def circular_qcow2() -> bytes:
    """A file whose data lies in its own tables: its L1 table is its L2 table, and is the disk's first cluster."""
    return qcow2(size=CLUSTER * CLUSTER // 8, l1=(3 * CLUSTER | 1 << 63,))


def many_times_qcow2(*, counted: bool = False) -> bytes:
    """A file of 400 kB with a disk of 1 GiB that is no zeros anywhere: all of it lies in one cluster.

    `counted`: as often as it is counted, so that no look at the tables finds a fault.
    """
    once = 0 if counted else 1 << 63
    made = qcow2(
        size=1 << 30,
        l1=(4 * CLUSTER | once, 4 * CLUSTER | once),
        clusters=(struct.pack(">Q", 5 * CLUSTER | once) * (CLUSTER // 8), b"\xaa" * CLUSTER),
    )
    if not counted:
        return made
    counts = struct.pack(">2H", 2, 2 * CLUSTER // 8)
    at = 2 * CLUSTER + 2 * 4
    return made[:at] + counts + made[at + len(counts) :]


def gzip_bomb(size: int = UNPACKED) -> bytes:
    """A gzip file of so many zeros, a thousandth as long."""
    packer = zlib.compressobj(1, wbits=31)
    return b"".join([packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]) + packer.flush()


def xz_bomb(size: int = UNPACKED) -> bytes:
    """The same as xz."""
    packer = lzma.LZMACompressor(preset=0)
    return b"".join([packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]) + packer.flush()


def zstd_bomb(size: int = UNPACKED) -> bytes:
    """The same as zstd, a frame that does not tell its size."""
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    return b"".join([packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]) + packer.flush()


def zstd_runs(size: int = UNPACKED) -> bytes:
    """The same by hand: blocks that each say "this byte, 131,072 times" in four bytes."""
    last = [*[0] * (size // (128 << 10) - 1), 1]
    return b"\x28\xb5\x2f\xfd\0\x68" + b"".join(
        (end | 1 << 1 | (128 << 10) << 3).to_bytes(3, "little") + b"\0" for end in last
    )


def zstd_window() -> bytes:
    """A zstd frame that asks for 3 TiB of memory before its first block."""
    return b"\x28\xb5\x2f\xfd\0\xf8" + b"\1\0\0"


def zip_bomb(size: int = UNPACKED) -> bytes:
    """The same as a zip of one file."""
    return zipped(("disk.raw", bytes(size)))


def zip_that_lies() -> bytes:
    """The same, but its directory says that the file is one byte long."""
    whole = bytearray(zip_bomb())
    at = whole.rfind(b"PK\1\2")
    struct.pack_into("<I", whole, at + 24, 1)
    struct.pack_into("<I", whole, 22, 1)
    return bytes(whole)


def zipped(*files: tuple[str, bytes]) -> bytes:
    """A zip of these files."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, 1)
    return made.getvalue()


def large_zip(data: bytes, *, told: int | None = None) -> bytes:
    """A zip with ZIP64's records, of which the file's size may be told otherwise than it is."""
    packed = zlib.compress(data, 1, -15)
    size, crc, name = len(data) if told is None else told, zlib.crc32(data), b"disk.raw"
    extra = struct.pack("<2H2Q", 1, 16, size, len(packed))
    large = 0xFFFFFFFF
    member = (
        struct.pack("<4s5H3I2H", b"PK\3\4", 45, 0, 8, 0, 0, crc, large, large, len(name), len(extra)) + name + extra
    )
    place = len(member) + len(packed)
    entry = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", 45, 45, 0, 8, 0, 0, crc, large, large, len(name), len(extra), 0, 0, 0, 0, 0
    )
    entry += name + extra
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(entry), place)
    where = struct.pack("<4sIQI", b"PK\6\7", 0, place + len(entry), 1)
    return member + packed + entry + record + where + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, large, large, 0)


def encrypted_zip() -> bytes:
    """A zip whose file is said to be encrypted."""
    whole = bytearray(zipped(("disk.raw", b"data")))
    at = whole.rfind(b"PK\1\2")
    whole[at + 8] |= 1
    whole[6] |= 1
    return bytes(whole)


def _data_file() -> bytes:
    extension = struct.pack(">II", 0x44415441, len(SECRET)) + SECRET.encode().ljust(16, b"\0")
    return qcow2(features=4, extensions=extension)


HOSTILE: Final[dict[str, Hostile]] = {
    "a qcow2 over another file": Hostile(lambda: qcow2(backing=SECRET), "qcow2", "backing file"),
    "a qcow2 over itself": Hostile(lambda: qcow2(backing="source"), "qcow2", "backing file"),
    "a qcow2 over the network": Hostile(lambda: qcow2(backing="nbd://127.0.0.1:10809/x"), "qcow2", "backing file"),
    "a qcow2 over a description": Hostile(
        lambda: qcow2(backing=f'json:{{"driver":"file","filename":"{SECRET}"}}'), "qcow2", "backing file"
    ),
    "a qcow2 with a data file": Hostile(_data_file, "qcow2", "data_file"),
    "a qcow2 that is encrypted": Hostile(lambda: qcow2(cipher=1), "qcow2", "is encrypted"),
    "a qcow2 of 8 EiB": Hostile(lambda: large_qcow2((1 << 63) - CLUSTER), "qcow2", "more than is converted"),
    "a qcow2 of 2 TiB": Hostile(lambda: large_qcow2(2 << 40), "qcow2", "more than is converted"),
    "a qcow2 with a table of 32 GiB": Hostile(lambda: qcow2(l1_size=2**32 - 1), "qcow2", "cannot be read as qcow2"),
    "a qcow2 in its own tables": Hostile(circular_qcow2, "qcow2", "tables are damaged"),
    "a qcow2 of one cluster 16,384 times": Hostile(many_times_qcow2, "qcow2", "tables are damaged"),
    "a qcow2 that is cut short": Hostile(lambda: cut("qcow2"), "qcow2", "cut short"),
    "the beginning of a qcow2": Hostile(lambda: qcow2()[:80], "qcow2", "qcow2"),
    "a vmdk that is a description": Hostile(
        lambda: vmdk_descriptor(f'RW 2048 FLAT "{SECRET}" 0', "monolithicFlat").encode(), "vmdk", "other files"
    ),
    "a vmdk with a flat extent": Hostile(
        lambda: vmdk(vmdk_descriptor(f'RW 2048 FLAT "{SECRET}" 0', "monolithicFlat")), "vmdk", "not safe"
    ),
    "a vmdk in several files": Hostile(
        lambda: vmdk(vmdk_descriptor('RW 2048 SPARSE "/etc/a"\nRW 2048 SPARSE "b"', "twoGbMaxExtentSparse")),
        "vmdk", "not safe",
    ),
    "a vmdk with another's extent": Hostile(
        lambda: vmdk(vmdk_descriptor(f'RW 2048 FLAT "{SECRET}" 0', "monolithicSparse")), "vmdk", "not safe"
    ),
    "a vmdk whose header leaves all to its description": Hostile(
        # The first type is what others read, the second QEMU's.
        lambda: vmdk(
            '# Disk DescriptorFile\ncreatetype="monolithicSparse"\n'
            + vmdk_descriptor('RW 2048 FLAT "nbd:127.0.0.1:80" 0', "monolithicFlat"),
            capacity=0,
        ),
        "vmdk", "tells of no disk",
    ),
    "a vmdk that is cut short": Hostile(lambda: cut("vmdk"), "vmdk", "cut short"),
    "a stream-optimized vmdk that is cut short": Hostile(
        lambda: cut("vmdk", options="subformat=streamOptimized"), "vmdk", ""
    ),
    "a vhdx that is cut short": Hostile(lambda: cut("vhdx", keep=0.4), "vhdx", "vhdx"),
    "a vdi that is cut short": Hostile(lambda: cut("vdi"), "vdi", "cut short"),
    "a text": Hostile(lambda: b"root:x:0:0:root:/root:/bin/bash\n" * 40, "qcow2", "is a plain disk"),
    "a description as a text": Hostile(
        lambda: b'json:{"driver":"qcow2","file":{"driver":"nbd","host":"127.0.0.1"}}', "qcow2", "plain disk"
    ),
    "a vmdk said to be qcow2": Hostile(lambda: cut("vmdk", keep=1), "qcow2", "looks like vmdk"),
    "a qcow2 that is a vdi as well": Hostile(
        lambda: bytes(qcow2()[:0x40]) + b"\x7f\x10\xda\xbe" + bytes(qcow2()[0x44:]), "qcow2", "several formats"
    ),
    "a raw disk that is a qcow2": Hostile(lambda: qcow2(backing=SECRET), "raw", "backing file"),
}  # fmt: skip
"""Files of a disk's format; limits are those that a service has by default."""

PACKED: Final[dict[str, Hostile]] = {
    "a gzip of zeros": Hostile(gzip_bomb, "raw", "longer than"),
    "an xz of zeros": Hostile(xz_bomb, "raw", "longer than"),
    "a zstd of zeros": Hostile(zstd_bomb, "raw", "longer than"),
    "a zstd of runs": Hostile(zstd_runs, "raw", "longer than"),
    "a zip of zeros": Hostile(zip_bomb, "raw", "may have"),
    "a zip that lies": Hostile(zip_that_lies, "raw", "longer than the 1 bytes"),
    "a large zip that lies": Hostile(lambda: large_zip(bytes(1 << 20), told=5), "raw", "longer than the 5 bytes"),
    "a large zip that says it is huge": Hostile(lambda: large_zip(b"x", told=1 << 62), "raw", "may have"),
    "a zstd with a huge window": Hostile(zstd_window, "raw", "damaged"),
    "a zip of two files": Hostile(lambda: zipped(("a", b"1"), ("b", b"2")), "raw", "holds 2 files"),
    "a zip of nothing": Hostile(zipped, "raw", "holds 0 files"),
    "an encrypted zip": Hostile(encrypted_zip, "raw", "encrypted"),
    "a zip with a path": Hostile(lambda: zipped(("../../etc/cron.d/x", b"1")), "raw", "path for a name"),
    "a zip behind something": Hostile(lambda: b"#!" + zipped(("a", b"1")), "raw", "not compressed"),
    "a zip with something behind": Hostile(lambda: zipped(("a", b"1")) + b"more", "raw", "something follows"),
    "a gzip that is cut short": Hostile(lambda: gzip.compress(bytes(9999))[:-9], "raw", "cut short"),
    "a gzip without its end": Hostile(lambda: gzip.compress(b"data" * 9999)[:-4], "raw", "cut short"),
    "an xz that is cut short": Hostile(lambda: lzma.compress(bytes(9999))[:-5], "raw", "cut short"),
    "a zstd that is cut short": Hostile(
        lambda: zstandard.ZstdCompressor().compress(bytes(9999))[:-1], "raw", "cut short"
    ),
    "a zip that is cut short": Hostile(lambda: zipped(("a", b"1"))[:-30], "raw", "cut short"),
    "a gzip with a wrong sum": Hostile(
        lambda: gzip.compress(b"data")[:-8] + b"\1\2\3\4\4\0\0\0", "raw", "damaged"
    ),
    "a gzip with something behind": Hostile(lambda: gzip.compress(b"data") + b"more", "raw", "More follows"),
    "an xz with something behind": Hostile(lambda: lzma.compress(b"data") + b"more", "raw", "More follows"),
    "a zstd with something behind": Hostile(
        lambda: zstandard.ZstdCompressor().compress(b"data") + b"more", "raw", "More follows"
    ),
    "a text": Hostile(lambda: b"data", "raw", "not compressed"),
}  # fmt: skip
"""Compressed files; each bomb comes to 16 MiB, so it is refused where less may be unpacked."""

"""What a disk file says of itself, read here before any tool opens it: its format, its guest's size, what lies below.

A tool that opens a file believes it: a backing file, a data file, an extent may be any file that its user can read. So
only what is described in full by the one file, or names a backing file in a plain way, gets past.

Formats: docs/interop/qcow2.txt of QEMU; VMware's Virtual Disk Format 5.0; MS-VHDX; VirtualBox's VDICore.h.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from httpapi.client.disk_formats.first_bytes import DESCRIPTION
from httpapi.client.errors import SourceRefused

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST: Final = 64 << 40
"""A disk of more bytes is taken for damage, or for an attack: no format's tools make larger ones in earnest."""
SECTOR: Final = 512
_AS_IS: Final = "or keep the file's bytes with --as-is"
_LONGEST_NAME: Final = 1023
_BACKING_FORMAT: Final = 0xE2792ACA
_CORRUPT: Final = 1 << 1
_DATA_FILE: Final = 1 << 2
_KNOWN: Final = 0b11111
_METADATA: Final = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_DISK_SIZE: Final = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le


@dataclass(frozen=True, slots=True)
class Backing:
    """The file below an overlay, by the name and the format that it states."""

    name: str
    format: str | None


@dataclass(frozen=True, slots=True)
class Header:
    """`size` is the guest's disk, in bytes."""

    format: str
    size: int
    backing: Backing | None = None


def read_header(descriptor: int, disk_format: str, name: str) -> Header:
    """SourceRefused, which calls the file `name`, for one that should not be opened, or is no such file."""
    try:
        header = _READERS[disk_format](descriptor, name)
    except (struct.error, OSError):
        raise _refused(name, f"is cut off within its {disk_format} header: get it whole, {_AS_IS}") from None
    if header.size > LARGEST:
        raise _refused(
            name,
            f"says it is a disk of {header.size} bytes; more than {LARGEST >> 40} TiB is taken for damage: "
            f"get it anew, {_AS_IS}",
        )
    return header


def _refused(name: str, why: str) -> SourceRefused:
    return SourceRefused(f"{name} {why}")


def _unpack(descriptor: int, form: str, offset: int) -> tuple[int, ...]:
    return struct.unpack(form, os.pread(descriptor, struct.calcsize(form), offset))


def _whole_sectors(size: int) -> int:
    """As QEMU shows it to a guest."""
    return -(-size // SECTOR) * SECTOR


def _qcow2(descriptor: int, name: str) -> Header:
    version, at, length, bits, size, crypt = _unpack(descriptor, ">IQIIQI", 4)
    if version not in {2, 3}:
        raise _refused(name, f"is qcow2 of version {version}, which nobody here knows: keep it with --as-is")
    features, header_length = (
        (0, 72) if version == 2 else (*_unpack(descriptor, ">Q", 72), *_unpack(descriptor, ">I", 100))
    )
    if crypt:
        raise _refused(name, "is encrypted: decrypt it with `qemu-img convert`, or keep the file's bytes with --as-is")
    if features & _DATA_FILE:
        raise _refused(
            name,
            "has its bytes in another file (data_file), which is not followed: `qemu-img convert -O qcow2` makes one "
            f"file of both, {_AS_IS}",
        )
    if features & _CORRUPT or features & ~_KNOWN or not 9 <= bits <= 21 or length > _LONGEST_NAME:
        raise _refused(name, f"is damaged, or newer than what is known here: `qemu-img check {name}` tells, {_AS_IS}")
    if not at:
        return Header("qcow2", _whole_sectors(size))
    stated = os.pread(descriptor, length, at)
    if len(stated) != length or not length or b"\0" in stated:
        raise struct.error
    backing = Backing(os.fsdecode(stated), _backing_format(descriptor, header_length, at))
    return Header("qcow2", _whole_sectors(size), backing)


def _backing_format(descriptor: int, at: int, end: int) -> str | None:
    while at + 8 <= end:
        kind, length = _unpack(descriptor, ">II", at)
        if kind == 0:
            return None
        if kind == _BACKING_FORMAT:
            return os.pread(descriptor, min(length, 64), at + 8).decode("ascii", errors="replace")
        at += 8 + -(-length // 8) * 8
    return None


def _vmdk(descriptor: int, name: str) -> Header:
    if os.pread(descriptor, len(DESCRIPTION), 0) == DESCRIPTION:
        raise _refused(
            name,
            "only describes a disk whose bytes lie in other files, which are not followed: "
            f"`qemu-img convert -O qcow2 {name} disk.qcow2` makes one file of them, {_AS_IS}",
        )
    sectors, _, at, length = _unpack(descriptor, "<QQQQ", 12)
    if not sectors:
        raise _refused(
            name, f"has its bytes in other files, which are not followed: `qemu-img convert` makes one file, {_AS_IS}"
        )
    # QEMU looks where the header says, and behind the header whatever it says.
    told = os.pread(descriptor, min(length, 128) * SECTOR, at * SECTOR) if at < 1 << 40 else b""
    if b"parentFileNameHint" in told + os.pread(descriptor, 20 * SECTOR, SECTOR):
        raise _refused(
            name,
            "holds only what differs from another disk, which is not followed: "
            f"`qemu-img convert -O qcow2 {name} disk.qcow2` makes one file of both, {_AS_IS}",
        )
    return Header("vmdk", min(sectors, LARGEST) * SECTOR)


def _vdi(descriptor: int, name: str) -> Header:
    (kind,) = _unpack(descriptor, "<I", 76)
    (data_at,) = _unpack(descriptor, "<I", 344)
    size, block, _, _, allocated = _unpack(descriptor, "<QIIII", 368)
    if kind not in {1, 2}:
        raise _refused(name, f"holds only what differs from another disk, which is not followed: clone it, {_AS_IS}")
    if data_at + allocated * block > os.lseek(descriptor, 0, os.SEEK_END):
        raise _cut_off(name)
    return Header("vdi", _whole_sectors(size))


def _cut_off(name: str) -> SourceRefused:
    return _refused(name, f"is cut off, the last of its blocks are missing: get it whole, {_AS_IS}")


def _vhdx(descriptor: int, name: str) -> Header:
    for table in (192 << 10, 256 << 10):
        found = _find(descriptor, table, b"regi", (8, 16), lambda row: row[:16] == _METADATA)
        if found is None:
            continue
        (region,) = struct.unpack("<Q", found[16:24])
        item = _find(descriptor, region, b"metadata", (10, 32), lambda row: row[:16] == _DISK_SIZE)
        if item is not None:
            (size,) = _unpack(descriptor, "<Q", region + int.from_bytes(item[16:20], "little"))
            return Header("vhdx", size)
    raise _refused(name, f"is damaged, it does not say how large its disk is: get it anew, {_AS_IS}")


def _find(
    descriptor: int, table: int, magic: bytes, at: tuple[int, int], fits: Callable[[bytes], bool]
) -> bytes | None:
    """A row of 32 bytes of a table of MS-VHDX; `at` is where its count of rows and the rows are."""
    data = os.pread(descriptor, 64 << 10, table)
    if not data.startswith(magic):
        return None
    count = min(int.from_bytes(data[at[0] : at[0] + 2], "little"), 2047)
    rows = (data[at[1] + each * 32 : at[1] + (each + 1) * 32] for each in range(count))
    return next((row for row in rows if len(row) == 32 and fits(row)), None)


_READERS: Final = {"qcow2": _qcow2, "vmdk": _vmdk, "vdi": _vdi, "vhdx": _vhdx}

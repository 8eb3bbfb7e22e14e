"""Small disk images of every format: those that qemu-img made, and headers by hand where it makes none.

`tests/golden/formats` has the former, each packed by zstd: `qemu-img create -f FORMAT NAME SIZE` with the option in
the name (`compat=0.10` for `old`), SIZE as `DISK_SIZES` says; `stream.vmdk` was converted from 300,000 bytes.
"""

from __future__ import annotations

import functools
import json
import struct
from pathlib import Path
from typing import Final

import zstandard

FOLDER: Final = Path(__file__).parents[1] / "golden" / "formats"

# What qemu-img says of each that is safe to open.
DISK_SIZES: Final = {
    "plain.qcow2": 1 << 20, "old.qcow2": 1 << 20, "extended-l2.qcow2": 1 << 20, "plain.vdi": 1 << 20,
    "plain.vhdx": 4 << 20, "dynamic.vhd": 4 << 20, "fixed.vhd": 256 << 10, "sparse.vmdk": 4 << 20,
    "stream.vmdk": 300_032,
}  # fmt: skip
DANGERS: Final = {
    "backing.qcow2": "backing file", "data-file.qcow2": "data_file", "qcow1.qcow": "version",
    "plain.qed": "not allowed", "flat.vmdk": "other files",
}  # fmt: skip


@functools.cache
def disk_file(name: str) -> bytes:
    """The whole file."""
    return zstandard.ZstdDecompressor().decompress((FOLDER / f"{name}.zst").read_bytes(), max_output_size=16 << 20)


def format_of(name: str) -> str:
    """The `disk_format` by its ending."""
    return name.rpartition(".")[2]


def boot_sector(*, gpt: bool = False, size: int = 128 << 10) -> bytes:
    """A disk with a partition table: one Linux partition, or the protective one of a GPT."""
    entry = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE if gpt else 0x83, b"\xff\xff\xff", 1, 200)
    return (b"\0" * 446 + entry + b"\0" * 48 + b"\x55\xaa").ljust(size, b"\0")


def disc(*, bootable: bool = False, size: int = 128 << 10) -> bytes:
    """An ISO 9660 disc; a bootable one has a boot sector, too."""
    first = boot_sector(size=32 << 10) if bootable else b"\0" * (32 << 10)
    volume = bytearray(2048)
    volume[:7] = b"\x01CD001\x01"
    volume[80:84], volume[128:130] = struct.pack("<I", 40), struct.pack("<H", 2048)
    return (first + volume).ljust(size, b"\0")


def luks1(payload: int = 4096, size: int = 128 << 10) -> bytes:
    """A LUKS volume whose data begins at `payload`."""
    head = b"LUKS\xba\xbe\0\1" + b"aes".ljust(32, b"\0") + b"xts-plain64".ljust(32, b"\0") + b"sha256".ljust(32, b"\0")
    return (head + struct.pack(">I", payload // 512)).ljust(size, b"\0")


def luks2(payload: int = 16384, size: int = 128 << 10, *, text: str | None = None) -> bytes:
    """A LUKS2 volume, which says in JSON where its data begins."""
    told = text if text is not None else json.dumps({"segments": {"0": {"type": "crypt", "offset": str(payload)}}})
    head = (b"LUKS\xba\xbe\0\2" + struct.pack(">Q", 16384)).ljust(4096, b"\0")
    return (head + told.encode()).ljust(size, b"\0")

"""Our own look at a file, before any foreign program opens it: what it is, and whether it leads elsewhere."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final, cast

from catalog.formats.inspection import inspect
from catalog.formats.questions import Judges, Tail
from catalog.formats.rules import Said
from catalog.formats.watching import load_judges
from catalog.model.errors import ConversionRefused

if TYPE_CHECKING:
    from pathlib import Path

    from catalog.formats.questions import Finding, Question

_HEADER: Final = 512
_VMDK_SECTORS: Final = 12
_VDI_DATA, _VDI_BLOCK, _VDI_COUNT = 0x158, 0x178, 0x184


def looked_at(file: Path, disk_format: str, limit: int) -> int | None:
    """The bytes of the disk in the file, if its format says; a raw disk's length is the file's.

    Reads some 100 KiB, on the thread that calls. Raises ConversionRefused for what is not of the format, is not safe to
    open, is cut short as far as can be seen here, or has a disk longer than `limit`.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        finding = _finding(descriptor, size, disk_format)
        if (fault := Said("", disk_format, "bare").fault(finding)) is not None:
            raise ConversionRefused(fault)
        header = os.pread(descriptor, _HEADER, 0)
        if disk_format == "vdi":
            _check_vdi(header, size)
        if disk_format == "vmdk":
            _check_vmdk(header)
    finally:
        os.close(descriptor)
    return check_length(size if disk_format == "raw" else finding.declared, limit)


def check_length(length: int | None, limit: int) -> int | None:
    """The length of a disk. Raises ConversionRefused if it is more than `limit`."""
    if length is not None and length > limit:
        raise ConversionRefused(
            f"The image's disk is {length} bytes long, more than is converted here ({limit} bytes, convert_limit)."
        )
    return length


def _finding(descriptor: int, size: int, disk_format: str) -> Finding:
    looking = inspect(disk_format)
    question = next(looking)
    while True:
        try:
            question = looking.send(_answer(descriptor, size, question))
        except StopIteration as found:
            return cast("Finding", found.value)


def _answer(descriptor: int, size: int, question: Question) -> bytes:
    if isinstance(question, Judges):
        load_judges()
        return b""
    start = max(0, size - question.length) if isinstance(question, Tail) else question.start
    return (os.pread(descriptor, question.length, start) if start < size else b"").ljust(question.length, b"\0")


def _check_vmdk(header: bytes) -> None:
    """A sparse file that says it has no sectors is a mere description to QEMU, which opens the files that it names."""
    (sectors,) = struct.unpack_from("<Q", header, _VMDK_SECTORS)
    if not sectors:
        raise ConversionRefused("The image's header tells of no disk, and its description may name other files.")


def _check_vdi(header: bytes, size: int) -> None:
    """Nothing else notices that a VDI is cut short; what is not there would be read as zeros."""
    data, block, count = (struct.unpack_from("<I", header, at)[0] for at in (_VDI_DATA, _VDI_BLOCK, _VDI_COUNT))
    if data + count * block > size:
        raise ConversionRefused(
            f"The image is cut short: its header tells of {data + count * block} bytes, and it has {size}."
        )

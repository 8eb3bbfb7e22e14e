"""Which format a disk file is of, by its first bytes: all that most pushes need to know, and quick to load.

Formats: as `headers.py` says.
"""

from __future__ import annotations

import os
from typing import Final

FORMATS: Final = ("qcow2", "vmdk", "vhdx", "vdi")
DESCRIPTION: Final = b"# Disk DescriptorFile"
"""What a vmdk begins with that only names files."""
_VDI_AT: Final = 64
_VDI: Final = b"\x7f\x10\xda\xbe"
HEAD: Final = _VDI_AT + len(_VDI)


def format_of(descriptor: int) -> str | None:
    """As `format_in`, of a file."""
    return format_in(os.pread(descriptor, HEAD, 0))


def format_in(head: bytes) -> str | None:
    """One of FORMATS by a file's first HEAD bytes, `vmdk` for a mere description too; None for anything else."""
    if head[:4] == b"QFI\xfb" and head[4:8] != b"\0\0\0\1":
        return "qcow2"
    if head[:4] == b"KDMV" or head.startswith(DESCRIPTION):
        return "vmdk"
    if head[:8] == b"vhdxfile":
        return "vhdx"
    return "vdi" if head[_VDI_AT:HEAD] == _VDI else None

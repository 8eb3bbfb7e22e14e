"""What an image's first bytes make it look like: a look at a few places, so that a raw disk costs nothing more.

Each is where oslo.utils looks, too (`judges.py`): what this passes over, that would not have known either.
"""

from __future__ import annotations

from typing import Final

HEAD: Final = 64 * 1024
"""So many bytes are looked at."""

_AT_START: Final = {
    b"QFI\xfb": "qcow2", b"QED\0": "qed", b"conectix": "vhd", b"vhdxfile": "vhdx", b"KDMV": "vmdk",
    b"LUKS\xba\xbe": "luks",
}  # fmt: skip
_VDI: Final = (0x40, b"\x7f\x10\xda\xbe")
_ISO: Final = (32 * 1024 + 1, (b"CD001", b"NSR02", b"NSR03"))
_BOOT: Final = (510, b"\x55\xaa")
_FAT_COPIES, _FAT_MEDIUM = 0x10, 0x15
_DESCRIPTOR: Final = b'createtype="'


def resembles(head: bytes) -> frozenset[str]:
    """The formats that the first `HEAD` bytes look like: none for what is plainly raw, several for a trap.

    `gpt` is a boot sector, of a partition table of either kind; that of a FAT file system is none.
    """
    found = {name for magic, name in _AT_START.items() if head.startswith(magic)}
    if head[_VDI[0] :].startswith(_VDI[1]):
        found.add("vdi")
    if head[_ISO[0] :].startswith(_ISO[1]):
        found.add("iso")
    if head[_BOOT[0] :].startswith(_BOOT[1]) and not _is_fat(head):
        found.add("gpt")
    if _is_text(head[:512]) and _DESCRIPTOR in head.lower():
        # A VMDK that is a description alone, and names the files with the data.
        found.add("vmdk")
    return frozenset(found)


def _is_fat(head: bytes) -> bool:
    return head[_FAT_COPIES] == 2 and head[_FAT_MEDIUM] == 0xF8


def _is_text(head: bytes) -> bool:
    text = head.rstrip(b"\0")
    return text.isascii() and all(chr(each).isprintable() or chr(each).isspace() for each in text)

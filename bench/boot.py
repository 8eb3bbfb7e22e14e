"""A disk that a PC boots from, made here: it reads sectors all over itself and says on the serial line what is in them.

The machine is QEMU's, without hardware help, on an overlay of its own (`snapshot`), over any image that QEMU can open.
"""

from __future__ import annotations

import random
import struct
import subprocess
from typing import TYPE_CHECKING, Final

from bench import tools

if TYPE_CHECKING:
    from pathlib import Path

QEMU: Final = "qemu-system-x86_64"
NEEDED: Final = (QEMU, tools.QEMU_CURL)
SECTOR: Final = 512
SPOTS: Final = 64
"""Sectors that are read, spread evenly over the disk."""
_AT: Final = 0x7C00
_BUFFER: Final = 0x7E00
_WELL, _BADLY = 1, 3
"""What QEMU's debug exit makes of 0 and 1."""


class DidNotBoot(Exception):
    """The machine did not come to its end, or could not read; the message has what it said."""


def make_bootable(disk: Path, *, seed: int) -> str:
    """Make a raw disk one to boot from, whatever is on it; gives what it will say."""
    said = "".join(random.Random(seed).choices("abcdefghijklmnopqrstuvwxyz", k=SPOTS))
    size = disk.stat().st_size
    stride = size // SECTOR // (SPOTS + 1)
    with disk.open("r+b") as file:
        file.write(_boot_sector(stride))
        for number, letter in enumerate(said, 1):
            file.seek(number * stride * SECTOR)
            file.write(letter.encode() * SECTOR)
    return said


def boot(image: str, *, seconds: float = 120.0) -> str:
    """Boot a machine from a raw image (a path or a URL); gives what it said. Raises DidNotBoot."""
    drive = f"file={image},format=raw,if=ide,snapshot=on"
    machine = ["-accel", "tcg", "-m", "32", "-nodefaults", "-display", "none", "-no-reboot", "-boot", "c"]
    talk = ["-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
    command = [tools.find(QEMU) or QEMU, *machine, *talk, "-drive", drive]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise DidNotBoot(f"after {seconds:g} s it has not come to its end") from None
    if done.returncode != _WELL:
        why = "it could not read its disk" if done.returncode == _BADLY else f"exit code {done.returncode}"
        raise DidNotBoot(f"{why}: {done.stdout}{done.stderr}")
    # The firmware talks on no serial line; all that came is the disk's.
    return done.stdout.strip()


def _boot_sector(stride: int) -> bytes:
    """Reads SPOTS sectors, `stride` apart, by the firmware's extended reads, and sends the first byte of each."""
    program = bytes.fromhex("31c0 8ed8 8ec0 8ed0")  # ds = es = ss = 0
    program += b"\xbc" + struct.pack("<H", _AT)  # sp below this program
    program += b"\xb9" + struct.pack("<H", SPOTS)  # cx counts
    again = len(program)
    body = bytes.fromhex("51 52 b442 be") + b"\0\0" + bytes.fromhex("cd13 5a 59 72") + b"\0"  # read, or fail
    body += b"\xa0" + struct.pack("<H", _BUFFER) + bytes.fromhex("52 baf803 ee 5a")  # its first byte to COM1
    body += bytes.fromhex("668106") + b"\0\0" + struct.pack("<I", stride)  # the next sector
    body += b"\xe2" + struct.pack("<b", -(len(body) + 2))
    well, badly = bytes.fromhex("b000 e6f4 f4"), bytes.fromhex("b001 e6f4 f4")
    whole = bytearray(program + body + well + badly)
    packet = _AT + len(whole) + (-len(whole) % 4)
    whole += bytes(-len(whole) % 4) + struct.pack("<BBHHHQ", 16, 0, 1, _BUFFER, 0, stride)
    struct.pack_into("<H", whole, again + 5, packet)
    jump = again + body.index(0x72) + 1
    whole[jump] = len(program) + len(body) + len(well) - (jump + 1)
    struct.pack_into("<H", whole, again + body.index(bytes.fromhex("668106")) + 3, packet + 8)
    return bytes(whole).ljust(SECTOR - 2, b"\0") + b"\x55\xaa"

"""gzip, xz and zstd as pieces of bounded length: one stream, or several one after another, and nothing behind them."""

from __future__ import annotations

import lzma
import struct
import zlib
from typing import TYPE_CHECKING, Final

import zstandard

from catalog.conversion.unpack.packed import PIECE, Refused, damaged, more_follows, too_short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from catalog.conversion.unpack.packed import Packed

GZIP: Final = b"\x1f\x8b"
XZ: Final = b"\xfd7zXZ\0"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE: Final = (0x184D2A50, 0x184D2A5F)
"""First and last of the magic numbers, little-endian, of frames that hold no data."""

_GZIP_BITS: Final = 31
_XZ_MEMORY: Final = 256 << 20
_ZSTD_WINDOW: Final = 128 << 20
_ZSTD_BLOCK: Final = 128 * 1024
_RLE, _RESERVED = 1, 3


def gunzipped(packed: Packed) -> Iterator[bytes]:
    """The members of a gzip file, their sums checked."""
    while True:
        stream = zlib.decompressobj(_GZIP_BITS)
        data = b""
        while True:
            try:
                piece = stream.decompress(data, PIECE)
            except zlib.error as error:
                raise damaged(error) from error
            data = stream.unconsumed_tail
            if piece:
                yield piece
            if stream.eof:
                break
            if not piece and not data and not (data := packed.some()):
                raise too_short()
        packed.unread(stream.unused_data or data)
        if packed.at_end():
            return
        if not _begins(packed, GZIP):
            raise more_follows("gzip")


def unxzed(packed: Packed) -> Iterator[bytes]:
    """The streams of an xz file, their sums checked; zeros may follow a stream, as the format allows."""
    while True:
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        data = b""
        while True:
            try:
                piece = stream.decompress(data, PIECE)
            except lzma.LZMAError as error:
                raise damaged(error) from error
            data = b""
            if piece:
                yield piece
            if stream.eof:
                break
            if not piece and not (data := packed.some()):
                raise too_short()
        packed.unread(stream.unused_data)
        _skip_padding(packed)
        if packed.at_end():
            return
        if not _begins(packed, XZ):
            raise more_follows("xz")


def unzstded(packed: Packed) -> Iterator[bytes]:
    """The frames of a zstd file, block by block, their sums checked where they have any.

    The blocks are walked here: a decompressor that is given a piece of a file gives all that is in it at once, and does
    not say whether a frame was ended.
    """
    reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    while not packed.at_end():
        magic = packed.exactly(4)
        (number,) = struct.unpack("<I", magic)
        if ZSTD_SKIPPABLE[0] <= number <= ZSTD_SKIPPABLE[1]:
            _skip(packed, struct.unpack("<I", packed.exactly(4))[0])
        elif magic == ZSTD:
            yield from _frame(packed, reader)
        else:
            raise more_follows("zstd")


def _frame(packed: Packed, reader: zstandard.ZstdDecompressor) -> Iterator[bytes]:
    frame = reader.decompressobj()
    descriptor = packed.exactly(1)
    flags = descriptor[0]
    one_segment = bool(flags & 0x20)
    if flags & 3:
        raise Refused("The zstd file was compressed with a dictionary, which is not known here.")
    size_bytes = (int(one_segment), 2, 4, 8)[flags >> 6]
    header = ZSTD + descriptor + packed.exactly((not one_segment) + size_bytes)
    try:
        frame.decompress(header)
        last = False
        while not last:
            block = packed.exactly(3)
            number = int.from_bytes(block, "little")
            last, kind, size = bool(number & 1), number >> 1 & 3, number >> 3
            if kind == _RESERVED or size > _ZSTD_BLOCK:
                raise damaged("a block that cannot be")
            yield frame.decompress(block + packed.exactly(1 if kind == _RLE else size))
        if flags & 4:
            yield frame.decompress(packed.exactly(4))
    except zstandard.ZstdError as error:
        raise damaged(error) from error


def _begins(packed: Packed, magic: bytes) -> bool:
    try:
        found = packed.exactly(len(magic))
    except Refused:
        return False
    packed.unread(found)
    return found == magic


def _skip_padding(packed: Packed) -> None:
    while not packed.at_end():
        found = packed.some()
        if rest := found.lstrip(b"\0"):
            packed.unread(rest)
            return


def _skip(packed: Packed, count: int) -> None:
    while count:
        count -= len(packed.exactly(min(count, PIECE)))

"""The one file in a zip: found by the archive's end, and taken only if every part of the archive says the same.

Layout as in PKWARE's APPNOTE.TXT: the file's header and data, perhaps a descriptor, the directory, perhaps the two
records of ZIP64, the end. Nothing may lie before, between or behind: what two readers could take for two archives is
neither.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from catalog.conversion.unpack.packed import PIECE, Refused, damaged

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC: Final = b"PK\3\4"
EMPTY: Final = b"PK\5\6"
_END: Final = struct.Struct("<4s4H2IH")
_END64_PLACE: Final = struct.Struct("<4sIQI")
_END64: Final = struct.Struct("<4sQ2H2I4Q")
_ENTRY: Final = struct.Struct("<4s6H3I5H2I")
_HEADER: Final = struct.Struct("<4s5H3I2H")
_COMMENT: Final = 0xFFFF
_LARGE: Final = 0xFFFFFFFF
_MANY: Final = 0xFFFF
_LARGEST_ENTRY: Final = _ENTRY.size + 3 * 0xFFFF
_ENCRYPTED: Final = 0x2041
_DESCRIPTOR_FLAG: Final = 8
_DESCRIPTORS: Final = frozenset({12, 16, 20, 24})
_STORED, _DEFLATED = 0, 8
_READ: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: where its data lies, how it is compressed, and what it must come to."""

    start: int
    packed: int
    size: int
    crc: int
    deflated: bool


def only_member(descriptor: int) -> Member:
    """The archive's one file. Raises Refused for any other archive, and for one that contradicts itself."""
    place, count, length = _directory(descriptor)
    if count != 1:
        raise Refused(
            f"The zip holds {count} files, and must hold exactly one: the disk. Pack it again with that file alone."
        )
    if length > _LARGEST_ENTRY:
        raise damaged("its directory is too long")
    entry = os.pread(descriptor, length, place)
    if len(entry) < _ENTRY.size or not entry.startswith(b"PK\1\2"):
        raise damaged("its directory is not where it should be")
    _, _, _, flags, method, _, _, crc, packed, size, named, extra, comment, _, _, _, offset = _ENTRY.unpack_from(entry)
    if _ENTRY.size + named + extra + comment != length:
        raise damaged("its directory has another length than it says")
    name = entry[_ENTRY.size : _ENTRY.size + named]
    _check(name, flags, method)
    fields = entry[_ENTRY.size + named : _ENTRY.size + named + extra]
    size, packed, offset = _large(fields, size, packed, offset)
    start = _data(descriptor, name, flags, method)
    if offset or not _fits(flags, place - start - packed):
        raise damaged("its parts overlap, or something lies between them")
    return Member(start, packed, size, crc, method == _DEFLATED)


def unzipped(descriptor: int, member: Member) -> Iterator[bytes]:
    """The file's bytes; what does not come to the size and the sum that the archive tells is refused at its end."""
    crc = count = 0
    for piece in _inflated(descriptor, member) if member.deflated else _pieces(descriptor, member):
        count += len(piece)
        if count > member.size:
            raise damaged(f"its file is longer than the {member.size} bytes that it tells of")
        crc = zlib.crc32(piece, crc)
        yield piece
    if count != member.size:
        raise damaged(f"its file is {count} bytes long, and it tells of {member.size}")
    if crc != member.crc:
        raise damaged("the file's sum is wrong")


def _directory(descriptor: int) -> tuple[int, int, int]:
    """Where the directory lies, how many files it tells of, and its length."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - _END.size - _COMMENT)
    tail = os.pread(descriptor, size - start, start)
    at = tail.rfind(EMPTY)
    while at >= 0 and at + _END.size + _comment_length(tail, at) != len(tail):
        at = tail.rfind(EMPTY, 0, at)
    if at < 0:
        raise Refused("The zip has no end, or something follows it: it was cut short, or more was added.")
    _, disk, first_disk, here, count, length, place, _ = _END.unpack_from(tail, at)
    ends = start + at
    if _MANY in {here, count} or _LARGE in {length, place}:
        ends, disk, first_disk, here, count, length, place = _directory64(descriptor, ends)
    if disk or first_disk or here != count:
        raise Refused("The zip is a part of several: pack it again as one.")
    if place + length != ends:
        raise damaged("its directory is not where it should be")
    return place, count, length


def _comment_length(tail: bytes, at: int) -> int:
    return int(_END.unpack_from(tail, at)[7]) if at + _END.size <= len(tail) else 0


def _directory64(descriptor: int, end: int) -> tuple[int, int, int, int, int, int, int]:
    at = end - _END64_PLACE.size
    found = os.pread(descriptor, _END64_PLACE.size, max(0, at))
    if at < 0 or not found.startswith(b"PK\6\7"):
        raise damaged("it says that it is a large one, and is not")
    _, _, place, disks = _END64_PLACE.unpack(found)
    record = os.pread(descriptor, _END64.size, place) if place < at else b""
    if disks > 1 or len(record) < _END64.size or not record.startswith(b"PK\6\6"):
        raise damaged("its record as a large one is not where it should be")
    _, rest, _, _, disk, first_disk, here, count, length, start = _END64.unpack(record)
    if place + 12 + rest != at:
        raise damaged("its record as a large one has another length than it says")
    return place, disk, first_disk, here, count, length, start


def _check(name: bytes, flags: int, method: int) -> None:
    if flags & _ENCRYPTED:
        raise Refused("The zip is encrypted: pack it again without a password.")
    if method not in {_STORED, _DEFLATED}:
        raise Refused(f"The zip is compressed by its method {method}: pack it again with the usual one (deflate).")
    if not name or b"\0" in name or b"/" in name or b"\\" in name or name in {b".", b".."}:
        raise Refused("The file in the zip has a path for a name: pack it again from within its directory (`zip -j`).")


def _large(fields: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """The numbers that did not fit, from ZIP64's field, in its order."""
    values = [size, packed, offset]
    wanted = [at for at, value in enumerate(values) if value == _LARGE]
    while wanted and len(fields) >= 4:
        kind, length = struct.unpack_from("<2H", fields)
        field, fields = fields[4 : 4 + length], fields[4 + length :]
        if kind == 1:
            if len(field) < 8 * len(wanted):
                break
            for place, at in enumerate(wanted):
                (values[at],) = struct.unpack_from("<Q", field, 8 * place)
            wanted = []
    if wanted:
        raise damaged("it leaves out the sizes of a large file")
    return values[0], values[1], values[2]


def _data(descriptor: int, name: bytes, flags: int, method: int) -> int:
    """Where the file's data begins; its own header comes first, and says what the directory says."""
    header = os.pread(descriptor, _HEADER.size, 0).ljust(_HEADER.size, b"\0")
    magic, _, own_flags, own_method, _, _, _, _, _, named, extra = _HEADER.unpack(header)
    own_name = os.pread(descriptor, named, _HEADER.size)
    if (magic, own_flags, own_method, own_name) != (MAGIC, flags, method, name):
        raise damaged("its directory and its file contradict each other")
    return int(_HEADER.size + named + extra)


def _fits(flags: int, between: int) -> bool:
    return between in _DESCRIPTORS if flags & _DESCRIPTOR_FLAG else between == 0


def _pieces(descriptor: int, member: Member) -> Iterator[bytes]:
    at, stop = member.start, member.start + member.packed
    while at < stop:
        piece = os.pread(descriptor, min(_READ, stop - at), at)
        if not piece:
            raise damaged("it ends too early")
        at += len(piece)
        yield piece


def _inflated(descriptor: int, member: Member) -> Iterator[bytes]:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    for data in _pieces(descriptor, member):
        yield from _inflate(stream, data)
    if not stream.eof:
        raise damaged("its file ends too early")


def _inflate(stream: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """What the stream makes of this piece."""
    while True:
        try:
            piece = stream.decompress(data, PIECE)
        except zlib.error as error:
            raise damaged(error) from error
        if piece:
            yield piece
        # Once the stream has ended it gives back all that it is given.
        if stream.unused_data:
            raise damaged("more follows after its file's end")
        data = stream.unconsumed_tail
        if not data and not piece:
            return

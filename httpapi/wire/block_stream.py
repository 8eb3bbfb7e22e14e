"""A stream of blocks, byte by byte as DELTA.md draws it: heads of 16 bytes, entries, runs of holes, held blocks.

The decoder takes pieces of any length and keeps a head at most: an entry's bytes are handed on as they come, so memory
is the receiver's to give, and it has been told the length before.
"""

from __future__ import annotations

import struct
import uuid
from typing import TYPE_CHECKING, Final

from blockstore.sent_blocks import EntryBegins, NumberRange, SentHeld, SentHoles
from httpapi.wire.errors import BadBlockStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias

    Part: TypeAlias = EntryBegins | memoryview | SentHoles | SentHeld

MEDIA_TYPE: Final = "application/vnd.drystone.blocks"
LARGEST_REQUEST: Final = 64 << 20
"""Bytes of one request's stream."""
HEAD: Final = struct.Struct("<B3sIII")
BLOCK: Final = 1
HOLES: Final = 2
HELD: Final = 3
_HELD: Final = struct.Struct("<16sI")


def block_head(number: int, length: int) -> bytes:
    """What goes before an entry of `length` bytes."""
    return HEAD.pack(BLOCK, b"\0\0\0", number, 1, length)


def holes_item(numbers: NumberRange) -> bytes:
    """A run of holes."""
    return HEAD.pack(HOLES, b"\0\0\0", numbers.first, numbers.count, 0)


def held_item(held: SentHeld) -> bytes:
    """Blocks of another image."""
    head = HEAD.pack(HELD, b"\0\0\0", held.numbers.first, held.numbers.count, _HELD.size)
    return head + _HELD.pack(uuid.UUID(held.image).bytes, held.first)


class BlockStreamDecoder:
    """Parts of a stream as its bytes come, for an image of `blocks` blocks whose entries have `longest` bytes at most.

    After an EntryBegins come memoryviews, `length` bytes together, which are valid until the next part is asked for.
    `held`: whether blocks of other images may be named. Raises BadBlockStream.
    """

    def __init__(self, *, blocks: int, longest: int, held: bool) -> None:
        self._blocks = blocks
        self._longest = longest
        self._held = held
        self._head = bytearray()
        self._wanted = HEAD.size
        self._left = 0
        self._end = 0

    def feed(self, data: bytes) -> Iterator[Part]:
        """What is known by now."""
        view = memoryview(data)
        while view:
            if self._left:
                part, view = view[: self._left], view[self._left :]
                self._left -= len(part)
                yield part
                continue
            missing = self._wanted - len(self._head)
            self._head += view[:missing]
            view = view[missing:]
            if len(self._head) == self._wanted and (found := self._begun()) is not None:
                yield found

    def finish(self) -> None:
        """Raises BadBlockStream if the stream ended in the middle of an item."""
        if self._left or self._head:
            raise BadBlockStream(f"The stream of blocks ends in the middle of an item, {self._where()}.")

    def _where(self) -> str:
        return f"behind block {self._end - 1}" if self._end else "at its beginning"

    def _begun(self) -> EntryBegins | SentHoles | SentHeld | None:
        """The item whose head is there, or None when more of it is needed."""
        kind, reserved, first, count, length = HEAD.unpack_from(self._head)
        numbers = NumberRange(first, count)
        if len(self._head) == HEAD.size:
            self._check(kind, reserved, numbers, length)
            if kind == HELD:
                self._wanted = HEAD.size + _HELD.size
                return None
        name, there = _HELD.unpack_from(self._head, HEAD.size) if kind == HELD else (b"", 0)
        self._head.clear()
        self._wanted = HEAD.size
        self._end = numbers.stop
        if kind == HELD:
            return SentHeld(numbers, str(uuid.UUID(bytes=name)), there)
        if kind == HOLES:
            return SentHoles(numbers)
        self._left = length
        return EntryBegins(first, length)

    def _check(self, kind: int, reserved: bytes, numbers: NumberRange, length: int) -> None:
        if reserved != b"\0\0\0" or kind not in {BLOCK, HOLES, HELD} or (kind == HELD and not self._held):
            raise BadBlockStream(f"The stream of blocks has a head that is none, {self._where()}.")
        if numbers.count == 0 or (kind == BLOCK and numbers.count != 1):
            raise BadBlockStream(f"The item of block {numbers.first} says that it has {numbers.count} blocks.")
        if numbers.stop > self._blocks:
            raise BadBlockStream(f"Block {numbers.stop - 1} lies outside of the image, which has {self._blocks}.")
        if numbers.first < self._end:
            raise BadBlockStream(f"Block {numbers.first} comes after {self._end - 1}: numbers ascend within a stream.")
        if kind == BLOCK and not 0 < length <= self._longest:
            raise BadBlockStream(f"Block {numbers.first}'s entry has {length} bytes; {self._longest} are the most.")
        if (kind == HOLES and length) or (kind == HELD and length != _HELD.size):
            raise BadBlockStream(f"The item of block {numbers.first} says that {length} bytes follow it.")


def whole_entries(parts: Iterable[Part], held: bytearray) -> Iterator[tuple[int, bytes] | SentHoles | SentHeld]:
    """Parts with each entry's bytes joined, as (number, entry); `held` keeps what is begun from one call to the next.

    For whoever has memory for an entry: a reader of answers. Give the same `held`, empty at first, with each piece.
    """
    for part in parts:
        if isinstance(part, EntryBegins):
            held += HEAD.pack(BLOCK, b"\0\0\0", part.number, 1, part.length)
        elif isinstance(part, memoryview):
            held += part
            _, _, number, _, length = HEAD.unpack_from(held)
            if len(held) == HEAD.size + length:
                yield number, bytes(held[HEAD.size :])
                held.clear()
        else:
            yield part

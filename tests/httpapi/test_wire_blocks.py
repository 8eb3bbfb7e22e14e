"""A stream of blocks: what is encoded is decoded, in pieces of any length, and nothing else is."""

from __future__ import annotations

import struct
import uuid
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockstore.sent_blocks import EntryBegins, NumberRange, SentHeld, SentHoles, longest_entry
from httpapi.wire.block_stream import (
    HEAD,
    BlockStreamDecoder,
    block_head,
    held_item,
    holes_item,
    whole_entries,
)
from httpapi.wire.errors import BadBlockStream

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = "11111111-2222-3333-4444-555555555555"
LONGEST = longest_entry(4096)


def decoder(*, blocks: int = 1 << 32, held: bool = True) -> BlockStreamDecoder:
    return BlockStreamDecoder(blocks=blocks, longest=LONGEST, held=held)


def decoded(data: bytes, piece: int = 7, **how: object) -> list[object]:
    made, begun, found = decoder(**how), bytearray(), list[object]()  # type: ignore[arg-type]
    for at in range(0, len(data), piece):
        found += whole_entries(made.feed(data[at : at + piece]), begun)
    made.finish()
    return found


@st.composite
def items(draw: st.DrawFn) -> list[object]:
    found: list[object] = []
    number = 0
    for _ in range(draw(st.integers(0, 6))):
        number += draw(st.integers(0, 1000))
        numbers = NumberRange(number, draw(st.integers(1, 1000)))
        kind = draw(st.sampled_from(["block", "holes", "held"]))
        if kind == "block":
            found.append((number, draw(st.binary(min_size=1, max_size=40))))
            number += 1
            continue
        held = SentHeld(numbers, str(draw(st.uuids())), draw(st.integers(0, 2**32 - 1)))
        found.append(SentHoles(numbers) if kind == "holes" else held)
        number = numbers.stop
    return found


def encoded(found: list[object]) -> Iterator[bytes]:
    for item in found:
        match item:
            case SentHoles(numbers):
                yield holes_item(numbers)
            case SentHeld():
                yield held_item(item)
            case (int(number), bytes(entry)):
                yield block_head(number, len(entry)) + entry


@given(items(), st.integers(1, 100))
def test_what_is_encoded_is_decoded_in_pieces_of_any_length(found: list[object], piece: int) -> None:
    assert decoded(b"".join(encoded(found)), piece) == found


@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_are_a_stream_or_refused(data: bytes, piece: int) -> None:
    try:
        decoded(data, piece)
    except BadBlockStream:
        return


def test_the_bytes_are_those_of_the_page() -> None:
    assert block_head(5, 130) == bytes.fromhex("01000000050000000100000082000000")
    assert holes_item(NumberRange(256, 3)) == bytes.fromhex("02000000000100000300000000000000")
    held = SentHeld(NumberRange(1, 2), IMAGE, 9)
    expected = bytes.fromhex("03000000010000000200000014000000") + uuid.UUID(IMAGE).bytes + struct.pack("<I", 9)
    assert held_item(held) == expected


def head(kind: int = 1, number: int = 0, count: int = 1, length: int = 100, reserved: bytes = b"\0\0\0") -> bytes:
    return HEAD.pack(kind, reserved, number, count, length)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (head(kind=0), "is none"),
        (head(kind=9), "is none"),
        (head(reserved=b"\0\1\0"), "is none"),
        (head(count=2), "has 2 blocks"),
        (head(kind=2, count=0, length=0), "has 0 blocks"),
        (head(number=10), "lies outside"),
        (head(number=2**32 - 1), "lies outside"),
        (head(kind=2, number=0, count=2**32 - 1, length=0), "lies outside"),
        (head(kind=2, number=5, count=6, length=0), "lies outside"),
        (head(length=LONGEST + 1), "are the most"),
        (head(length=2**32 - 1), "are the most"),
        (head(length=0), "are the most"),
        (head(kind=2, length=1), "follow it"),
        (head(kind=3, length=19), "follow it"),
        (head(kind=2, number=3, length=0) * 2, "numbers ascend"),
        (head(kind=2, number=3, count=2, length=0) + head(kind=2, number=4, length=0), "numbers ascend"),
        (head(kind=2, number=3, length=0) + head(kind=2, number=1, length=0), "numbers ascend"),
        (head(length=100) + bytes(99), "in the middle"),
        (head()[:15], "in the middle"),
    ],
)
def test_a_stream_that_is_none_is_refused_with_a_sentence(data: bytes, said: str) -> None:
    with pytest.raises(BadBlockStream, match=said):
        decoded(data, blocks=10)


def test_blocks_of_other_images_occur_in_requests_alone() -> None:
    with pytest.raises(BadBlockStream, match="is none"):
        decoded(held_item(SentHeld(NumberRange(0, 1), IMAGE, 0)), held=False)


def test_a_refused_length_costs_no_memory_and_bytes_are_handed_on_as_they_come() -> None:
    made = decoder()
    parts = list(made.feed(block_head(0, LONGEST) + bytes(10)))
    assert parts[0] == EntryBegins(0, LONGEST)
    assert bytes(parts[1]) == bytes(10)  # type: ignore[arg-type]

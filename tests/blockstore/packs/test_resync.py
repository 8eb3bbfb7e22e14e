from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blockstore import frames
from blockstore.digest import digest
from blockstore.packs import pack_format, resync
from blockstore.packs.pack_format import ENTRY_BEGINS, START_SIZE, Start
from blockstore.packs.resync import WINDOW, Found, Skipped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = pack_format.encode_start(Start(bytes(16), bytes(16)))
real_files = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def entry_of(block: bytes) -> bytes:
    entry = pack_format.make_entry(digest(block), len(block), frames.compress(block))
    return entry.header + entry.data


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


KINDS: dict[str, Callable[[int], bytes]] = {
    "text": lambda seed: b"line %d\n" % seed * 300,
    "noise": lambda seed: noise(seed, 900),
    "short": lambda seed: noise(seed, 1 + seed % 3),
    # Noise is not compressed, so what is inside it stands in the frame as it is.
    "holds the beginning of entries": lambda seed: (
        noise(seed, 500) + ENTRY_BEGINS + noise(seed + 1, 300) + ENTRY_BEGINS
    ),
    "holds a header": lambda seed: noise(seed, 400) + entry_of(noise(seed + 2, 5000))[:100] + noise(seed + 3, 400),
    "is a piece of a pack": lambda seed: noise(seed, 200) + entry_of(noise(seed + 4, 150)) * 2 + noise(seed + 5, 50),
}


@dataclass(frozen=True)
class Damage:
    """What happens to one entry: `what`, at a share `where` of it, over a share `length`."""

    what: str
    where: float
    length: float
    seed: int

    def apply(self, entry: bytes) -> bytes:
        at = int(self.where * (len(entry) - 1))
        stop = min(len(entry), at + 1 + int(self.length * len(entry)))
        if self.what == "flip":
            return entry[:at] + bytes([entry[at] ^ (1 << self.seed % 8)]) + entry[at + 1 :]
        replaced = {
            "cut out": b"",
            "zeros": bytes(stop - at),
            "insert garbage": noise(self.seed, 1 + self.seed % 400) + entry[at:stop],
            "insert beginnings": ENTRY_BEGINS * (1 + self.seed % 5) + entry[at:stop],
            "insert half an entry": entry[: at + 1] + entry[at:stop],
        }
        return entry[:at] + replaced[self.what] + entry[stop:]


damages = st.builds(
    Damage,
    st.sampled_from(["flip", "cut out", "zeros", "insert garbage", "insert beginnings", "insert half an entry"]),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 1000),
)


def walk(path: Path, data: bytes, *, start: int = START_SIZE, stop: int | None = None) -> list[Found | Skipped]:
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        return list(resync.walk(fd, start=start, stop=stop))
    finally:
        os.close(fd)


@real_files
@given(
    blocks=st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(0, 50)), min_size=1, max_size=6),
    damaged=st.dictionaries(st.integers(0, 5), damages, min_size=1, max_size=2),
)
def test_every_valid_entry_before_and_after_a_damaged_one_is_found(
    tmp_path: Path, blocks: list[tuple[str, int]], damaged: dict[int, Damage]
) -> None:
    entries = [entry_of(KINDS[kind](seed)) for kind, seed in blocks]
    data = START
    whole = set()
    for number, entry in enumerate(entries):
        piece = damaged[number].apply(entry) if number in damaged else entry
        if piece == entry:
            whole.add((len(data), len(data) + len(entry)))
        data += piece
    parts = walk(tmp_path / "pack", data)
    found = {(part.offset, part.end) for part in parts if isinstance(part, Found)}
    assert whole <= found
    assert [part.offset for part in parts] == [START_SIZE, *(part.end for part in parts[:-1])], "no byte is left out"
    assert parts[-1].end == len(data)


@real_files
@given(
    blocks=st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(0, 50)), min_size=1, max_size=4),
    where=st.floats(0, 1),
)
def test_a_pack_cut_off_anywhere_gives_the_entries_before(
    tmp_path: Path, blocks: list[tuple[str, int]], where: float
) -> None:
    ends = [START_SIZE]
    data = START
    for kind, seed in blocks:
        data += entry_of(KINDS[kind](seed))
        ends.append(len(data))
    size = START_SIZE + int(where * (len(data) - START_SIZE))
    parts = walk(tmp_path / "pack", data[:size])
    first = [part.end for part in parts if isinstance(part, Found)]
    expected = [end for end in ends[1:] if end <= size]
    # Behind them only what an image itself held may be found, for instance a piece of another pack.
    assert first[: len(expected)] == expected


@pytest.mark.parametrize("before", [WINDOW - 12 + n for n in range(14)])
def test_an_entry_whose_beginning_lies_across_two_windows_of_the_search_is_found(tmp_path: Path, before: int) -> None:
    entry = entry_of(b"found")
    garbage = b"\x5d" * (before + 1)
    parts = walk(tmp_path / "pack", START + garbage + entry)
    assert [(type(part), part.offset) for part in parts] == [(Skipped, START_SIZE), (Found, START_SIZE + len(garbage))]


def test_an_entry_that_claims_to_reach_beyond_the_end_is_skipped(tmp_path: Path) -> None:
    lies = pack_format.make_entry(bytes(32), 10, bytes(10_000)).header
    assert walk(tmp_path / "pack", START + lies + entry_of(b"right")) == [
        Skipped(START_SIZE, START_SIZE + len(lies)),
        *walk(tmp_path / "pack", START + lies + entry_of(b"right"), start=START_SIZE + len(lies)),
    ]


def test_a_walk_ends_where_it_is_told_to(tmp_path: Path) -> None:
    one, two = entry_of(b"one"), entry_of(b"two")
    parts = walk(tmp_path / "pack", START + one + two, stop=START_SIZE + len(one) + 20)
    assert [type(part) for part in parts] == [Found, Skipped]
    assert parts[-1].end == START_SIZE + len(one) + 20


@pytest.mark.parametrize("size", [0, 1, START_SIZE - 1, START_SIZE])
def test_a_pack_without_entries_gives_nothing(tmp_path: Path, size: int) -> None:
    assert walk(tmp_path / "pack", START[:size]) == []

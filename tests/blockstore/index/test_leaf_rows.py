from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from blockstore.block import Place
from blockstore.errors import Damaged
from blockstore.index.contract import ROW
from blockstore.index.leaf_rows import LeafRows
from blockstore.index.lmdb_index import LmdbIndex
from blockstore.index.page_format import HEAD, NODE, TREE, Tree, read_meta

if TYPE_CHECKING:
    from pathlib import Path

FILE = "data.mdb"


def filled(directory: Path, count: int, gone: int = 0) -> LmdbIndex:
    """An index with so many rows put in random order, and some of them forgotten again."""
    index = LmdbIndex(directory)
    pack = index.register_pack(b"p" * 16, "")
    dice = random.Random(count)
    names = [dice.randbytes(32) for _ in range(count + gone)]
    for first in range(0, len(names), 3000):
        index.put_many({name: Place(pack, 64, dice.randrange(9999), 65536) for name in names[first : first + 3000]})
    index.condemn_many(names[count:], b"r" * 16)
    index.forget_many(names[count:], b"r" * 16)
    return index


def by_cursor(index: LmdbIndex) -> list[bytes]:
    """All rows, by the calls that take them one by one."""
    names = sorted(name for name, _ in index.scan())
    return [name + place.encode() for name, place in zip(names, index.get_many(names), strict=True) if place]


def read(index: LmdbIndex, after: bytes = b"") -> list[bytes]:
    return [row.tobytes() for rows in index.rows(after) for row in rows]


@pytest.mark.parametrize(("count", "gone"), [(0, 0), (1, 0), (60, 0), (200, 100), (9000, 0), (20_000, 15_000)])
def test_all_rows_are_read_in_the_order_of_their_keys(tmp_path: Path, count: int, gone: int) -> None:
    index = filled(tmp_path, count, gone)
    found = read(index)
    assert len(found) == count == index.size().rows
    assert found == by_cursor(index)
    index.close()


def test_it_begins_behind_any_key(tmp_path: Path) -> None:
    index = filled(tmp_path, 9000)
    expected = read(index)
    for at in random.Random(1).sample(range(len(expected)), 40):
        here = expected[at][:32]
        assert read(index, here) == expected[at + 1 :]
        assert read(index, here[:31] + bytes([here[31] ^ 1])) in (expected[at:], expected[at + 1 :])
    assert read(index, bytes(32)) == expected
    assert read(index, b"\xff" * 32) == []
    index.close()


def test_what_is_put_and_forgotten_meanwhile_does_not_harm_the_rest(tmp_path: Path) -> None:
    index = filled(tmp_path, 20_000)
    before = set(read(index))
    pack = index.packs()[0].number
    dice = random.Random(3)
    found: list[bytes] = []
    came: set[bytes] = set()
    went: set[bytes] = set()
    for rows in index.rows():
        found += [row.tobytes() for row in rows]
        new = {dice.randbytes(32): Place(pack, 64, 1, 65536) for _ in range(500)}
        index.put_many(new)
        came |= {name + place.encode() for name, place in new.items()}
        old = dice.sample(sorted(before - went), 500)
        index.condemn_many([row[:32] for row in old], b"r" * 16)
        index.forget_many([row[:32] for row in old], b"r" * 16)
        went |= set(old)
    assert found == sorted(found)
    assert before - went <= set(found) <= before | came
    index.close()


def test_a_bit_that_is_over_gives_damaged_or_the_rows_and_never_an_error_of_another_kind(tmp_path: Path) -> None:
    index = filled(tmp_path, 3000)
    expected = read(index)
    index.close()
    file = tmp_path / FILE
    whole = file.read_bytes()
    tree = _blocks(whole, read_meta_of(file))
    dice = random.Random(7)
    damaged = 0
    for _ in range(150):
        data = bytearray(whole)
        at = dice.randrange(2, len(data) // 4096) * 4096 + dice.randrange(16 if dice.random() < 0.7 else 4096)
        data[at] ^= 1 << dice.randrange(8)
        file.write_bytes(data)
        try:
            found = [row.tobytes() for row in _read_all(file, tree)]
        except Damaged:
            damaged += 1
        else:
            assert len(found) <= len(expected)
            assert np.isin(np.array(found, "S48"), np.array(expected, "S48")).sum() >= len(found) - 1
    assert damaged > 10


def read_meta_of(file: Path) -> int:
    with file.open("rb") as opened:
        return read_meta(opened.fileno(), None).main.root


def _blocks(whole: bytes, root: int) -> Tree:
    """The tree of the table `blocks`: its record follows its name in the one page of names."""
    at = whole.index(b"blocks", root * 4096 + HEAD + NODE.size, (root + 1) * 4096) + len(b"blocks")
    return Tree(*TREE.unpack_from(whole, at))


def _read_all(file: Path, tree: Tree) -> list[np.void]:
    pages, found = LeafRows(file, 4096, ROW), []
    following: bytes | None = b""
    while following is not None:
        some = pages.read(tree, following)
        found += list(some.rows)
        following = some.following
    return found

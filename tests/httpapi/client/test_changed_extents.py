from __future__ import annotations

import json

import pytest

from httpapi.client.block_scan import Geometry
from httpapi.client.changed_extents import ChangedExtents, parse_extents
from httpapi.client.errors import SourceRefused


def parsed(document: object) -> list[tuple[int, int]]:
    return list(parse_extents(json.dumps(document).encode(), "map.json").extents)


def test_the_top_layer_of_an_overlay_has_changed() -> None:
    rows = [
        {"start": 0, "length": 65536, "depth": 1, "present": True, "zero": False, "data": True, "offset": 5},
        {"start": 65536, "length": 10, "depth": 0, "present": True, "zero": False, "data": True, "offset": 5},
        {"start": 65546, "length": 7, "depth": 0, "present": True, "zero": True, "data": False},
    ]
    assert parsed(rows) == [(65536, 10), (65546, 7)]


def test_what_a_bitmap_has_dirty_has_changed() -> None:
    rows = [
        {"offset": 0, "length": 100, "type": 0, "description": "clean"},
        {"offset": 100, "length": 100, "type": 1, "description": "dirty"},
        {"offset": 200, "length": 0, "type": 1, "description": "dirty"},
    ]
    assert parsed(rows) == [(100, 100)]


def test_of_other_maps_what_is_not_of_a_backing_file_may_have_changed() -> None:
    words = ["local", "backing depth 2", "unallocated", "data", "hole,zero", None]
    rows = [{"offset": at, "length": 1, "type": 0, "description": word} for at, word in enumerate(words)]
    assert parsed(rows) == [(0, 1), (3, 1), (4, 1), (5, 1)]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b"[1]",
        b'[{"start": -1, "length": 5, "depth": 0}]',
        b'[{"start": 0, "length": 5.5, "depth": 0}]',
        b'[{"offset": 0, "length": 5}]',
    ],
)
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(SourceRefused, match=r"map\.json"):
        parse_extents(text, "map.json")


def test_a_list_that_ends_before_the_file_does_is_refused() -> None:
    rows = [
        {"offset": 0, "length": 100, "type": 1, "description": "dirty"},
        {"offset": 100, "length": 50, "type": 0, "description": "clean"},
    ]
    listed = parse_extents(json.dumps(rows).encode(), "map.json")
    listed.check(150, "vm.raw")
    listed.check(100, "vm.raw")
    with pytest.raises(SourceRefused, match=r"ends at byte 150, and vm\.raw has 151 bytes"):
        listed.check(151, "vm.raw")
    ChangedExtents([(0, 1)]).check(100, "vm.raw")


def test_blocks_with_a_changed_byte_are_touched_and_those_beyond_the_end_are_not_there() -> None:
    cut = Geometry(40, 8)
    assert ChangedExtents([(7, 2), (39, 100), (10**15, 5)]).blocks(cut).tolist() == [True, True, False, False, True]
    assert ChangedExtents([]).blocks(Geometry(0, 8)).tolist() == []

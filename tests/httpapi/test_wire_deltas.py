"""Documents of delta uploads, ranges of numbers, pages of extents: read and written alike by both ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockstore.diff import Extent
from blockstore.sent_blocks import NumberRange
from httpapi.wire.changes import ChangesPage, parse_extents
from httpapi.wire.deltas import Arrived, DeltaRecord, NewDelta, parse_commit, parse_delta, parse_new_delta, parse_wanted
from httpapi.wire.errors import BadRequest
from httpapi.wire.number_ranges import blocks_header, parse_ranges, ranges_json, runs

RECORD = DeltaRecord(id="a" * 32, image="i", size=10, block_size=4096, base=None, expires_at="2026-01-01T00:00:00Z")


@given(st.sets(st.integers(0, 200)))
def test_numbers_become_ranges_and_back(numbers: set[int]) -> None:
    found = runs(sorted(numbers))
    assert [number for each in found for number in range(each.first, each.stop)] == sorted(numbers)
    assert list(parse_ranges(ranges_json(found), blocks=201, most=201)) == found


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        {},
        [5],
        [[1]],
        [[1, 2, 3]],
        [[1, 0]],
        [[1, -1]],
        [[-1, 1]],
        [["1", 1]],
        [[1.0, 1]],
        [[True, 1]],
        [[0, 2], [1, 1]],
        [[5, 1], [1, 1]],
        [[5, 1], [5, 1]],
        [[100, 1]],
        [[99, 2]],
        [[0, 2**70]],
        [[2**70, 1]],
        [[0, 51]],
    ],
)
def test_what_is_no_set_of_numbers_is_refused(value: object) -> None:
    with pytest.raises(BadRequest):
        parse_ranges(value, blocks=100, most=50)


def test_a_header_names_a_few_ranges() -> None:
    assert blocks_header([NumberRange(1, 1), NumberRange(5, 3)]) == "1-1, 5-7"
    assert blocks_header([NumberRange(2 * n, 1) for n in range(1000)]).count(",") == 63


def test_a_new_delta_is_read_as_it_was_written() -> None:
    for new in (NewDelta(5), NewDelta(2**40, "image", 65536)):
        assert parse_new_delta(new.to_json()) == new


@pytest.mark.parametrize(
    "document",
    [{}, {"size": -1}, {"size": "5"}, {"size": True}, {"size": 2**63}, {"size": 1.5}, {"size": 5, "base": 7},
     {"size": 5, "block_size": "64KiB"}, {"size": 5, "parent": "x"}],
)  # fmt: skip
def test_a_new_delta_that_cannot_be_read_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(BadRequest):
        parse_new_delta(document)


def test_an_upload_is_read_as_it_was_written_and_names_what_follows() -> None:
    document = Arrived([NumberRange(0, 5)], 7, next=9).to_json(RECORD)
    assert parse_delta(document) == RECORD
    assert (document["arrived"], document["blocks"]) == ([[0, 5]], 7)
    assert document["next"] == f"/v2/images/i/deltas/{'a' * 32}?from=9"
    assert "next" not in Arrived([], 0).to_json(RECORD)


@pytest.mark.parametrize("missing", ["id", "size", "block_size", "base", "expires_at"])
def test_a_document_with_something_missing_is_noticed(missing: str) -> None:
    with pytest.raises(KeyError):
        parse_delta({key: value for key, value in RECORD.to_json().items() if key != missing})


def test_a_commit_says_how_many_blocks_or_nothing() -> None:
    assert parse_commit({}) is None
    assert parse_commit({"blocks": 5}) == 5
    refused: tuple[dict[str, object], ...] = ({"blocks": -1}, {"blocks": []}, {"other": 1})
    for wrong in refused:
        with pytest.raises(BadRequest):
            parse_commit(wrong)
    assert parse_wanted({"blocks": [[1, 2]]}) == [[1, 2]]


def test_a_page_of_changes_links_to_the_next_one() -> None:
    page = ChangesPage("a", "b", 10, 8, [Extent(0, 4, zero=False), Extent(6, 2, zero=True)], next=8)
    assert parse_extents(page.to_json()) == [(0, 4, False), (6, 2, True)]
    assert page.to_json()["next"] == "/v2/images/a/changes?since=b&from=8"
    assert page.to_json(limit=2)["next"] == "/v2/images/a/changes?since=b&from=8&limit=2"

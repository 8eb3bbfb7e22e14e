"""Which bytes a Range header names: the documented table, and properties over all sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from httpapi.wire.errors import RangeUnsatisfiable, SeveralRanges
from httpapi.wire.ranges import Span, honours_if_range, requested_span, unsatisfied

SIZES = st.integers(0, 2**50)


def span(text: str | None, size: int = 10, content_range: str | None = None) -> tuple[int, int] | None:
    found = requested_span(size, range_=text, content_range=content_range)
    return None if found is None else (found.start, found.stop)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-4", (0, 5)),
        ("bytes=5-", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=0-100", (0, 10)),
        ("bytes=9-9", (9, 10)),
        ("Bytes = 0 - 4 ", (0, 5)),
        ("bytes=0-" + "9" * 5000, (0, 10)),
    ],
)
def test_a_range_of_ten_bytes_is_as_the_reference_has_it(text: str, expected: tuple[int, int]) -> None:
    assert span(text) == expected


@pytest.mark.parametrize(
    "text",
    ["bytes=20-", "bytes=10-", "bytes=5-2", "foo", "", "bytes=", "bytes=-", "bytes=-0", "items=0-4", "bytes=0-4-5",
     "bytes=a-b", "bytes=+1-2", "bytes=1_0-", "bytes=²-", "bytes=" + "9" * 5000 + "-"],
)  # fmt: skip
def test_a_range_that_names_no_byte_is_unsatisfiable(text: str) -> None:
    with pytest.raises(RangeUnsatisfiable) as caught:
        span(text)
    assert unsatisfied(caught.value.size) == "bytes */10"


def test_several_ranges_are_refused() -> None:
    with pytest.raises(SeveralRanges):
        span("bytes=0-1,3-4")


def test_an_empty_image_satisfies_no_range() -> None:
    for text in ("bytes=0-", "bytes=-1", "bytes=0-0"):
        with pytest.raises(RangeUnsatisfiable):
            span(text, size=0)


def test_the_legacy_content_range_asks_too_and_range_goes_before_it() -> None:
    assert span(None, content_range="bytes 2-4/10") == (2, 5)
    assert span(None, content_range="bytes 2-40/*") == (2, 10)
    assert span("bytes=0-0", content_range="bytes 2-4/10") == (0, 1)
    for broken in ("bytes 4-2/10", "bytes 10-12/13", "2-4", "bytes */10", "bytes 2-4"):
        with pytest.raises(RangeUnsatisfiable):
            span(None, content_range=broken)


def test_without_a_header_the_whole_image_is_meant() -> None:
    assert span(None) is None


@given(size=SIZES, start=SIZES, last=SIZES)
def test_a_span_lies_within_the_image_and_holds_what_was_asked(size: int, start: int, last: int) -> None:
    text = f"bytes={start}-{last}"
    if start >= size or last < start:
        with pytest.raises(RangeUnsatisfiable):
            requested_span(size, range_=text, content_range=None)
        return
    found = requested_span(size, range_=text, content_range=None)
    assert found == Span(start, min(last + 1, size), size)
    assert 0 < found.length == found.stop - found.start
    assert found.content_range() == f"bytes {start}-{min(last, size - 1)}/{size}"


@given(size=SIZES, count=SIZES)
def test_a_suffix_is_the_end_of_the_image(size: int, count: int) -> None:
    try:
        found = requested_span(size, range_=f"bytes=-{count}", content_range=None)
    except RangeUnsatisfiable:
        assert 0 in {size, count}
    else:
        assert found is not None
        assert found.stop == size
        assert found.length == min(count, size)


@given(text=st.text(max_size=60), size=SIZES)
def test_no_text_at_all_breaks_the_parser(text: str, size: int) -> None:
    for headers in ({"range_": text, "content_range": None}, {"range_": None, "content_range": text}):
        try:
            found = requested_span(size, **headers)
        except (RangeUnsatisfiable, SeveralRanges):
            continue
        assert found is not None
        assert 0 <= found.start < found.stop <= size


def test_if_range_holds_for_the_same_strong_tag_only() -> None:
    assert honours_if_range(None, '"a"')
    assert honours_if_range('"a"', '"a"')
    assert not honours_if_range('W/"a"', '"a"')
    assert not honours_if_range("Wed, 21 Oct 2026 07:28:00 GMT", '"a"')

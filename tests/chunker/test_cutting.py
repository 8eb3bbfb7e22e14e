from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunker.content_defined import ContentDefinedCutter
from chunker.cutting import USUAL, CutKind, Cutting, CuttingRefused
from chunker.fixed import FixedCutter

KIB = 1024

cuttings = st.one_of(
    st.sampled_from([1 << n for n in range(12, 23)]).map(lambda size: Cutting(CutKind.FIXED, size)),
    st.sampled_from([1 << n for n in range(14, 21)]).map(lambda size: Cutting(CutKind.CONTENT_DEFINED, size)),
)


@given(cutting=cuttings)
def test_a_cutting_written_down_is_read_again(cutting: Cutting) -> None:
    assert Cutting.parse(str(cutting)) == cutting


@pytest.mark.parametrize(
    ("text", "kind", "size"),
    [
        ("64KiB", CutKind.FIXED, 64 * KIB),
        ("65536", CutKind.FIXED, 64 * KIB),
        ("fixed", CutKind.FIXED, 64 * KIB),
        ("fixed:1MiB", CutKind.FIXED, 1024 * KIB),
        ("Fixed: 4 kib", CutKind.FIXED, 4 * KIB),
        ("content-defined", CutKind.CONTENT_DEFINED, 64 * KIB),
        (" content-defined:128KiB ", CutKind.CONTENT_DEFINED, 128 * KIB),
    ],
)
def test_ways_to_write_a_cutting(text: str, kind: CutKind, size: int) -> None:
    assert Cutting.parse(text) == Cutting(kind, size)


def test_fixed_without_a_size_has_the_one_that_is_usual_here() -> None:
    assert Cutting.parse("fixed", usual=4 * KIB).size == 4 * KIB
    assert Cutting.parse("content-defined", usual=4 * KIB).size == 64 * KIB


@pytest.mark.parametrize(
    "text",
    ["", "fixed:", ":64KiB", "rolling", "fixed:65537", "fixed:2KiB", "fixed:8MiB", "content-defined:8KiB", "64 parsecs",
     "content-defined:2MiB", "content-defined:64KiB:1", "fixed:-4096", "٦٤KiB", "9" * 400],
)  # fmt: skip
def test_others_are_refused_with_a_list_of_what_is_possible(text: str) -> None:
    with pytest.raises(CuttingRefused, match="choose fixed, content-defined, or either with a power of two as"):
        Cutting.parse(text)


def test_a_value_that_can_not_be_is_never_made() -> None:
    with pytest.raises(CuttingRefused, match="choose a power of two"):
        Cutting(CutKind.CONTENT_DEFINED, 4096)


def test_a_cutting_has_its_cutter() -> None:
    assert USUAL.cutter() == FixedCutter(64 * KIB)
    assert USUAL.is_fixed
    assert USUAL.longest == 64 * KIB
    by_content = Cutting.parse("content-defined")
    assert by_content.cutter() == ContentDefinedCutter(64 * KIB)
    assert not by_content.is_fixed
    assert by_content.longest == 256 * KIB

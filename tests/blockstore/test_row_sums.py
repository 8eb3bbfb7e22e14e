from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockstore.checksum import xxh3
from blockstore.row_sums import xxh3_rows

ROW = 48


def sums(data: bytes) -> list[int]:
    return [int(found) for found in xxh3_rows(np.frombuffer(data, dtype="<u8").reshape(-1, ROW // 8))]


@pytest.mark.parametrize("count", [0, 1, 63, 64, 8192, 8193])
def test_the_sums_of_rows_are_those_of_each(count: int) -> None:
    data = random.Random(count).randbytes(count * ROW)
    assert sums(data) == [xxh3(data[at : at + ROW]) for at in range(0, len(data), ROW)]


@given(st.binary(min_size=ROW, max_size=ROW))
def test_any_row_has_its_sum_among_many(row: bytes) -> None:
    assert sums(row * 100) == [xxh3(row)] * 100


@pytest.mark.parametrize("byte", [0, 1, 0x7F, 0x80, 0xFF])
def test_rows_of_one_byte_carry_over(byte: int) -> None:
    row = bytes([byte]) * ROW
    assert sums(row * 64)[0] == xxh3(row)

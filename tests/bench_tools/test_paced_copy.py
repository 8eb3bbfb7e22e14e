"""A copy that takes its time is the same file, and as sparse."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from bench.paced_copy import paced_copy

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    with path.open("wb") as file:
        file.write(b"a" * (5 * MIB))
        file.seek(9 * MIB)
        file.write(b"b" * 1000)
        file.truncate(12 * MIB)
    return path


def test_it_is_the_same_file_with_the_same_holes(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    paced_copy(source, copy, 0.0)
    assert copy.read_bytes() == source.read_bytes()
    assert copy.stat().st_blocks <= source.stat().st_blocks + 8


def test_it_takes_as_long_as_it_is_told_to(source: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    paced_copy(source, tmp_path / "copy", 0.4)
    assert time.monotonic() - began >= 0.3


def test_it_takes_no_file_that_is_there(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        paced_copy(source, copy, 0.0)
    assert copy.read_bytes() == b"mine"

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from bench.show.bound.index_flips import Crashed, apart
from bench.show.bound.small_store import flip

if TYPE_CHECKING:
    from pathlib import Path


def ends_well(path: Path) -> dict[str, str]:
    return {"path": str(path)}


def is_killed(path: Path) -> dict[str, str]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return ends_well(path)


def fails(path: Path) -> dict[str, str]:
    raise ValueError(f"as it should: {path}")


def test_a_flipped_bit_is_the_only_one_that_differs_and_flipped_again_none_is(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(64)))
    flip(file, 17, 3)
    assert [at for at, byte in enumerate(file.read_bytes()) if byte != at] == [17]
    assert file.read_bytes()[17] == 17 ^ 8
    flip(file, 17, 3)
    assert file.read_bytes() == bytes(range(64))


def test_what_a_process_apart_gives_comes_back(tmp_path: Path) -> None:
    assert apart(ends_well, tmp_path / "it") == {"path": str(tmp_path / "it")}


def test_a_process_apart_that_dies_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(Crashed, match=f"exit code -{signal.SIGSEGV.value}"):
        apart(is_killed, tmp_path / "killed")


def test_a_process_apart_that_fails_is_told_of_and_its_trace_is_kept(tmp_path: Path) -> None:
    with pytest.raises(Crashed, match="exit code 1"):
        apart(fails, tmp_path / "failed")
    assert "ValueError: as it should" in (tmp_path / "failed.log").read_text()

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from blockstore import reserve

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """How much room the disk seems to have: what is written does not change it."""
    seems = SimpleNamespace(free=1 << 40)
    monkeypatch.setattr("shutil.disk_usage", lambda _: seems)
    return seems


def kept(root: Path) -> int:
    path = root / reserve.NAME
    return path.stat().st_blocks * 512 if path.exists() else 0


def test_deletions_get_it_in_steps_and_never_what_a_collection_needs(tmp_path: Path, free: SimpleNamespace) -> None:
    assert not reserve.give_up(tmp_path)
    reserve.keep(tmp_path)
    assert kept(tmp_path) >= reserve.SIZE
    steps = 0
    while reserve.give_up(tmp_path):
        steps += 1
    assert steps >= 4
    assert kept(tmp_path) >= reserve.COLLECTION
    reserve.keep(tmp_path)
    assert kept(tmp_path) >= reserve.SIZE, "whole again"


def test_a_collection_gets_all_of_it_and_takes_back_what_it_did_not_need(tmp_path: Path, free: SimpleNamespace) -> None:
    reserve.keep(tmp_path)
    with reserve.for_collection(tmp_path):
        assert kept(tmp_path) >= reserve.SIZE, "there is room enough"
    free.free = 0
    with pytest.raises(RuntimeError), reserve.for_collection(tmp_path):
        assert not kept(tmp_path)
        free.free = 1 << 20
        raise RuntimeError
    assert kept(tmp_path) >= 1 << 20
    with reserve.for_collection(tmp_path):
        assert not kept(tmp_path)
        free.free = 64 << 20
    assert kept(tmp_path) >= reserve.SIZE

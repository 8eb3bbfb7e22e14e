from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from blockstore.errors import Damaged
from blockstore.index.in_use import NAME, InUse

if TYPE_CHECKING:
    from pathlib import Path


class Looks:
    """Counts looks, and what they were told."""

    def __init__(self) -> None:
        self.told: list[bool] = []

    def __call__(self, *told: bool) -> None:
        self.told += told


def refuse(*_told: bool) -> None:
    raise Damaged("a page")


def test_after_a_clean_close_nobody_died(tmp_path: Path) -> None:
    looks = Looks()
    for _ in range(2):
        InUse.enter(tmp_path, looks).leave()
    assert looks.told == [False, False]
    assert not list(tmp_path.iterdir())


def test_who_comes_second_does_not_look(tmp_path: Path) -> None:
    looks = Looks()
    one, two = InUse.enter(tmp_path, looks), InUse.enter(tmp_path, looks)
    one.leave()
    assert (tmp_path / NAME).exists(), "the other still has it open"
    two.leave()
    assert looks.told == [False]
    assert not (tmp_path / NAME).exists()


def test_after_a_death_the_next_one_is_told_and_a_refusal_stays_one(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        InUse.enter(tmp_path, lambda _died: None)
        os._exit(0)
    os.waitpid(child, 0)
    for _ in range(2):
        with pytest.raises(Damaged):
            InUse.enter(tmp_path, refuse)
    looks = Looks()
    InUse.enter(tmp_path, looks).leave()
    InUse.enter(tmp_path, looks).leave()
    assert looks.told == [True, False]

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crashes.stopped_work import run_stopped

if TYPE_CHECKING:
    from pathlib import Path

STRIDE = 2
FEWEST_STEPS = 30


@pytest.mark.parametrize(("mode", "first"), [("kill", 1), ("power", 2)])
def test_a_worker_that_dies_at_any_step_changes_no_image_and_the_next_one_finishes(
    tmp_path: Path, mode: str, first: int
) -> None:
    stops = run_stopped("crash_while_coalescing", tmp_path, mode, first=first, stride=STRIDE)
    assert len(stops) * STRIDE >= FEWEST_STEPS, "as many places to stop as there should be"

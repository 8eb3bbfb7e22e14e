from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crashes.stopped_work import MODES, run_stopped

if TYPE_CHECKING:
    from pathlib import Path

FEWEST_STEPS = {"gc": 20, "beside": 20, "rebuild": 8, "scrub": 20}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("work", ["gc", "beside", "rebuild", "scrub"])
def test_a_crash_at_any_step_loses_nothing_and_a_second_run_finishes(tmp_path: Path, work: str, mode: str) -> None:
    stops = run_stopped("crash_while_cleaning", tmp_path, mode, work)
    assert len(stops) >= FEWEST_STEPS[work], "as many places to stop as there should be"

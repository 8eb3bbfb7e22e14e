from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crashes.stopped_work import MODES, run_stopped

if TYPE_CHECKING:
    from pathlib import Path

STRIDE = 2
FEWEST_STEPS = 30


@pytest.mark.parametrize("first", range(1, STRIDE + 1))
@pytest.mark.parametrize("mode", MODES)
def test_a_crash_at_any_step_of_a_delta_upload_keeps_what_was_acknowledged_and_the_upload_goes_on(
    tmp_path: Path, mode: str, first: int
) -> None:
    stops = run_stopped("crash_in_a_delta", tmp_path, mode, first=first, stride=STRIDE)
    assert len(stops) * STRIDE >= FEWEST_STEPS, "as many places to stop as a delta upload has"
    assert {len(stop.said) for stop in stops} == {0, 1, 2, 3, 4}, "it was stopped before and after each answer"

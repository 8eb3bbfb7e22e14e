from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crashes.stopped_work import run_stopped

if TYPE_CHECKING:
    from pathlib import Path

STRIDE = 2
FEWEST_STEPS = 40


@pytest.mark.parametrize("first", range(1, STRIDE + 1))
@pytest.mark.parametrize(
    ("mode", "cutting"), [("kill", "fixed"), ("power", "fixed"), ("power", "content-defined:16KiB")]
)
def test_a_crash_at_any_step_of_an_upload_loses_nothing_acknowledged_and_leaves_garbage_only(
    tmp_path: Path, mode: str, first: int, cutting: str
) -> None:
    stops = run_stopped("crash_at_every_step", tmp_path, mode, cutting, first=first, stride=STRIDE)
    assert len(stops) * STRIDE >= FEWEST_STEPS, "as many places to stop as an upload has"
    assert not any(stop.said for stop in stops if stop.stopped and stop.step < FEWEST_STEPS)

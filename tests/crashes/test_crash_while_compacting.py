from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crashes.stopped_work import MODES, run_stopped

if TYPE_CHECKING:
    from pathlib import Path

PARTS = 3


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("mode", MODES)
def test_a_crash_at_any_step_of_a_compaction_loses_nothing_and_the_next_one_finishes(
    tmp_path: Path, mode: str, part: int
) -> None:
    stops = run_stopped("crash_while_compacting", tmp_path, mode, first=1 + part, stride=PARTS)
    assert len(stops) > 20 // PARTS, "as many places to stop as there should be"

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

STRIDE = 2
FEWEST_STEPS = 30


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(1, STRIDE + 1))
@pytest.mark.parametrize("mode", ["kill", "power"])
def test_a_crash_at_any_step_of_a_delta_upload_keeps_what_was_acknowledged_and_the_upload_goes_on(
    tmp_path: Path, mode: str, first: int
) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.crashes.crash_in_a_delta", str(tmp_path), mode, str(first), str(STRIDE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    steps = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    assert all(step["held"] for step in steps)
    assert not steps[-1]["stopped"], "the last run went through"
    assert len(steps) * STRIDE >= FEWEST_STEPS, "as many places to stop as a delta upload has"
    assert {len(step["said"]) for step in steps} == {0, 1, 2, 3, 4}, "it was stopped before and after each answer"
